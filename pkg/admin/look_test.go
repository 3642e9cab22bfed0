package admin_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// fullStream uses all of its stream, and then fails.
type fullStream struct {
	pb.UnimplementedConfigServiceServer
}

func (fullStream) WatchConfig(_ *pb.WatchConfigRequest, out grpc.ServerStreamingServer[pb.WatchConfigResponse]) error {
	if err := out.SetHeader(metadata.MD{}); err != nil {
		return err
	}
	if err := out.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	out.SetTrailer(metadata.MD{})
	if err := out.Send(&pb.WatchConfigResponse{Rev: 1}); err != nil {
		return err
	}
	if err := out.SendMsg(&pb.WatchConfigResponse{Rev: 2}); err != nil {
		return err
	}
	if err := out.SendMsg("odd"); err == nil || out.RecvMsg(nil) == nil {
		return nil
	}
	panic("a fault")
}

// TestLookIsAStream: a part of the gateway may use all of the stream that it is given by
// a reader in this process, and a fault in it does not end the process.
func TestLookIsAStream(t *testing.T) {
	s, err := admin.NewServer(admin.Config{Socket: filepath.Join(t.TempDir(), "s")}, admin.Backend{Config: fullStream{}},
		admin.Deps{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	var revs []uint64
	err = s.Look().WatchConfig(t.Context(), func(m *pb.WatchConfigResponse) { revs = append(revs, m.Rev) })
	if err == nil || !strings.Contains(err.Error(), "a fault") || len(revs) != 2 {
		t.Errorf("%v, %v", revs, err)
	}
}
