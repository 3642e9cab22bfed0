package gateway

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// openAdmin builds the server of the admin socket on the running parts.
func (g *Gateway) openAdmin() error {
	socket, err := adminSocket(g.cfg)
	if err != nil {
		return err
	}
	g.admin, err = admin.NewServer(socket,
		admin.Backend{
			Status: adminStatus{g}, Endpoints: adminEndpoints{g}, Drivers: adminDrivers{g}, Tags: adminTags{g},
			Bus: busadmin.Running(g.bus, g.resend), Connectors: adminConnectors{g}, Config: adminConfig{g}, Diagnostics: adminDiagnostics{g},
		},
		admin.Deps{Log: g.log, Registerer: g.reg, Gatherer: g.reg, Audit: g.audit},
	)
	return err
}

// adminSocket turns the section of gateway.yml into the server's settings.
func adminSocket(cfg *bootstrap.Gateway) (admin.Config, error) {
	mode, err := strconv.ParseUint(cfg.Admin.Mode, 8, 32)
	if err != nil {
		return admin.Config{}, fmt.Errorf("admin.mode %q: expected an octal number such as 0600", cfg.Admin.Mode)
	}
	return admin.Config{Socket: cfg.Admin.Socket, Mode: fs.FileMode(mode), Group: cfg.Admin.Group}, nil
}

// audit writes what was changed through the admin socket to the log and, as a
// frame, to whoever consumes the data.
func (g *Gateway) audit(r admin.AuditRecord) {
	g.log.Info("audit", "method", r.Method, "user", r.User, "uid", r.Peer.UID, "pid", r.Peer.PID, "request", r.Request, "code", r.Code, "error", r.Error)
	object := map[string]any{
		"time": r.Time.UTC(), "method": r.Method, "user": r.User, "uid": r.Peer.UID, "request": r.Request, "code": r.Code, "error": r.Error,
	}
	if err := g.bus.PublishSys("sys.audit", object); err != nil {
		g.log.Error("an audit record was not told upstream", "error", err)
	}
}

type adminStatus struct{ g *Gateway }

// Info implements [admin.StatusBackend].
func (a adminStatus) Info(context.Context) (admin.Info, error) {
	state, _ := a.g.state.Load().(string) // always set
	info := admin.Info{
		Gateway: a.g.cfg.GatewayID, Tenant: a.g.cfg.Tenant, Device: a.g.cfg.Device, State: state, Started: a.g.started,
	}
	if err := a.g.bus.Problem(); err != nil {
		info.Problems = append(info.Problems, admin.Problem{Part: "bus", Name: "log", Text: err.Error()})
	}
	if err := a.g.clock.unset(); err != nil {
		info.Problems = append(info.Problems, admin.Problem{Part: "clock", Name: "not_set", Text: err.Error()})
	}
	if t := a.g.turned.Load(); t != nil {
		info.Problems = append(info.Problems, admin.Problem{Part: "bus", Name: "epoch", Since: t.since, Text: fmt.Sprintf(
			"the log's storage was put back to an earlier state: frames %d to %d had been used, as %s says; since then they are those of epoch %s. Find out what put it back",
			t.behind.Head+1, t.behind.Seq, t.behind.Where, t.epoch)})
	}
	tags, err := a.g.drivers.Tags("")
	if err != nil {
		return info, err
	}
	list := a.g.drivers.List()
	info.Problems = append(info.Problems, driverProblems(list, tags)...)
	// What somebody has paused is easily forgotten.
	pressed := a.g.bus.Stats().Paused
	for _, d := range list {
		if d.State == driver.Paused && !pressed {
			info.Problems = append(info.Problems, admin.Problem{Part: "driver", Name: d.ID, Text: "paused: edge-ctl drivers resume " + d.ID, Since: d.Since})
		}
	}
	for _, c := range a.g.connectors.List() {
		if c.State == "paused" {
			info.Problems = append(info.Problems, admin.Problem{Part: "connector", Name: c.Name, Text: "paused: edge-ctl connector " + c.Name + " resume", Since: c.Since})
		}
	}
	return info, nil
}

type adminEndpoints struct{ g *Gateway }

// List implements [admin.EndpointBackend]. An endpoint that no driver uses, or
// only paused ones, is idle.
func (a adminEndpoints) List(context.Context) ([]admin.Endpoint, error) {
	snap := a.g.runner.Current()
	users := map[string][]string{}
	for id, d := range snap.Drivers {
		users[d.EndpointID] = append(users[d.EndpointID], id)
	}
	var list []admin.Endpoint
	open := map[string]bool{}
	for _, s := range a.g.pool.States() {
		open[s.ID] = true
		slices.Sort(users[s.ID])
		list = append(list, admin.Endpoint{
			ID: s.ID, URL: s.URL, State: string(s.Status), Since: s.Since, Error: s.LastError,
			Open: s.Open, InUse: s.InUse, Max: a.g.endpoints.maxConns(s.ID), Reconnects: s.Reconnects, Drivers: users[s.ID],
		})
	}
	for id, item := range snap.Endpoints {
		u, err := endpoint.FromTable(item.Scheme, item.Host, item.Port, item.Opts)
		if open[id] || err != nil { // an error: no driver of ours could use it
			continue
		}
		slices.Sort(users[id])
		list = append(list, admin.Endpoint{ID: id, URL: u.String(), State: string(endpoint.Idle), Max: u.Options().MaxConns, Drivers: users[id]})
	}
	slices.SortFunc(list, func(x, y admin.Endpoint) int { return strings.Compare(x.ID, y.ID) })
	return list, nil
}

type adminDrivers struct{ g *Gateway }

// List implements [admin.DriverBackend].
func (a adminDrivers) List(context.Context) ([]admin.Driver, error) {
	var list []admin.Driver
	for _, d := range a.g.drivers.List() {
		list = append(list, adminDriver(&d))
	}
	return list, nil
}

// adminDriver is d as the admin API shows it.
func adminDriver(d *driver.DriverStatus) admin.Driver {
	return admin.Driver{
		ID: d.ID, Kind: string(d.Item.Kind), Proto: d.Item.Proto, Endpoint: d.Item.EndpointID,
		State: string(d.State), Since: d.Since, Error: d.Error, Points: d.Tags,
		Polls: d.Polls, Errors: d.Errors, Overruns: d.Overruns, FirstRead: d.FirstRead, LastRead: d.LastRead,
		Bad: d.Bad, Retries: d.Retries, Cycles: d.Cycles, LastError: d.LastError, LastErrorAt: d.LastErrorAt,
		LatencyP50Ms: milliseconds(d.LatencyP50), LatencyP99Ms: milliseconds(d.LatencyP99),
		LastMinute: admin.DriverMinute{
			Cycles: d.Recent.Cycles, Overruns: d.Recent.Overruns, Polls: d.Recent.Polls, Errors: d.Recent.Errors, Retries: d.Recent.Retries,
		},
	}
}

// milliseconds returns d in milliseconds, to a microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Pause implements [admin.DriverBackend].
func (a adminDrivers) Pause(ctx context.Context, id string) error {
	return adminError(a.g.drivers.Pause(ctx, id))
}

// Resume implements [admin.DriverBackend].
func (a adminDrivers) Resume(ctx context.Context, id string) error {
	return adminError(a.g.drivers.Resume(ctx, id))
}

// Restart implements [admin.DriverBackend].
func (a adminDrivers) Restart(ctx context.Context, id string) error {
	return adminError(a.g.drivers.Restart(ctx, id))
}

// Diagnose implements [admin.DriverBackend].
func (a adminDrivers) Diagnose(ctx context.Context, id string) ([]admin.Fact, error) {
	facts, err := a.g.drivers.Diagnose(ctx, id)
	if err != nil {
		return nil, adminError(err)
	}
	list := make([]admin.Fact, len(facts))
	for i, f := range facts {
		list[i] = admin.Fact{Name: f.Name, Value: f.Value}
	}
	return list, nil
}

type adminTags struct{ g *Gateway }

// Tags implements [admin.TagBackend].
func (a adminTags) Tags(context.Context) ([]admin.Tag, error) {
	tags, err := a.g.drivers.Tags("")
	if err != nil {
		return nil, err
	}
	list := make([]admin.Tag, len(tags))
	for i, t := range tags {
		list[i] = admin.Tag{
			Name: t.Tag, Driver: t.Driver, Unit: t.Unit, Access: string(t.Variable.Access), Datatype: string(t.Variable.Datatype),
			Address: t.Address, Known: t.Last.Known, Value: t.Last.Value, Quality: t.Last.Quality, TS: t.Last.TS, Frames: t.Last.Frames,
			Reason: t.Reason.Text, Hint: t.Reason.Hint, ReasonSince: t.Reason.Since,
		}
	}
	return list, nil
}

// Read implements [admin.TagBackend].
func (a adminTags) Read(ctx context.Context, tag string) (admin.Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	r, err := a.g.drivers.Read(ctx, tag)
	if err != nil {
		return admin.Reading{}, adminError(err)
	}
	return admin.Reading{Raw: r.Raw, Value: r.Value, Quality: r.Quality, TS: r.TS}, nil
}

// Write implements [admin.TagBackend].
func (a adminTags) Write(ctx context.Context, tag string, v frame.Value) (admin.WriteResult, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	t, ok := a.g.drivers.Tag(tag)
	if !ok {
		return admin.WriteResult{}, adminError(fmt.Errorf("tag %s: %w", tag, driver.ErrUnknownTag))
	}
	if v.Kind() == frame.KindString {
		typed, err := typedValue(t.Variable, v.Text())
		if err != nil {
			return admin.WriteResult{}, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
		}
		v = typed
	}
	res, err := a.g.drivers.Write(ctx, driver.Write{Tag: tag, Value: v})
	if err != nil {
		return admin.WriteResult{}, adminError(err)
	}
	return admin.WriteResult{ReadBack: res.ReadBack, TS: res.TS, Note: res.Note}, nil
}
