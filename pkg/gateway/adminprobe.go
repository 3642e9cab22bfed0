package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// lineWait is how long a question waits for its turn on the line.
const lineWait = 10 * time.Second

// longestAnswer is how long it waits for the answer, if the driver would be more
// patient.
const longestAnswer = time.Second

// ProbeModbus implements [admin.EndpointBackend].
func (a adminEndpoints) ProbeModbus(ctx context.Context, id string, asked admin.ModbusQuestion) (admin.ModbusAnswer, error) {
	ep, item, giveUp, err := a.line(id)
	if err != nil {
		return admin.ModbusAnswer{}, err
	}
	defer giveUp()
	got, err := modbus.Probe(ctx, ep, item, a.question(id, item, asked))
	if err != nil {
		return admin.ModbusAnswer{}, probeError(err)
	}
	answer := admin.ModbusAnswer{Connect: got.Connect, Took: got.Took, Addr: got.Addr, Count: got.Count, Data: got.Data, Hints: got.Hints}
	if got.Err != nil {
		answer.Refusal, answer.Data = got.Err.Error(), nil
	}
	return answer, nil
}

// ScanModbus implements [admin.EndpointBackend].
func (a adminEndpoints) ScanModbus(ctx context.Context, id string, asked admin.ModbusQuestion, units []uint8, send func(admin.ModbusFound) error) error {
	if _, running := a.g.scans.LoadOrStore(id, true); running {
		return fmt.Errorf("endpoint %s: %w: another scan of it runs", id, admin.ErrConflict)
	}
	defer a.g.scans.Delete(id)
	ep, item, giveUp, err := a.line(id)
	if err != nil {
		return err
	}
	defer giveUp()
	return probeError(modbus.ScanShared(ctx, ep, item, a.question(id, item, asked), units, func(f modbus.Found, answered bool) error {
		found := admin.ModbusFound{Unit: f.Unit, Found: answered, Took: f.Took}
		if answered && f.Err != nil {
			found.Exception = f.Err.Error()
		}
		return send(found)
	}))
}

// line opens endpoint id of the running configuration: that of its drivers if it
// has any that are not paused.
func (a adminEndpoints) line(id string) (endpoint.Acquirer, config.Endpoint, func(), error) {
	item, ok := a.g.runner.Current().Endpoints[id]
	if !ok {
		return nil, item, nil, fmt.Errorf("endpoint %s: %w", id, admin.ErrNotFound)
	}
	ep, giveUp, err := a.g.endpoints.Open(id, item)
	if err != nil {
		return nil, item, nil, adminError(err)
	}
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

// question makes the driver's question of q. Framing and timeout are those of a
// driver of the endpoint, unless q names others.
func (a adminEndpoints) question(id string, item config.Endpoint, q admin.ModbusQuestion) modbus.Question {
	out := modbus.Question{
		Unit: q.Unit, Func: modbus.Func(q.Function), Addr: q.Addr, Count: q.Count, Framing: modbus.Framing(q.Framing), Timeout: q.Timeout, Around: q.Around,
	}
	for _, d := range a.g.runner.Current().Drivers {
		if d.EndpointID != id || d.Proto != modbus.Proto {
			continue
		}
		s, err := modbus.ParseSettings(d.Cfg, item)
		if err != nil {
			continue // a driver that could not be built
		}
		if out.Framing == "" {
			out.Framing = s.Framing
		}
		if out.Timeout == 0 {
			out.Timeout = min(s.Timeout, longestAnswer)
		}
	}
	return out
}

func probeError(err error) error {
	if errors.Is(err, modbus.ErrQuestion) {
		return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	return adminError(err)
}
