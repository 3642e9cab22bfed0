package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/connectors"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// openNorth builds the connectors and starts them.
func (g *Gateway) openNorth() error {
	factories, err := connectors.Builtin().Factories(g.reg)
	if err != nil {
		return err
	}
	g.connectors, err = connector.NewManager(connector.ManagerConfig{
		Factories: factories,
		Open:      g.openConsumer,
		Deps: connector.Deps{
			Identity: connector.Identity{
				Gateway: g.cfg.GatewayID, Tenant: g.cfg.Tenant, Device: g.cfg.Device, Version: version.String(),
			},
			Commands: &commander{g.bus, g.drivers, g.booted, g.started}, Secret: g.secrets().Resolve, ConfigRev: g.rev.Load, Log: g.log,
		},
	})
	return err
}

// openConsumer gives a connector its hold on the log.
func (g *Gateway) openConsumer(name string, atEnd bool) (connector.Source, func(), error) {
	start := bus.StartOldest
	if atEnd {
		start = bus.StartEnd
	}
	c, err := g.bus.OpenReader(name, start)
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

type adminConnectors struct {
	pb.UnimplementedConnectorServiceServer
	g *Gateway
}

// ListConnectors lists the connectors, sorted by name.
func (a adminConnectors) ListConnectors(context.Context, *pb.ListConnectorsRequest) (*pb.ListConnectorsResponse, error) {
	return &pb.ListConnectorsResponse{Connectors: admin.FillEach[pb.Connector](a.g.connectors.List())}, nil
}

// TestConnector dials the peer next to the connection in use. A step that fails is no
// error.
func (a adminConnectors) TestConnector(ctx context.Context, r *pb.TestConnectorRequest) (*pb.TestConnectorResponse, error) {
	resp := new(pb.TestConnectorResponse)
	err := a.g.connectors.Test(ctx, r.GetConnector(), func(s connector.Step) {
		resp.Steps = append(resp.Steps, stepMessage(s))
	})
	return resp, err
}

// stepMessage is s, its error in place of what was found.
func stepMessage(s connector.Step) *pb.TestStep {
	m := &pb.TestStep{Name: s.Name, Ok: s.Err == nil, Text: s.Text, Ms: admin.Milliseconds(s.Took)}
	if s.Err != nil {
		m.Text = s.Err.Error()
	}
	return m
}

// ReconnectConnector makes a new connection.
func (a adminConnectors) ReconnectConnector(_ context.Context, r *pb.ReconnectConnectorRequest) (*pb.ReconnectConnectorResponse, error) {
	return &pb.ReconnectConnectorResponse{}, a.g.connectors.Reconnect(r.GetConnector())
}

// PauseConnector stops delivery.
func (a adminConnectors) PauseConnector(_ context.Context, r *pb.PauseConnectorRequest) (*pb.PauseConnectorResponse, error) {
	return &pb.PauseConnectorResponse{}, a.g.connectors.SetPaused(r.GetConnector(), true)
}

// ResumeConnector goes on delivering.
func (a adminConnectors) ResumeConnector(_ context.Context, r *pb.ResumeConnectorRequest) (*pb.ResumeConnectorResponse, error) {
	return &pb.ResumeConnectorResponse{}, a.g.connectors.SetPaused(r.GetConnector(), false)
}

// resend sends frames through a connector once more.
func (g *Gateway) resend(ctx context.Context, name, id string, batches []*frame.Batch) (string, error) {
	return g.connectors.Replay(ctx, name, id, batches)
}
