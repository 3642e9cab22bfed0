package admin_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
)

// fullBus answers with messages of which every field is set.
type fullBus struct{ admin.BusBackend }

func (fullBus) Stats(context.Context) (*pb.GetBusStatsResponse, error) {
	return admintest.Full(new(pb.GetBusStatsResponse)), nil
}

func (fullBus) Replay(_ context.Context, _ admin.Range, send func(admin.ReplayPart) error) error {
	return send(admin.ReplayPart{LastSeq: 7, Damages: admintest.Full(new(pb.CheckLogResponse)).Damages})
}

func (fullBus) ReplayTo(_ context.Context, _ admin.Range, _ string, _ float64, send func(*pb.ReplayToResponse) error) error {
	return send(admintest.Full(new(pb.ReplayToResponse)))
}

func (fullBus) Export(context.Context, uint64, uint64, io.Writer) (*pb.ExportSummary, error) {
	return admintest.Full(new(pb.ExportSummary)), nil
}

func (fullBus) Import(context.Context, io.Reader) (*pb.ExportSummary, error) {
	return admintest.Full(new(pb.ExportSummary)), nil
}

func (fullBus) Flush(context.Context) (*pb.FlushResponse, error) {
	return admintest.Full(new(pb.FlushResponse)), nil
}

func (fullBus) CollectGarbage(context.Context, *pb.CollectGarbageRequest) (*pb.CollectGarbageResponse, error) {
	return admintest.Full(new(pb.CollectGarbageResponse)), nil
}

func (fullBus) Set(context.Context, string, string) (*pb.SetBusSettingResponse, error) {
	return admintest.Full(new(pb.SetBusSettingResponse)), nil
}

func (fullBus) Check(context.Context) (*pb.CheckLogResponse, error) {
	return admintest.Full(new(pb.CheckLogResponse)), nil
}

func (fullBus) Delivery(context.Context, admin.Range) (*pb.GetDeliveryResponse, error) {
	return admintest.Full(new(pb.GetDeliveryResponse)), nil
}

func (fullBus) Parked(context.Context) ([]*pb.ParkedMessage, error) {
	return []*pb.ParkedMessage{admintest.Full(new(pb.ParkedMessage))}, nil
}

// TestEverythingComesThrough: what the bus behind a socket says is what the bus itself
// says, each field of it. The other parts' messages are the protocol's own.
func TestEverythingComesThrough(t *testing.T) {
	b := admintest.New().Backend()
	b.Bus = fullBus{}
	c := admintest.Dial(t, admintest.Start(t, b))
	for name, call := range map[string]func(context.Context, admin.BusBackend) (proto.Message, error){
		"stats": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) { return b.Stats(ctx) },
		"check": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) { return b.Check(ctx) },
		"flush": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) { return b.Flush(ctx) },
		"gc": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) {
			return b.CollectGarbage(ctx, admintest.Full(new(pb.CollectGarbageRequest)))
		},
		"set": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) { return b.Set(ctx, "a", "b") },
		"delivery": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) {
			return b.Delivery(ctx, admin.Range{})
		},
		"parked": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) {
			list, err := b.Parked(ctx)
			return &pb.ListParkedResponse{Messages: list}, err
		},
		"export": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) {
			return b.Export(ctx, 1, 2, io.Discard)
		},
		"import": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) {
			return b.Import(ctx, new(bytes.Buffer))
		},
		"replay": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) {
			m := new(pb.ReplayResponse)
			err := b.Replay(ctx, admin.Range{}, func(p admin.ReplayPart) error {
				m.LastSeq, m.Damages = p.LastSeq, p.Damages
				return nil
			})
			m.Batches = []*pb.Batch{{}} // they have tests of their own
			return m, err
		},
		"replay to": func(ctx context.Context, b admin.BusBackend) (proto.Message, error) {
			m := new(pb.ReplayToResponse)
			err := b.ReplayTo(ctx, admin.Range{}, "mqtt", 1, func(p *pb.ReplayToResponse) error {
				m = p
				return nil
			})
			return m, err
		},
	} {
		got, err := call(t.Context(), c.Bus)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := call(t.Context(), b.Bus)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-bus +client):\n%s", name, diff)
		}
		if zero := admintest.Unset(got); len(zero) > 0 && name != "replay" {
			t.Errorf("%s: %v are not set", name, zero)
		}
	}
}
