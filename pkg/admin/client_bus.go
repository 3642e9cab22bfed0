package admin

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

type busClient struct{ c pb.BusServiceClient }

func (c *busClient) Stats(ctx context.Context) (*pb.GetBusStatsResponse, error) {
	return c.c.GetBusStats(ctx, &pb.GetBusStatsRequest{})
}

func (c *busClient) Tail(ctx context.Context, f frame.Filter, send func(TailPart) error) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.TailResponse], error) {
		return c.c.Tail(ctx, &pb.TailRequest{Filter: toFilter(f)})
	}
	return Receive(ctx, open, func(m *pb.TailResponse) error {
		batches, err := fromBatches(m.GetBatches())
		if err != nil {
			return err
		}
		return send(TailPart{Batches: batches, Dropped: m.GetDropped()})
	})
}

func (c *busClient) Replay(ctx context.Context, r Range, send func(ReplayPart) error) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ReplayResponse], error) {
		return c.c.Replay(ctx, &pb.ReplayRequest{Range: toRange(r)})
	}
	return whole(ctx, Receive(ctx, open, func(m *pb.ReplayResponse) error {
		batches, err := fromBatches(m.GetBatches())
		if err != nil {
			return err
		}
		return send(ReplayPart{Batches: batches, LastSeq: m.GetLastSeq(), Damages: m.GetDamages()})
	}))
}

func (c *busClient) ReplayTo(ctx context.Context, r Range, connector string, speed float64, send func(*pb.ReplayToResponse) error) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ReplayToResponse], error) {
		return c.c.ReplayTo(ctx, &pb.ReplayToRequest{Range: toRange(r), Connector: connector, Speed: speed})
	}
	return whole(ctx, Receive(ctx, open, send))
}

func (c *busClient) Export(ctx context.Context, first, last uint64, w io.Writer) (*pb.ExportSummary, error) {
	var sum *pb.ExportSummary
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ExportResponse], error) {
		return c.c.Export(ctx, &pb.ExportRequest{FirstSeq: first, LastSeq: last})
	}
	err := whole(ctx, Receive(ctx, open, func(m *pb.ExportResponse) error {
		if m.GetSummary() != nil {
			sum = m.GetSummary()
		}
		_, err := w.Write(m.GetData())
		return err
	}))
	return sum, err
}

func (c *busClient) Import(ctx context.Context, r io.Reader) (*pb.ExportSummary, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the call if r fails
	defer cancel()
	stream, err := c.c.Import(ctx)
	if err != nil {
		return nil, fromStatus(err)
	}
	for buf := make([]byte, importChunk); ; {
		n, err := r.Read(buf)
		if n > 0 {
			if serr := stream.Send(&pb.ImportRequest{Data: buf[:n]}); errors.Is(serr, io.EOF) {
				break // the gateway has ended the call: its answer says why
			} else if serr != nil {
				return nil, fromStatus(serr)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	m, err := stream.CloseAndRecv()
	return m.GetSummary(), fromStatus(err)
}

// importChunk is how much of a file goes into one message.
const importChunk = 64 << 10

func (c *busClient) Flush(ctx context.Context) (*pb.FlushResponse, error) {
	return c.c.Flush(ctx, &pb.FlushRequest{})
}

func (c *busClient) CollectGarbage(ctx context.Context, gc *pb.CollectGarbageRequest) (*pb.CollectGarbageResponse, error) {
	return c.c.CollectGarbage(ctx, gc)
}

func (c *busClient) Set(ctx context.Context, key, value string) (*pb.SetBusSettingResponse, error) {
	return c.c.SetBusSetting(ctx, &pb.SetBusSettingRequest{Key: key, Value: value})
}

func (c *busClient) Check(ctx context.Context) (report *pb.CheckLogResponse, err error) {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.CheckLogResponse], error) {
		return c.c.CheckLog(ctx, &pb.CheckLogRequest{})
	}
	err = whole(ctx, Receive(ctx, open, func(m *pb.CheckLogResponse) error {
		report = m
		return nil
	}))
	return report, err
}

func (c *busClient) Delivery(ctx context.Context, r Range) (*pb.GetDeliveryResponse, error) {
	return c.c.GetDelivery(ctx, &pb.GetDeliveryRequest{Range: toRange(r)})
}

func (c *busClient) RemoveConsumer(ctx context.Context, name string) error {
	_, err := c.c.RemoveConsumer(ctx, &pb.RemoveConsumerRequest{Name: name})
	return err
}

func (c *busClient) Parked(ctx context.Context) ([]*pb.ParkedMessage, error) {
	m, err := c.c.ListParked(ctx, &pb.ListParkedRequest{})
	return m.GetMessages(), err
}

func (c *busClient) RetryParked(ctx context.Context, consumer string, id uint64) error {
	_, err := c.c.RetryParked(ctx, &pb.RetryParkedRequest{Consumer: consumer, Id: id})
	return err
}

func (c *busClient) DropParked(ctx context.Context, consumer string, id uint64) error {
	_, err := c.c.DropParked(ctx, &pb.DropParkedRequest{Consumer: consumer, Id: id})
	return err
}
