package admin

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

type endpointClient struct{ c pb.EndpointServiceClient }

func (c *endpointClient) List(ctx context.Context) ([]Endpoint, error) {
	m, err := c.c.ListEndpoints(ctx, &pb.ListEndpointsRequest{})
	return each(m.GetEndpoints(), fromEndpoint), err
}

func (c *endpointClient) ProbeModbus(ctx context.Context, endpoint string, q ModbusQuestion) (ModbusAnswer, error) {
	m, err := c.c.ProbeModbus(ctx, &pb.ProbeModbusRequest{Endpoint: endpoint, Question: toQuestion(q)})
	return ModbusAnswer{
		Connect: m.GetConnect().AsDuration(), Took: m.GetTook().AsDuration(), Addr: uint16(m.GetAddress()), Count: uint16(m.GetCount()),
		Data: m.GetData(), Refusal: m.GetRefusal(), Hints: m.GetHints(),
	}, err
}

func (c *endpointClient) ScanModbus(ctx context.Context, endpoint string, q ModbusQuestion, units []uint8, send func(ModbusFound) error) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ScanModbusResponse], error) {
		return c.c.ScanModbus(ctx, &pb.ScanModbusRequest{Endpoint: endpoint, Question: toQuestion(q), Units: units})
	}
	return receive(ctx, open, func(m *pb.ScanModbusResponse) error {
		return send(ModbusFound{Unit: uint8(m.GetUnit()), Found: m.GetFound(), Took: m.GetTook().AsDuration(), Exception: m.GetException()})
	})
}

func toQuestion(q ModbusQuestion) *pb.ModbusQuestion {
	m := &pb.ModbusQuestion{
		Unit: uint32(q.Unit), Function: uint32(q.Function), Address: uint32(q.Addr), Count: uint32(q.Count), Framing: q.Framing, Around: q.Around,
	}
	if q.Timeout != 0 {
		m.Timeout = durationpb.New(q.Timeout)
	}
	return m
}

type driverClient struct{ c pb.DriverServiceClient }

func (c *driverClient) List(ctx context.Context) ([]Driver, error) {
	m, err := c.c.ListDrivers(ctx, &pb.ListDriversRequest{})
	return each(m.GetDrivers(), fromDriver), err
}

func (c *driverClient) Pause(ctx context.Context, id string) error {
	_, err := c.c.PauseDriver(ctx, &pb.PauseDriverRequest{Driver: id})
	return err
}

func (c *driverClient) Resume(ctx context.Context, id string) error {
	_, err := c.c.ResumeDriver(ctx, &pb.ResumeDriverRequest{Driver: id})
	return err
}

func (c *driverClient) Restart(ctx context.Context, id string) error {
	_, err := c.c.RestartDriver(ctx, &pb.RestartDriverRequest{Driver: id})
	return err
}

func (c *driverClient) Diagnose(ctx context.Context, id string) ([]Fact, error) {
	m, err := c.c.DiagnoseDriver(ctx, &pb.DiagnoseDriverRequest{Driver: id})
	return each(m.GetFacts(), func(f *pb.Fact) Fact { return Fact{Name: f.GetName(), Value: f.GetValue()} }), err
}

type connectorClient struct{ c pb.ConnectorServiceClient }

func (c *connectorClient) List(ctx context.Context) ([]Connector, error) {
	m, err := c.c.ListConnectors(ctx, &pb.ListConnectorsRequest{})
	return each(m.GetConnectors(), fromConnector), err
}

func (c *connectorClient) Test(ctx context.Context, name string) ([]TestStep, error) {
	m, err := c.c.TestConnector(ctx, &pb.TestConnectorRequest{Connector: name})
	return each(m.GetSteps(), func(s *pb.TestStep) TestStep {
		return TestStep{Name: s.GetName(), OK: s.GetOk(), Text: s.GetText(), Ms: s.GetMs()}
	}), err
}

func (c *connectorClient) Reconnect(ctx context.Context, name string) error {
	_, err := c.c.ReconnectConnector(ctx, &pb.ReconnectConnectorRequest{Connector: name})
	return err
}

func (c *connectorClient) SetPaused(ctx context.Context, name string, paused bool) error {
	var err error
	if paused {
		_, err = c.c.PauseConnector(ctx, &pb.PauseConnectorRequest{Connector: name})
	} else {
		_, err = c.c.ResumeConnector(ctx, &pb.ResumeConnectorRequest{Connector: name})
	}
	return err
}

type configClient struct{ c pb.ConfigServiceClient }

func (c *configClient) Status(ctx context.Context) (ConfigStatus, error) {
	m, err := c.c.GetConfigStatus(ctx, &pb.GetConfigStatusRequest{})
	return fromConfigStatus(m.GetStatus()), err
}

func (c *configClient) History(ctx context.Context, limit int) ([]ConfigApply, error) {
	m, err := c.c.ListConfigHistory(ctx, &pb.ListConfigHistoryRequest{Limit: uint32(max(limit, 0))})
	return each(m.GetApplies(), fromConfigApply), err
}

func (c *configClient) Watch(ctx context.Context, emit func(ConfigEvent)) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchConfigResponse], error) {
		return c.c.WatchConfig(ctx, &pb.WatchConfigRequest{})
	}
	return receive(ctx, open, func(m *pb.WatchConfigResponse) error {
		emit(ConfigEvent{Time: fromTime(m.GetTime()), Rev: m.GetRev(), SHA256: m.GetSha256(), State: m.GetState(),
			Text: m.GetText(), Dropped: m.GetDropped()})
		return nil
	})
}

func (c *configClient) Reload(ctx context.Context) (ConfigStatus, error) {
	m, err := c.c.ReloadConfig(ctx, &pb.ReloadConfigRequest{})
	return fromConfigStatus(m.GetStatus()), err
}

func (c *configClient) Rollback(ctx context.Context, toRev uint64) (ConfigStatus, error) {
	m, err := c.c.RollbackConfig(ctx, &pb.RollbackConfigRequest{ToRev: toRev})
	return fromConfigStatus(m.GetStatus()), err
}
