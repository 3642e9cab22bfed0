package admin_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// newer appends a field that today's schema does not know.
func newer(m proto.Message) {
	b := protowire.AppendTag(nil, 9000, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendString(b, "from the future"))
}

func TestANewerClientIsUnderstood(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	req := &pb.PauseDriverRequest{Driver: "press"}
	newer(req)
	if _, err := pb.NewDriverServiceClient(rawConn(t, s)).PauseDriver(t.Context(), req); err != nil {
		t.Error(err)
	}
}

// newServer is a gateway of a later release: it has fields and states that this
// client does not know, and misses a service that was given up.
type newServer struct {
	pb.UnimplementedDriverServiceServer
}

func (newServer) ListDrivers(context.Context, *pb.ListDriversRequest) (*pb.ListDriversResponse, error) {
	m := &pb.ListDriversResponse{Drivers: []*pb.Driver{{Id: "press", State: "hibernating"}}}
	newer(m)
	newer(m.Drivers[0])
	return m, nil
}

func TestANewerGatewayIsUnderstood(t *testing.T) {
	path := serveRaw(t, func(srv *grpc.Server) { pb.RegisterDriverServiceServer(srv, newServer{}) })
	c, err := admin.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Drivers.ListDrivers(t.Context(), &pb.ListDriversRequest{})
	if list := r.GetDrivers(); err != nil || len(list) != 1 || list[0].State != "hibernating" {
		t.Errorf("%+v, %v", r, err)
	}
	// An older gateway, likewise, lacks methods and services.
	for name, call := range map[string]func() error{
		"method":  func() error { return pause(t.Context(), c, "press") },
		"service": func() error { _, err := c.Tags.List(t.Context(), ""); return err },
	} {
		if err := call(); !errors.Is(err, errkind.Unsupported) || !strings.Contains(err.Error(), "edge-ctl version") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// serveRaw runs a gRPC server of the test's own on a unix socket.
func serveRaw(t *testing.T, register func(*grpc.Server)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "raw.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	register(srv)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return path
}
