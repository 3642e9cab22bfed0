package admin

import (
	"context"

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
