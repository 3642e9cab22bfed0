package admin

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

type endpointService struct {
	pb.UnimplementedEndpointServiceServer
	b EndpointBackend
}

func (s *endpointService) ListEndpoints(ctx context.Context, _ *pb.ListEndpointsRequest) (*pb.ListEndpointsResponse, error) {
	if s.b == nil {
		return nil, missing("endpoints")
	}
	list, err := s.b.List(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.ListEndpointsResponse{Endpoints: each(list, toEndpoint)}, nil
}

func (s *endpointService) ProbeModbus(ctx context.Context, r *pb.ProbeModbusRequest) (*pb.ProbeModbusResponse, error) {
	if s.b == nil {
		return nil, missing("endpoints")
	}
	q, err := fromQuestion(r.GetQuestion(), maxProbeTimeout)
	if err != nil {
		return nil, err
	}
	a, err := s.b.ProbeModbus(ctx, r.GetEndpoint(), q)
	if err != nil {
		return nil, err
	}
	return &pb.ProbeModbusResponse{
		Connect: durationpb.New(a.Connect), Took: durationpb.New(a.Took), Address: uint32(a.Addr), Count: uint32(a.Count),
		Data: a.Data, Refusal: a.Refusal, Hints: a.Hints,
	}, nil
}

func (s *endpointService) ScanModbus(r *pb.ScanModbusRequest, out grpc.ServerStreamingServer[pb.ScanModbusResponse]) error {
	if s.b == nil {
		return missing("endpoints")
	}
	q, err := fromQuestion(r.GetQuestion(), maxScanTimeout)
	if err != nil {
		return err
	}
	if n := len(r.GetUnits()); n == 0 || n > 256 {
		return fmt.Errorf("%d units: %w: expected 1 to 256", n, ErrInvalid)
	}
	return s.b.ScanModbus(out.Context(), r.GetEndpoint(), q, r.GetUnits(), func(f ModbusFound) error {
		return out.Send(&pb.ScanModbusResponse{Unit: uint32(f.Unit), Found: f.Found, Took: durationpb.New(f.Took), Exception: f.Exception})
	})
}

// How long a question may hold the line.
const (
	minProbeTimeout = 10 * time.Millisecond
	maxProbeTimeout = 5 * time.Second
	maxScanTimeout  = time.Second
)

// fromQuestion checks what the message could hold and the struct could not; what
// can be asked at all, the backend says.
func fromQuestion(m *pb.ModbusQuestion, longest time.Duration) (ModbusQuestion, error) {
	if m.GetUnit() > 255 || m.GetFunction() > 255 || m.GetAddress() > 65535 || m.GetCount() > 65535 {
		return ModbusQuestion{}, fmt.Errorf("unit %d, function %d, address %d, count %d: %w: expected a unit up to 255, a function up to 4, an address up to 65535",
			m.GetUnit(), m.GetFunction(), m.GetAddress(), m.GetCount(), ErrInvalid)
	}
	q := ModbusQuestion{
		Unit: uint8(m.GetUnit()), Function: uint8(m.GetFunction()), Addr: uint16(m.GetAddress()), Count: uint16(m.GetCount()),
		Framing: m.GetFraming(), Timeout: m.GetTimeout().AsDuration(), Around: m.GetAround(),
	}
	if m.GetTimeout() != nil && (q.Timeout < minProbeTimeout || q.Timeout > longest) {
		return q, fmt.Errorf("timeout %v: %w: expected %v to %v, since polls wait meanwhile", q.Timeout, ErrInvalid, minProbeTimeout, longest)
	}
	return q, nil
}

type driverService struct {
	pb.UnimplementedDriverServiceServer
	b DriverBackend
}

func (s *driverService) ListDrivers(ctx context.Context, _ *pb.ListDriversRequest) (*pb.ListDriversResponse, error) {
	if s.b == nil {
		return nil, missing("drivers")
	}
	list, err := s.b.List(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.ListDriversResponse{Drivers: each(list, toDriver)}, nil
}

func (s *driverService) PauseDriver(ctx context.Context, r *pb.PauseDriverRequest) (*pb.PauseDriverResponse, error) {
	if s.b == nil {
		return nil, missing("drivers")
	}
	return &pb.PauseDriverResponse{}, s.b.Pause(ctx, r.GetDriver())
}

func (s *driverService) ResumeDriver(ctx context.Context, r *pb.ResumeDriverRequest) (*pb.ResumeDriverResponse, error) {
	if s.b == nil {
		return nil, missing("drivers")
	}
	return &pb.ResumeDriverResponse{}, s.b.Resume(ctx, r.GetDriver())
}

func (s *driverService) RestartDriver(ctx context.Context, r *pb.RestartDriverRequest) (*pb.RestartDriverResponse, error) {
	if s.b == nil {
		return nil, missing("drivers")
	}
	return &pb.RestartDriverResponse{}, s.b.Restart(ctx, r.GetDriver())
}

func (s *driverService) DiagnoseDriver(ctx context.Context, r *pb.DiagnoseDriverRequest) (*pb.DiagnoseDriverResponse, error) {
	if s.b == nil {
		return nil, missing("drivers")
	}
	facts, err := s.b.Diagnose(ctx, r.GetDriver())
	if err != nil {
		return nil, err
	}
	return &pb.DiagnoseDriverResponse{Facts: each(facts, func(f Fact) *pb.Fact {
		return &pb.Fact{Name: f.Name, Value: f.Value}
	})}, nil
}

type connectorService struct {
	pb.UnimplementedConnectorServiceServer
	b ConnectorBackend
}

func (s *connectorService) ListConnectors(ctx context.Context, _ *pb.ListConnectorsRequest) (*pb.ListConnectorsResponse, error) {
	if s.b == nil {
		return nil, missing("connectors")
	}
	list, err := s.b.List(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.ListConnectorsResponse{Connectors: each(list, toConnector)}, nil
}

func (s *connectorService) TestConnector(ctx context.Context, r *pb.TestConnectorRequest) (*pb.TestConnectorResponse, error) {
	if s.b == nil {
		return nil, missing("connectors")
	}
	steps, err := s.b.Test(ctx, r.GetConnector())
	if err != nil {
		return nil, err
	}
	return &pb.TestConnectorResponse{Steps: each(steps, func(t TestStep) *pb.TestStep {
		return &pb.TestStep{Name: t.Name, Ok: t.OK, Text: t.Text, Ms: t.Ms}
	})}, nil
}

func (s *connectorService) ReconnectConnector(ctx context.Context, r *pb.ReconnectConnectorRequest) (*pb.ReconnectConnectorResponse, error) {
	if s.b == nil {
		return nil, missing("connectors")
	}
	return &pb.ReconnectConnectorResponse{}, s.b.Reconnect(ctx, r.GetConnector())
}

func (s *connectorService) PauseConnector(ctx context.Context, r *pb.PauseConnectorRequest) (*pb.PauseConnectorResponse, error) {
	if s.b == nil {
		return nil, missing("connectors")
	}
	return &pb.PauseConnectorResponse{}, s.b.SetPaused(ctx, r.GetConnector(), true)
}

func (s *connectorService) ResumeConnector(ctx context.Context, r *pb.ResumeConnectorRequest) (*pb.ResumeConnectorResponse, error) {
	if s.b == nil {
		return nil, missing("connectors")
	}
	return &pb.ResumeConnectorResponse{}, s.b.SetPaused(ctx, r.GetConnector(), false)
}
