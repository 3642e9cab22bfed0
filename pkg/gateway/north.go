package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/connector/mqtt"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// openNorth builds the connectors and starts them. A new kind is one more entry
// of factories.
func (g *Gateway) openNorth() error {
	mq, err := mqtt.NewFactory(g.reg)
	if err != nil {
		return err
	}
	factories := map[string]connector.Factory{}
	for _, f := range []connector.Factory{mq} {
		if _, taken := factories[f.Kind()]; taken {
			return fmt.Errorf("two connectors of kind %s are built in", f.Kind())
		}
		factories[f.Kind()] = f
	}
	g.connectors, err = connector.NewManager(connector.ManagerConfig{
		Factories: factories,
		Open:      g.openConsumer,
		Deps: connector.Deps{
			Identity: connector.Identity{
				Gateway: g.cfg.GatewayID, Tenant: g.cfg.Tenant, Device: g.cfg.Device, Version: version.String(),
			},
			Commands: &commander{g.bus, g.drivers}, Secret: g.secrets().Resolve, ConfigRev: g.rev.Load, Log: g.log,
		},
	})
	return err
}

// openConsumer gives a connector its hold on the log.
func (g *Gateway) openConsumer(name string, atEnd bool) (connector.Consumer, func(), error) {
	start := bus.StartOldest
	if atEnd {
		start = bus.StartEnd
	}
	c, err := g.bus.Consumer(name, start)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// updateConnectors makes the connectors of cfg run.
func (g *Gateway) updateConnectors(ctx context.Context, cfg *bootstrap.Gateway) error {
	return g.connectors.Apply(ctx, cfg.Connectors)
}

type adminConnectors struct{ g *Gateway }

// List implements [admin.ConnectorBackend].
func (a adminConnectors) List(context.Context) ([]admin.Connector, error) {
	var list []admin.Connector
	for _, c := range a.g.connectors.List() {
		list = append(list, admin.Connector{
			Name: c.Name, Kind: c.Kind, State: c.State, Since: c.Since, Error: c.Error, Peer: c.Peer,
			Reconnects: c.Reconnects, Inflight: c.Inflight, OutBytes: c.OutBytes, OutMessages: c.OutMessages,
			OutFrames: c.OutFrames, Resent: c.Resent, Refused: c.Refused,
			BatchFramesP50: c.BatchFramesP50, BatchFramesP95: c.BatchFramesP95, RTTAvgMs: c.RTTAvgMs, RTTP95Ms: c.RTTP95Ms,
			AckSeq: c.AckSeq, Lag: c.Lag,
		})
	}
	return list, nil
}

// Test implements [admin.ConnectorBackend].
func (a adminConnectors) Test(ctx context.Context, name string) ([]admin.TestStep, error) {
	var steps []admin.TestStep
	err := a.g.connectors.Test(ctx, name, func(s connector.Step) {
		step := admin.TestStep{Name: s.Name, OK: s.Err == nil, Text: s.Text, Ms: float64(s.Took.Microseconds()) / 1000}
		if s.Err != nil {
			step.Text = s.Err.Error()
		}
		steps = append(steps, step)
	})
	return steps, connectorError(err)
}

// Reconnect implements [admin.ConnectorBackend].
func (a adminConnectors) Reconnect(_ context.Context, name string) error {
	return connectorError(a.g.connectors.Reconnect(name))
}

// SetPaused implements [admin.ConnectorBackend].
func (a adminConnectors) SetPaused(_ context.Context, name string, paused bool) error {
	return connectorError(a.g.connectors.SetPaused(name, paused))
}

func connectorError(err error) error {
	switch {
	case errors.Is(err, connector.ErrUnknown):
		return fmt.Errorf("%w: %w", admin.ErrNotFound, err)
	case errors.Is(err, connector.ErrClosed), errors.Is(err, connector.ErrDown):
		return fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	}
	return err
}

// replayFrames is how many frames a replay hands to a connector at a time.
const replayFrames = 5000

// replayTo sends a part of the log through a connector once more. speed 1 is as
// the frames came, 0 as fast as the connector takes them.
func (g *Gateway) replayTo(ctx context.Context, r admin.Range, name string, speed float64, send func(admin.ReplayProgress) error) error {
	last := g.bus.Head()
	if r.ToSeq > 0 {
		last = min(last, r.ToSeq)
	}
	p := admin.ReplayProgress{Replay: "r-" + rand.Text()[:10], LastSeq: last}
	var part []*frame.Batch
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		topic, err := g.connectors.Replay(ctx, name, p.Replay, part)
		if err != nil {
			return connectorError(err)
		}
		p.Topic, p.Frames, p.Seq = topic, p.Frames+uint64(frame.CountFrames(part)), part[len(part)-1].LastSeq()
		part = nil
		return send(p)
	}
	pace := pacer{speed: speed}
	sel := bus.Selection{First: r.FromSeq, Last: last, From: r.FromTime, To: r.ToTime, Filter: r.Filter}
	_, err := g.bus.Archive().Replay(ctx, sel, func(b *frame.Batch) error {
		if wait := pace.wait(b.Frames[0].TS); wait > 0 {
			if err := flush(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		part = append(part, b)
		if frame.CountFrames(part) < replayFrames {
			return nil
		}
		return flush()
	})
	if err != nil {
		return busadmin.KindOf(err)
	}
	return flush()
}

// pacer spaces frames as their source times were.
type pacer struct {
	speed float64
	began time.Time
	first int64
}

// wait returns how long a frame of source time ts is still to be held back.
func (p *pacer) wait(ts int64) time.Duration {
	if p.speed <= 0 {
		return 0
	}
	if p.began.IsZero() {
		p.began, p.first = time.Now(), ts
	}
	due := p.began.Add(time.Duration(float64(ts-p.first) / p.speed))
	return time.Until(due)
}
