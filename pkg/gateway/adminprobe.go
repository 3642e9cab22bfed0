package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// lineWait is how long a question waits for its turn on the line.
const lineWait = 10 * time.Second

// ProbeModbus asks one question over the endpoint's own connection, between polls.
// A device that refuses or is silent is an answer.
func (a adminEndpoints) ProbeModbus(ctx context.Context, r *pb.ProbeModbusRequest) (*pb.ProbeModbusResponse, error) {
	ep, item, giveUp, err := a.line(r.GetEndpoint())
	if err != nil {
		return nil, err
	}
	defer giveUp()
	got, err := modbus.Probe(ctx, ep, item, a.question(r.GetEndpoint(), r.GetQuestion()))
	if err != nil {
		return nil, err
	}
	m := &pb.ProbeModbusResponse{
		Connect: durationpb.New(got.Connect), Took: durationpb.New(got.Took), Address: uint32(got.Addr), Count: uint32(got.Count),
		Data: got.Data, Hints: got.Hints,
	}
	if got.Err != nil {
		m.Refusal, m.Data = got.Err.Error(), nil
	}
	return m, nil
}

// ScanModbus asks the units in turn. Polls have half of the line's time.
func (a adminEndpoints) ScanModbus(r *pb.ScanModbusRequest, out grpc.ServerStreamingServer[pb.ScanModbusResponse]) error {
	id := r.GetEndpoint()
	if _, running := a.g.scans.LoadOrStore(id, true); running {
		return fmt.Errorf("endpoint %s: %w: another scan of it runs", id, admin.ErrConflict)
	}
	defer a.g.scans.Delete(id)
	ep, item, giveUp, err := a.line(id)
	if err != nil {
		return err
	}
	defer giveUp()
	q := a.question(id, r.GetQuestion())
	return modbus.ScanShared(out.Context(), ep, item, q, r.GetUnits(), func(f modbus.Found, answered bool) error {
		m := &pb.ScanModbusResponse{Unit: uint32(f.Unit), Found: answered, Took: durationpb.New(f.Took)}
		if answered && f.Err != nil {
			m.Exception = f.Err.Error()
		}
		return out.Send(m)
	})
}

// line opens endpoint id of the running configuration: that of its drivers if it
// has any that are not paused.
func (a adminEndpoints) line(id string) (endpoint.Acquirer, config.Endpoint, func(), error) {
	item, ok := a.g.runner.Current().Endpoints[id]
	if !ok {
		return nil, item, nil, fmt.Errorf("endpoint %s: %w", id, admin.ErrNotFound)
	}
	ep, giveUp, err := a.g.endpoints.user(id, item)
	if err != nil {
		return nil, item, nil, err
	}
	ep.Insist() // whatever the back-off: somebody stands at the device
	return patient{ep}, item, giveUp, nil
}

// patient waits for a connection for a while only.
type patient struct{ endpoint.Acquirer }

// Acquire implements [endpoint.Acquirer].
func (p patient) Acquire(ctx context.Context) (endpoint.Lease, error) {
	wait, cancel := context.WithTimeout(ctx, lineWait)
	defer cancel()
	l, err := p.Acquirer.Acquire(wait)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		err = fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	}
	return l, err
}

// question makes the driver's question of q. It is asked as the driver of that unit
// asks, or else another driver of the endpoint, unless q says otherwise.
func (a adminEndpoints) question(id string, q *pb.ModbusQuestion) modbus.Question {
	out := modbus.Question{ // the server has checked the ranges
		Unit: uint8(q.GetUnit()), Func: modbus.Func(q.GetFunction()), Addr: uint16(q.GetAddress()), Count: uint16(q.GetCount()),
		Framing: modbus.Framing(q.GetFraming()), Timeout: q.GetTimeout().AsDuration(), Around: q.GetAround(),
	}
	drivers := a.g.runner.Current().Drivers
	for _, name := range slices.Sorted(maps.Keys(drivers)) {
		d := drivers[name]
		if d.EndpointID != id || d.Proto != modbus.Proto {
			continue
		}
		if unit, _ := d.Cfg["unit_id"].(int64); out.Cfg == nil || unit == int64(out.Unit) {
			out.Cfg = d.Cfg
		}
	}
	return out
}
