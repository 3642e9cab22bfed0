package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
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

// renameConsumers moves the places of connectors that have another name by now.
func (g *Gateway) renameConsumers() error {
	for name, c := range g.cfg.Connectors {
		from, _ := c["rename_from"].(string)
		if from == "" {
			continue
		}
		switch err := g.bus.MoveConsumer(from, name); {
		case err == nil:
			g.log.Info("a connector was renamed; it goes on at its place in the log", "connector", name, "before", from)
		case errors.Is(err, bus.ErrNoConsumer): // done at an earlier start, or never there
		case errors.Is(err, bus.ErrConsumerThere):
			g.log.Warn("rename_from has no effect: the log knows both names; 'edge-bus consumers rm' forgets one", "connector", name, "rename_from", from)
		default:
			return fmt.Errorf("connectors.%s.rename_from: %w", name, err)
		}
	}
	return nil
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

// resend sends frames through a connector once more.
func (g *Gateway) resend(ctx context.Context, name, id string, batches []*frame.Batch) (string, error) {
	topic, err := g.connectors.Replay(ctx, name, id, batches)
	return topic, connectorError(err)
}
