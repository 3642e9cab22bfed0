package admin

import (
	"context"
	"time"

	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

type configService struct {
	pb.UnimplementedConfigServiceServer
	b       ConfigBackend
	metrics *metrics
}

func (s *configService) GetConfigStatus(ctx context.Context, _ *pb.GetConfigStatusRequest) (*pb.GetConfigStatusResponse, error) {
	if s.b == nil {
		return nil, missing("configuration")
	}
	st, err := s.b.Status(ctx)
	return &pb.GetConfigStatusResponse{Status: toConfigStatus(st)}, err
}

func (s *configService) ListConfigHistory(ctx context.Context, r *pb.ListConfigHistoryRequest) (*pb.ListConfigHistoryResponse, error) {
	if s.b == nil {
		return nil, missing("configuration")
	}
	list, err := s.b.History(ctx, int(r.GetLimit()))
	return &pb.ListConfigHistoryResponse{Applies: each(list, toConfigApply)}, err
}

// eventQueue bounds the events that wait for a client.
const eventQueue = 1000

func (s *configService) WatchConfig(_ *pb.WatchConfigRequest, out grpc.ServerStreamingServer[pb.WatchConfigResponse]) error {
	if s.b == nil {
		return missing("configuration")
	}
	q := newQueue(eventQueue, func(ConfigEvent) int { return 1 })
	var counted uint64
	return pump(out.Context(), q, s.b.Watch, func(events []ConfigEvent, dropped uint64) error {
		s.metrics.dropped.WithLabelValues("config").Add(float64(dropped - counted))
		counted = dropped
		if len(events) == 0 {
			events = []ConfigEvent{{Time: time.Now(), State: "dropped"}}
		}
		for _, e := range events {
			if err := out.Send(&pb.WatchConfigResponse{
				Time: toTime(e.Time), Rev: e.Rev, Sha256: e.SHA256, State: e.State, Text: e.Text, Dropped: dropped,
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *configService) ReloadConfig(ctx context.Context, _ *pb.ReloadConfigRequest) (*pb.ReloadConfigResponse, error) {
	if s.b == nil {
		return nil, missing("configuration")
	}
	st, err := s.b.Reload(ctx)
	return &pb.ReloadConfigResponse{Status: toConfigStatus(st)}, err
}

func (s *configService) RollbackConfig(ctx context.Context, r *pb.RollbackConfigRequest) (*pb.RollbackConfigResponse, error) {
	if s.b == nil {
		return nil, missing("configuration")
	}
	st, err := s.b.Rollback(ctx, r.GetToRev())
	return &pb.RollbackConfigResponse{Status: toConfigStatus(st)}, err
}
