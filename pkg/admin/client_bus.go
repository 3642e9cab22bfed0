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

func (c *busClient) Stats(ctx context.Context) (BusStats, error) {
	m, err := c.c.GetBusStats(ctx, &pb.GetBusStatsRequest{})
	return fromBusStats(m), err
}

func (c *busClient) Tail(ctx context.Context, f frame.Filter, send func(TailPart) error) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.TailResponse], error) {
		return c.c.Tail(ctx, &pb.TailRequest{Filter: toFilter(f)})
	}
	return receive(ctx, open, func(m *pb.TailResponse) error {
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
	return whole(ctx, receive(ctx, open, func(m *pb.ReplayResponse) error {
		batches, err := fromBatches(m.GetBatches())
		if err != nil {
			return err
		}
		return send(ReplayPart{Batches: batches, LastSeq: m.GetLastSeq(), Damages: fromDamages(m.GetDamages())})
	}))
}

func (c *busClient) ReplayTo(ctx context.Context, r Range, connector string, speed float64, send func(ReplayProgress) error) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ReplayToResponse], error) {
		return c.c.ReplayTo(ctx, &pb.ReplayToRequest{Range: toRange(r), Connector: connector, Speed: speed})
	}
	return whole(ctx, receive(ctx, open, func(m *pb.ReplayToResponse) error {
		return send(ReplayProgress{Replay: m.GetReplay(), Topic: m.GetTopic(), Frames: m.GetFrames(), Seq: m.GetSeq(), LastSeq: m.GetLastSeq()})
	}))
}

func (c *busClient) Export(ctx context.Context, first, last uint64, w io.Writer) (ExportSummary, error) {
	var sum *pb.ExportSummary
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ExportResponse], error) {
		return c.c.Export(ctx, &pb.ExportRequest{FirstSeq: first, LastSeq: last})
	}
	err := whole(ctx, receive(ctx, open, func(m *pb.ExportResponse) error {
		if m.GetSummary() != nil {
			sum = m.GetSummary()
		}
		_, err := w.Write(m.GetData())
		return err
	}))
	return fromSummary(sum), err
}

func (c *busClient) Import(ctx context.Context, r io.Reader) (ExportSummary, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the call if r fails
	defer cancel()
	stream, err := c.c.Import(ctx)
	if err != nil {
		return ExportSummary{}, fromStatus(err)
	}
	for buf := make([]byte, importChunk); ; {
		n, err := r.Read(buf)
		if n > 0 {
			if serr := stream.Send(&pb.ImportRequest{Data: buf[:n]}); errors.Is(serr, io.EOF) {
				break // the gateway has ended the call: its answer says why
			} else if serr != nil {
				return ExportSummary{}, fromStatus(serr)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return ExportSummary{}, err
		}
	}
	m, err := stream.CloseAndRecv()
	return fromSummary(m.GetSummary()), fromStatus(err)
}

// importChunk is how much of a file goes into one message.
const importChunk = 64 << 10

func (c *busClient) Flush(ctx context.Context) (uint64, error) {
	m, err := c.c.Flush(ctx, &pb.FlushRequest{})
	return m.GetDurableSeq(), err
}

func (c *busClient) CollectGarbage(ctx context.Context, gc GC) (GCResult, error) {
	m, err := c.c.CollectGarbage(ctx, &pb.CollectGarbageRequest{KeepBytes: gc.KeepBytes, DryRun: gc.DryRun, Force: gc.Force})
	return GCResult{
		Frames: m.GetFrames(), Bytes: m.GetBytes(), FirstSeq: m.GetFirstSeq(), KeptBytes: m.GetKeptBytes(), Unacked: m.GetUnacked(),
		Blocked: m.GetBlocked(), Consumers: each(m.GetConsumers(), func(s string) string { return s }),
	}, err
}

func (c *busClient) Set(ctx context.Context, key, value string) (SettingChange, error) {
	m, err := c.c.SetBusSetting(ctx, &pb.SetBusSettingRequest{Key: key, Value: value})
	return SettingChange{Old: m.GetOldValue(), New: m.GetNewValue()}, err
}

func (c *busClient) Check(ctx context.Context) (CheckReport, error) {
	var report *pb.CheckLogResponse
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.CheckLogResponse], error) {
		return c.c.CheckLog(ctx, &pb.CheckLogRequest{})
	}
	err := whole(ctx, receive(ctx, open, func(m *pb.CheckLogResponse) error {
		report = m
		return nil
	}))
	return fromCheckReport(report), err
}

func (c *busClient) RemoveConsumer(ctx context.Context, name string) error {
	_, err := c.c.RemoveConsumer(ctx, &pb.RemoveConsumerRequest{Name: name})
	return err
}

func (c *busClient) Parked(ctx context.Context) ([]Parked, error) {
	resp, err := c.c.ListParked(ctx, &pb.ListParkedRequest{})
	if err != nil {
		return nil, err
	}
	list := []Parked{}
	for _, p := range resp.GetMessages() {
		list = append(list, Parked{Consumer: p.GetConsumer(), ID: p.GetId(), FirstSeq: p.GetFirstSeq(), LastSeq: p.GetLastSeq(), Frames: p.GetFrames(),
			Topic: p.GetTopic(), Reason: p.GetReason(), Time: fromTime(p.GetTime()), Retry: p.GetRetry()})
	}
	return list, nil
}

func (c *busClient) RetryParked(ctx context.Context, consumer string, id uint64) error {
	_, err := c.c.RetryParked(ctx, &pb.RetryParkedRequest{Consumer: consumer, Id: id})
	return err
}

func (c *busClient) DropParked(ctx context.Context, consumer string, id uint64) error {
	_, err := c.c.DropParked(ctx, &pb.DropParkedRequest{Consumer: consumer, Id: id})
	return err
}
