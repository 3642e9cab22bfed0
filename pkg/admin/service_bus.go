package admin

import (
	"context"
	"fmt"
	"math"

	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

type busService struct {
	pb.UnimplementedBusServiceServer
	b       BusBackend
	metrics *metrics
}

func (s *busService) GetBusStats(ctx context.Context, _ *pb.GetBusStatsRequest) (*pb.GetBusStatsResponse, error) {
	return s.b.Stats(ctx)
}

func (s *busService) Tail(r *pb.TailRequest, out grpc.ServerStreamingServer[pb.TailResponse]) error {
	filter, err := fromFilter(r.GetFilter())
	if err != nil {
		return err
	}
	counted := uint64(0)
	return s.b.Tail(out.Context(), filter, func(p TailPart) error {
		s.metrics.dropped.WithLabelValues("tail").Add(float64(p.Dropped - min(counted, p.Dropped)))
		counted = p.Dropped
		if len(p.Batches) == 0 {
			return out.Send(&pb.TailResponse{Dropped: p.Dropped})
		}
		return sendBatches(p.Batches, func(m []*pb.Batch) error {
			return out.Send(&pb.TailResponse{Batches: m, Dropped: p.Dropped})
		})
	})
}

// sendBatches sends batches in messages of bounded size, each made when its turn
// comes.
func sendBatches(batches []*frame.Batch, send func([]*pb.Batch) error) error {
	for len(batches) > 0 {
		n, frames := 0, 0
		for n < len(batches) && (n == 0 || frames+len(batches[n].Frames) <= batchChunk) {
			frames += len(batches[n].Frames)
			n++
		}
		if frames > batchChunk { // one large batch
			for _, m := range toBatches(batches[:n]) {
				if err := send([]*pb.Batch{m}); err != nil {
					return err
				}
			}
		} else if err := send(toBatches(batches[:n])); err != nil {
			return err
		}
		batches = batches[n:]
	}
	return nil
}

func (s *busService) Replay(r *pb.ReplayRequest, out grpc.ServerStreamingServer[pb.ReplayResponse]) error {
	rng, err := fromRange(r.GetRange())
	if err != nil {
		return err
	}
	return s.b.Replay(out.Context(), rng, func(p ReplayPart) error {
		if len(p.Batches) == 0 {
			return out.Send(&pb.ReplayResponse{LastSeq: p.LastSeq, Damages: p.Damages})
		}
		return sendBatches(p.Batches, func(m []*pb.Batch) error {
			return out.Send(&pb.ReplayResponse{Batches: m, LastSeq: p.LastSeq, Damages: p.Damages})
		})
	})
}

func (s *busService) ReplayTo(r *pb.ReplayToRequest, out grpc.ServerStreamingServer[pb.ReplayToResponse]) error {
	rng, err := fromRange(r.GetRange())
	if err != nil {
		return err
	}
	if sp := r.GetSpeed(); !(sp >= 0) || math.IsInf(sp, 1) {
		return fmt.Errorf("speed %v: %w: expected 0 (as fast as possible) or more", sp, errkind.Invalid)
	}
	return s.b.ReplayTo(out.Context(), rng, r.GetConnector(), r.GetSpeed(), out.Send)
}

func (s *busService) Export(r *pb.ExportRequest, out grpc.ServerStreamingServer[pb.ExportResponse]) error {
	w := chunkWriter(func(p []byte) error { return out.Send(&pb.ExportResponse{Data: p}) })
	sum, err := s.b.Export(out.Context(), r.GetFirstSeq(), r.GetLastSeq(), w)
	if err != nil {
		return err
	}
	return out.Send(&pb.ExportResponse{Summary: sum})
}

func (s *busService) Import(in grpc.ClientStreamingServer[pb.ImportRequest, pb.ImportResponse]) error {
	sum, err := s.b.Import(in.Context(), &chunkReader{next: func() ([]byte, error) {
		m, err := in.Recv()
		return m.GetData(), err
	}})
	if err != nil {
		return err
	}
	return in.SendAndClose(&pb.ImportResponse{Summary: sum})
}

// chunkReader reads what messages bring, to an error or io.EOF of next.
type chunkReader struct {
	next func() ([]byte, error)
	rest []byte
}

// Read reads at most what is left of one message.
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		var err error
		if r.rest, err = r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (s *busService) Flush(ctx context.Context, _ *pb.FlushRequest) (*pb.FlushResponse, error) {
	return s.b.Flush(ctx)
}

func (s *busService) CollectGarbage(ctx context.Context, r *pb.CollectGarbageRequest) (*pb.CollectGarbageResponse, error) {
	return s.b.CollectGarbage(ctx, r)
}

func (s *busService) SetBusSetting(ctx context.Context, r *pb.SetBusSettingRequest) (*pb.SetBusSettingResponse, error) {
	return s.b.Set(ctx, r.GetKey(), r.GetValue())
}

func (s *busService) CheckLog(_ *pb.CheckLogRequest, out grpc.ServerStreamingServer[pb.CheckLogResponse]) error {
	r, err := s.b.Check(out.Context())
	if err != nil {
		return err
	}
	return out.Send(r)
}

func (s *busService) GetDelivery(ctx context.Context, r *pb.GetDeliveryRequest) (*pb.GetDeliveryResponse, error) {
	rng, err := fromRange(r.GetRange())
	if err != nil {
		return nil, err
	}
	return s.b.Delivery(ctx, rng)
}

func (s *busService) RemoveConsumer(ctx context.Context, r *pb.RemoveConsumerRequest) (*pb.RemoveConsumerResponse, error) {
	return &pb.RemoveConsumerResponse{}, s.b.RemoveConsumer(ctx, r.GetName())
}

func (s *busService) ListParked(ctx context.Context, _ *pb.ListParkedRequest) (*pb.ListParkedResponse, error) {
	list, err := s.b.Parked(ctx)
	return &pb.ListParkedResponse{Messages: list}, err
}

func (s *busService) RetryParked(ctx context.Context, r *pb.RetryParkedRequest) (*pb.RetryParkedResponse, error) {
	return &pb.RetryParkedResponse{}, s.b.RetryParked(ctx, r.GetConsumer(), r.GetId())
}

func (s *busService) DropParked(ctx context.Context, r *pb.DropParkedRequest) (*pb.DropParkedResponse, error) {
	return &pb.DropParkedResponse{}, s.b.DropParked(ctx, r.GetConsumer(), r.GetId())
}
