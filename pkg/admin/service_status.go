package admin

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// APIMinor counts the additions to edge.admin.v1. A client that needs more than
// the gateway has can say so.
const APIMinor = 3

// LocalVersion identifies this build.
func LocalVersion() Version {
	return Version{Version: version.String(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, APIMinor: APIMinor}
}

type statusService struct {
	pb.UnimplementedStatusServiceServer
	b Backend
}

func (s *statusService) GetVersion(context.Context, *pb.GetVersionRequest) (*pb.GetVersionResponse, error) {
	v := LocalVersion()
	return &pb.GetVersionResponse{Version: v.Version, GoVersion: v.Go, Platform: v.Platform, ApiMinor: v.APIMinor}, nil
}

func (s *statusService) GetStatus(ctx context.Context, _ *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	st, err := s.b.summary(ctx)
	if err != nil {
		return nil, err
	}
	return toStatusMessage(st), nil
}

// summary asks every part that there is.
func (b Backend) summary(ctx context.Context) (Status, error) {
	st := Status{Version: version.String(), PID: int64(os.Getpid())}
	if b.Status != nil {
		info, err := b.Status.Info(ctx)
		if err != nil {
			return st, err
		}
		st.Gateway, st.Tenant, st.Device, st.State, st.Started = info.Gateway, info.Tenant, info.Device, info.State, info.Started
		st.Problems = slices.Clone(info.Problems)
	}
	for _, part := range []func(context.Context, *Status) error{b.sumConfig, b.sumBus, b.sumConnectors, b.sumDrivers, b.sumEndpoints} {
		if err := part(ctx, &st); err != nil {
			return st, err
		}
	}
	return st, nil
}

func (b Backend) sumConfig(ctx context.Context, st *Status) error {
	if b.Config == nil {
		return nil
	}
	c, err := b.Config.Status(ctx)
	if err != nil {
		return err
	}
	st.ConfigSource, st.ConfigRev, st.ConfigSHA256, st.ConfigState = c.Source, c.Rev, c.SHA256, c.State
	if c.Error != "" {
		st.Problems = append(st.Problems, Problem{Part: "config", Name: c.State, Text: c.Error, Since: c.Since})
	}
	return nil
}

func (b Backend) sumBus(ctx context.Context, st *Status) error {
	if b.Bus == nil {
		return nil
	}
	s, err := b.Bus.Stats(ctx)
	if err != nil {
		return err
	}
	told := slices.ContainsFunc(st.Problems, func(p Problem) bool { return p.Part == "bus" && p.Name == "log" }) // the cause of both
	if s.Paused && !told {
		st.Problems = append(st.Problems, Problem{Part: "bus", Name: "paused", Text: "the log is full: drivers wait for room"})
	}
	if s.DiskFull && !told {
		st.Problems = append(st.Problems, Problem{Part: "bus", Name: "disk_full", Text: "the disk is full: publishing waits until there is room again"})
	}
	for _, c := range s.Consumers {
		if c.Parked && c.Lag > 0 {
			st.Problems = append(st.Problems, Problem{Part: "bus", Name: c.Name, Text: fmt.Sprintf(
				"no connector reads for this consumer, whose %d frames are kept; if its connector was renamed, set rename_from: %s there and restart; 'edge-bus consumers rm %s' gives them up", c.Lag, c.Name, c.Name)})
		}
	}
	return nil
}

func (b Backend) sumConnectors(ctx context.Context, st *Status) error {
	if b.Connectors == nil {
		return nil
	}
	list, err := b.Connectors.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		st.count("connectors", c.State)
		if c.Error != "" { // beside the state up too: for what works only in part
			st.Problems = append(st.Problems, Problem{Part: "connector", Name: c.Name, Text: c.Error, Since: c.Since})
		}
	}
	return nil
}

// sumDrivers counts the drivers. Those that are in fault for one reason are one
// problem, and none if it is their endpoint's, which is told.
func (b Backend) sumDrivers(ctx context.Context, st *Status) error {
	if b.Drivers == nil {
		return nil
	}
	list, err := b.Drivers.List(ctx)
	if err != nil {
		return err
	}
	down := map[string]bool{}
	if b.Endpoints != nil {
		endpoints, err := b.Endpoints.List(ctx)
		if err != nil {
			return err
		}
		for _, e := range endpoints {
			down[e.ID] = e.State == "down"
		}
	}
	type cause struct{ endpoint, text string }
	var causes []cause
	drivers := map[cause][]Driver{}
	for _, d := range list {
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
		p := Problem{Part: "driver", Text: c.text, Since: drivers[c][0].Since, Hint: "edge-ctl why " + drivers[c][0].ID}
		var names []string
		for _, d := range drivers[c] {
			names = append(names, d.ID)
			if d.Since.Before(p.Since) {
				p.Since = d.Since
			}
		}
		const shown = 3
		if n := len(names) - shown; n > 0 {
			names = append(names[:shown], fmt.Sprintf("%d more", n))
		}
		p.Name = strings.Join(names, ", ")
		st.Problems = append(st.Problems, p)
	}
	return nil
}

func (b Backend) sumEndpoints(ctx context.Context, st *Status) error {
	if b.Endpoints == nil {
		return nil
	}
	list, err := b.Endpoints.List(ctx)
	if err != nil {
		return err
	}
	for _, e := range list {
		st.count("endpoints", e.State)
		if e.State == "down" {
			text := e.Error
			if len(e.Drivers) > 0 {
				text += " (used by " + strings.Join(e.Drivers, ", ") + ")"
			}
			st.Problems = append(st.Problems, Problem{Part: "endpoint", Name: e.ID, Text: text, Since: e.Since})
		}
	}
	return nil
}

func (s *Status) count(part, state string) {
	for i := range s.Parts {
		if p := &s.Parts[i]; p.Part == part && p.State == state {
			p.Count++
			return
		}
	}
	s.Parts = append(s.Parts, PartCount{Part: part, State: state, Count: 1})
}
