package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// server is the contract's side of a driver.
type server struct {
	driverpb.UnimplementedDriverServiceServer
	driver Driver
	log    *slog.Logger

	mu     sync.Mutex // held by all calls but Describe, Check and Status
	points []Point
	groups []*Group // by number; nil: there is none

	devices sync.Mutex // guards device
	device  Device     // nil: not open
}

func newServer(d Driver, log *slog.Logger) *server { return &server{driver: d, log: log} }

// Describe implements the contract.
func (s *server) Describe(context.Context, *driverpb.DescribeRequest) (*driverpb.DescribeResponse, error) {
	d := s.driver
	return &driverpb.DescribeResponse{
		Name: d.Name, Version: d.Version, Protocols: d.Protocols, SettingsSchema: d.Settings, AddressSchema: d.Address,
		Checks: d.Check != nil, Writes: d.Writes, Diagnoses: d.Diagnoses,
	}, nil
}

// Check implements the contract.
func (s *server) Check(_ context.Context, r *driverpb.CheckRequest) (*driverpb.CheckResponse, error) {
	resp := &driverpb.CheckResponse{}
	if s.driver.Check == nil {
		return resp, nil
	}
	for _, f := range s.driver.Check(s.config(r.GetId(), r.GetSettings(), r.GetEndpoint()), pointsOf(r.GetPoints())) {
		resp.Findings = append(resp.Findings, &driverpb.Finding{Text: f.Text, Tag: f.Tag, Path: f.Path, Warning: f.Warning})
	}
	return resp, nil
}

func (s *server) config(id, settings string, e *driverpb.Endpoint) Config {
	return Config{
		ID: id, Settings: json.RawMessage(settings), Log: s.log,
		Endpoint: Endpoint{Scheme: e.GetScheme(), Host: e.GetHost(), Port: uint16(e.GetPort()), Opts: e.GetOpts()},
	}
}

func pointsOf(list []*driverpb.Point) []Point {
	out := make([]Point, len(list))
	for i, p := range list {
		out[i] = Point{Tag: p.GetTag(), Address: json.RawMessage(p.GetAddress()), Datatype: p.GetDatatype(), Readable: p.GetReadable(), Writable: p.GetWritable()}
	}
	return out
}

// Open implements the contract.
func (s *server) Open(ctx context.Context, r *driverpb.OpenRequest) (*driverpb.OpenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := within(ctx, r.GetTimeoutMs())
	defer cancel()
	s.close()
	device, err := s.driver.Open(ctx, s.config(r.GetId(), r.GetSettings(), r.GetEndpoint()))
	if err != nil {
		return &driverpb.OpenResponse{Error: errorOf(err)}, nil
	}
	s.devices.Lock()
	defer s.devices.Unlock()
	s.device = device
	return &driverpb.OpenResponse{}, nil
}

// current returns the device, or an error of the gateway, which calls out of order.
func (s *server) current() (Device, error) {
	s.devices.Lock()
	defer s.devices.Unlock()
	if s.device == nil {
		return nil, status.Error(codes.FailedPrecondition, "the device is not open")
	}
	return s.device, nil
}

// close closes the device, if it is open.
func (s *server) close() {
	s.devices.Lock()
	device := s.device
	s.device = nil
	s.devices.Unlock()
	if device == nil {
		return
	}
	if err := device.Close(); err != nil {
		s.log.Debug("close the device", "error", err)
	}
}

// within bounds a call by what the gateway gives it.
func within(ctx context.Context, ms uint32) (context.Context, context.CancelFunc) {
	if ms == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
}

// SetPoints implements the contract.
func (s *server) SetPoints(_ context.Context, r *driverpb.SetPointsRequest) (*driverpb.SetPointsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.points = pointsOf(r.GetPoints())
	s.groups = nil
	for i, p := range r.GetPoints() {
		if !p.GetReadable() {
			continue
		}
		n := int(p.GetGroup())
		if n > len(s.points) {
			return nil, status.Errorf(codes.InvalidArgument, "%s is in group %d of %d points", p.GetTag(), n, len(s.points))
		}
		for n >= len(s.groups) {
			s.groups = append(s.groups, &Group{})
		}
		s.groups[n].Points = append(s.groups[n].Points, s.points[i])
	}
	for _, g := range s.groups {
		g.values = make([]Value, len(g.Points))
	}
	return &driverpb.SetPointsResponse{}, nil
}

// poll reads a group.
func poll(ctx context.Context, d Device, g *Group) (*driverpb.Values, error) {
	clear(g.values)
	g.bad, g.reasons = nil, nil
	if err := d.Poll(ctx, g); err != nil {
		return nil, err
	}
	out := columns(g.values)
	out.Qualities, out.Reasons = g.bad, g.reasons
	return out, nil
}

// Poll implements the contract.
func (s *server) Poll(ctx context.Context, r *driverpb.PollRequest) (*driverpb.PollResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.current()
	if err != nil {
		return nil, err
	}
	if int(r.GetGroup()) >= len(s.groups) {
		return nil, status.Errorf(codes.InvalidArgument, "there is no group %d", r.GetGroup())
	}
	ctx, cancel := within(ctx, r.GetTimeoutMs())
	defer cancel()
	values, err := poll(ctx, d, s.groups[r.GetGroup()])
	return &driverpb.PollResponse{Error: errorOf(err), Values: values}, nil
}

// point returns a point that the gateway names.
func (s *server) point(index uint32) (Point, error) {
	if int(index) >= len(s.points) {
		return Point{}, status.Errorf(codes.InvalidArgument, "there is no point %d", index)
	}
	return s.points[index], nil
}

// Read implements the contract: a group of one point.
func (s *server) Read(ctx context.Context, r *driverpb.ReadRequest) (*driverpb.ReadResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.current()
	if err != nil {
		return nil, err
	}
	p, err := s.point(r.GetIndex())
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, r.GetTimeoutMs())
	defer cancel()
	values, err := poll(ctx, d, &Group{Points: []Point{p}, values: make([]Value, 1)})
	if err != nil {
		err = Lost(err)
	}
	return &driverpb.ReadResponse{Error: errorOf(err), Values: values}, nil
}

// Write implements the contract.
func (s *server) Write(ctx context.Context, r *driverpb.WriteRequest) (*driverpb.WriteResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.current()
	if err != nil {
		return nil, err
	}
	p, err := s.point(r.GetIndex())
	if err != nil {
		return nil, err
	}
	v, err := single(r.GetValues())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	w, ok := d.(Writer)
	if !ok {
		return &driverpb.WriteResponse{Error: &driverpb.Error{Text: "the driver can't write"}}, nil
	}
	ctx, cancel := within(ctx, r.GetTimeoutMs())
	defer cancel()
	back, err := w.Write(ctx, p, v)
	if err != nil {
		return &driverpb.WriteResponse{Error: errorOf(err)}, nil
	}
	resp := &driverpb.WriteResponse{}
	if !back.IsNone() {
		resp.ReadBack = columns([]Value{back})
	}
	return resp, nil
}

// Diagnose implements the contract.
func (s *server) Diagnose(ctx context.Context, r *driverpb.DiagnoseRequest) (*driverpb.DiagnoseResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.current()
	if err != nil {
		return nil, err
	}
	diagnoser, ok := d.(Diagnoser)
	if !ok {
		return &driverpb.DiagnoseResponse{Error: &driverpb.Error{Text: "the driver has no diagnosis"}}, nil
	}
	ctx, cancel := within(ctx, r.GetTimeoutMs())
	defer cancel()
	facts, err := diagnoser.Diagnose(ctx)
	resp := &driverpb.DiagnoseResponse{Error: errorOf(err)}
	for _, f := range facts {
		resp.Facts = append(resp.Facts, &driverpb.Fact{Name: f.Name, Value: f.Value})
	}
	return resp, nil
}

// Status implements the contract.
func (s *server) Status(context.Context, *driverpb.StatusRequest) (*driverpb.StatusResponse, error) {
	s.devices.Lock()
	device := s.device
	s.devices.Unlock()
	resp := &driverpb.StatusResponse{}
	if a, ok := device.(Adviser); ok {
		resp.Advice = a.Advice()
	}
	return resp, nil
}

// Close implements the contract.
func (s *server) Close(context.Context, *driverpb.CloseRequest) (*driverpb.CloseResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
	return &driverpb.CloseResponse{}, nil
}

// errorOf makes the contract's error; nil of nil.
func errorOf(err error) *driverpb.Error {
	if err == nil {
		return nil
	}
	e := &driverpb.Error{Text: err.Error(), OutcomeUnknown: errors.Is(err, ErrOutcomeUnknown)}
	var lost lostError
	e.Lost = errors.As(err, &lost)
	var with hinted
	if errors.As(err, &with) {
		e.Hint = with.hint
	}
	if e.Text == "" {
		e.Text = fmt.Sprintf("%T", err)
	}
	return e
}
