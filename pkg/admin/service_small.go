package admin

import (
	"fmt"
	"time"

	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// endpointService bounds the size of what may be asked.
type endpointService struct{ pb.EndpointServiceServer }

const (
	maxAskOptions = 32
	maxAskText    = 4 << 10 // bytes
)

// AskEndpoint checks the sizes; what may be asked, the protocol says.
func (s endpointService) AskEndpoint(r *pb.AskEndpointRequest, out grpc.ServerStreamingServer[pb.AskEndpointResponse]) error {
	longest := max(len(r.GetArgument()), len(r.GetAbility()), len(r.GetProtocol()))
	for name, value := range r.GetOptions() {
		longest = max(longest, len(name), len(value))
	}
	if len(r.GetOptions()) > maxAskOptions || longest > maxAskText {
		return fmt.Errorf("%d options, a text of %d bytes: %w: expected at most %d and %d", len(r.GetOptions()), longest, errkind.Invalid, maxAskOptions, maxAskText)
	}
	return s.EndpointServiceServer.AskEndpoint(r, out)
}

// configService hands events over through a queue.
type configService struct {
	pb.ConfigServiceServer
	metrics *metrics
}

// eventQueue bounds the events that wait for a client.
const eventQueue = 1000

// WatchConfig drops what a slow client has no room for.
func (s configService) WatchConfig(r *pb.WatchConfigRequest, out grpc.ServerStreamingServer[pb.WatchConfigResponse]) error {
	q := newQueue(eventQueue, func(*pb.WatchConfigResponse) int { return 1 })
	var counted uint64
	return pump(out, q, func(l lossy[pb.WatchConfigResponse]) error { return s.ConfigServiceServer.WatchConfig(r, l) },
		func(events []*pb.WatchConfigResponse, dropped uint64) error {
			s.metrics.dropped.WithLabelValues("config").Add(float64(dropped - counted))
			counted = dropped
			if len(events) == 0 {
				events = append(events, &pb.WatchConfigResponse{Time: Timestamp(time.Now()), State: "dropped"})
			}
			for _, e := range events {
				e.Dropped = dropped
				if err := out.Send(e); err != nil {
					return err
				}
			}
			return nil
		})
}
