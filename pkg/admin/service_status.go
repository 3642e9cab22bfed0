package admin

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/version"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// APIMinor counts the additions to edge.admin.v1. A client that needs more than
// the gateway has can say so.
const APIMinor = 3

// LocalVersion identifies this build.
func LocalVersion() *pb.GetVersionResponse {
	return &pb.GetVersionResponse{Version: version.String(), GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, ApiMinor: APIMinor}
}

type statusService struct {
	pb.UnimplementedStatusServiceServer
	b Backend
}

func (s *statusService) GetVersion(context.Context, *pb.GetVersionRequest) (*pb.GetVersionResponse, error) {
	return LocalVersion(), nil
}

func (s *statusService) GetStatus(ctx context.Context, _ *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	return s.b.summary(ctx)
}

// summary is what GetStatus answers.
type summary struct{ *pb.GetStatusResponse }

// summary asks every part that there is.
func (b Backend) summary(ctx context.Context) (*pb.GetStatusResponse, error) {
	st := summary{new(pb.GetStatusResponse)}
	if b.Status != nil {
		var err error
		if st.GetStatusResponse, err = b.Status(ctx); err != nil {
			return nil, err
		}
	}
	st.Version, st.Pid = version.String(), int64(os.Getpid())
	for _, part := range []func(context.Context, summary) error{b.sumConfig, b.sumBus, b.sumConnectors, b.sumDrivers, b.sumEndpoints} {
		if err := part(ctx, st); err != nil {
			return nil, err
		}
	}
	st.Problems = grouped(st.Problems)
	return st.GetStatusResponse, nil
}

func (b Backend) sumConfig(ctx context.Context, st summary) error {
	if b.Config == nil {
		return nil
	}
	r, err := b.Config.GetConfigStatus(ctx, nil)
	if err != nil {
		return err
	}
	c := r.GetStatus()
	st.ConfigSource, st.ConfigRev, st.ConfigSha256, st.ConfigState = c.GetSource(), c.GetRev(), c.GetSha256(), c.GetState()
	if c.GetError() != "" {
		p := &pb.Problem{Part: "config", Name: c.GetState(), Text: c.GetError(), Since: c.GetSince()}
		if c.GetState() != "waiting" {
			p.Hint = "see edge-ctl config history; mend the tables, or try again with edge-ctl config reload"
		}
		st.problem(p)
	}
	return nil
}

func (b Backend) sumBus(ctx context.Context, st summary) error {
	if b.Bus == nil {
		return nil
	}
	s, err := b.Bus.Stats(ctx)
	if err != nil {
		return err
	}
	told := slices.ContainsFunc(st.Problems, func(p *pb.Problem) bool { return p.Part == "bus" && p.Name == "log" }) // the cause of both
	if s.Paused && !told {
		st.problem(&pb.Problem{Part: "bus", Name: "paused", Text: "the log is full: drivers wait for room"})
	}
	if s.DiskFull && !told {
		st.problem(&pb.Problem{Part: "bus", Name: "disk_full", Text: "the disk is full: publishing waits until there is room again"})
	}
	for _, c := range s.Consumers {
		if c.Parked && c.Lag > 0 {
			st.problem(&pb.Problem{Part: "bus", Name: c.Name, Text: fmt.Sprintf(
				"no connector reads for this consumer, whose %s %s kept; if its connector was renamed, set rename_from: %s there and restart; 'edge-bus consumers rm %s' gives them up", words.Count(c.Lag, "frame"), words.Are(c.Lag), c.Name, c.Name)})
		}
	}
	return nil
}

func (b Backend) sumConnectors(ctx context.Context, st summary) error {
	if b.Connectors == nil {
		return nil
	}
	r, err := b.Connectors.ListConnectors(ctx, nil)
	if err != nil {
		return err
	}
	for _, c := range r.GetConnectors() {
		st.count("connectors", c.State)
		if c.Error != "" { // besides the state up too: for what works only in part
			st.problem(&pb.Problem{Part: "connector", Name: c.Name, Text: c.Error, Since: c.Since})
		}
	}
	return nil
}

// sumDrivers counts the drivers. Those that are in fault for one reason are one
// problem, and none if it is their endpoint's, which is told.
func (b Backend) sumDrivers(ctx context.Context, st summary) error {
	if b.Drivers == nil {
		return nil
	}
	r, err := b.Drivers.ListDrivers(ctx, nil)
	if err != nil {
		return err
	}
	down := map[string]bool{}
	if b.Endpoints != nil {
		endpoints, err := b.Endpoints.ListEndpoints(ctx, nil)
		if err != nil {
			return err
		}
		for _, e := range endpoints.GetEndpoints() {
			down[e.Id] = e.State == "down"
		}
	}
	type cause struct{ endpoint, text string }
	var causes []cause
	drivers := map[cause][]*pb.Driver{}
	for _, d := range r.GetDrivers() {
		st.count("drivers", d.State)
		if d.State != "fault" || down[d.Endpoint] {
			continue
		}
		c := cause{d.Endpoint, d.Error}
		if drivers[c] == nil {
			causes = append(causes, c)
		}
		drivers[c] = append(drivers[c], d)
	}
	for _, c := range causes {
		p := &pb.Problem{Part: "driver", Text: c.text, Since: drivers[c][0].Since, Hint: "edge-ctl why " + drivers[c][0].Id}
		var names []string
		for _, d := range drivers[c] {
			names = append(names, d.Id)
			if Time(d.Since).Before(Time(p.Since)) {
				p.Since = d.Since
			}
		}
		p.Name = named(names)
		st.problem(p)
	}
	return nil
}

func (b Backend) sumEndpoints(ctx context.Context, st summary) error {
	if b.Endpoints == nil {
		return nil
	}
	r, err := b.Endpoints.ListEndpoints(ctx, nil)
	if err != nil {
		return err
	}
	for _, e := range r.GetEndpoints() {
		st.count("endpoints", e.State)
		if e.State == "down" {
			text := e.Error
			if len(e.Drivers) > 0 {
				text += " (used by " + named(e.Drivers) + ")"
			}
			st.problem(&pb.Problem{Part: "endpoint", Name: e.Id, Text: text, Since: e.Since})
		}
	}
	return nil
}

func (s summary) problem(p *pb.Problem) { s.Problems = append(s.Problems, p) }

func (s summary) count(part, state string) {
	for _, p := range s.Parts {
		if p.Part == part && p.State == state {
			p.Count++
			return
		}
	}
	s.Parts = append(s.Parts, &pb.PartCount{Part: part, State: state, Count: 1})
}
