package admin

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// endpointService bounds what may be asked over an endpoint's connection.
type endpointService struct{ pb.EndpointServiceServer }

// ProbeModbus checks the question.
func (s endpointService) ProbeModbus(ctx context.Context, r *pb.ProbeModbusRequest) (*pb.ProbeModbusResponse, error) {
	if err := checkQuestion(r.GetQuestion(), maxProbeTimeout); err != nil {
		return nil, err
	}
	return s.EndpointServiceServer.ProbeModbus(ctx, r)
}

// ScanModbus checks the question and the units.
func (s endpointService) ScanModbus(r *pb.ScanModbusRequest, out grpc.ServerStreamingServer[pb.ScanModbusResponse]) error {
	if err := checkQuestion(r.GetQuestion(), maxScanTimeout); err != nil {
		return err
	}
	if n := len(r.GetUnits()); n == 0 || n > 256 {
		return fmt.Errorf("%d units: %w: expected 1 to 256", n, ErrInvalid)
	}
	return s.EndpointServiceServer.ScanModbus(r, out)
}

// How long a question may hold the line.
const (
	minProbeTimeout = 10 * time.Millisecond
	maxProbeTimeout = 5 * time.Second
	maxScanTimeout  = time.Second
)

// checkQuestion checks what the message can hold and no question of Modbus can;
// whether the rest can be asked, the backend says.
func checkQuestion(m *pb.ModbusQuestion, longest time.Duration) error {
	if m.GetUnit() > 255 || m.GetFunction() > 255 || m.GetAddress() > 65535 || m.GetCount() > 65535 {
		return fmt.Errorf("unit %d, function %d, address %d, count %d: %w: expected a unit up to 255, a function up to 4, an address up to 65535",
			m.GetUnit(), m.GetFunction(), m.GetAddress(), m.GetCount(), ErrInvalid)
	}
	if t := m.GetTimeout(); t != nil && (t.AsDuration() < minProbeTimeout || t.AsDuration() > longest) {
		return fmt.Errorf("timeout %v: %w: expected %v to %v, since polls wait meanwhile", t.AsDuration(), ErrInvalid, minProbeTimeout, longest)
	}
	return nil
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
