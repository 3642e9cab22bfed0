package asking

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// slowGateway tells of its progress and then asks on until the call ends.
type slowGateway struct{ pb.EndpointServiceClient }

func (slowGateway) AskEndpoint(ctx context.Context, _ *pb.AskEndpointRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[pb.AskEndpointResponse], error) {
	return &slowStream{ctx: ctx}, nil
}

type slowStream struct {
	grpc.ClientStream
	ctx  context.Context
	told bool
}

func (s *slowStream) Recv() (*pb.AskEndpointResponse, error) {
	if !s.told {
		s.told = true
		return &pb.AskEndpointResponse{Event: &pb.AskEndpointResponse_Progress{Progress: "unit 3"}}, nil
	}
	<-s.ctx.Done()
	return nil, status.FromContextError(s.ctx.Err()).Err()
}

// TestInterrupted: Ctrl-C ends a scan as one that was interrupted, not as a gateway that
// gave no report.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last := ""
	_, err := Ask(ctx, &admin.Client{Endpoints: slowGateway{}}, &pb.AskEndpointRequest{}, func(e driver.Event) error {
		last = e.Progress
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || last != "unit 3" {
		t.Errorf("%v after %q", err, last)
	}
}
