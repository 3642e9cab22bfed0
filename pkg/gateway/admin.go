package gateway

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
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
			Status: g.status, Endpoints: adminEndpoints{g: g}, Drivers: adminDrivers{g: g}, Tags: adminTags{g},
			Bus: adminBus{busadmin.Running(g.bus, g.resend), g}, Connectors: adminConnectors{g: g}, Config: adminConfig{g: g},
			Diagnostics: adminDiagnostics{g: g}, Files: g.bundleFiles,
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
	return admin.Config{Socket: cfg.Admin.Socket, Mode: fs.FileMode(mode), Group: cfg.Admin.Group, Roles: admin.Roles(cfg.Admin.Roles)}, nil
}

// status says what the gateway is, with the problems that no part tells of itself.
func (g *Gateway) status(context.Context) (*pb.GetStatusResponse, error) {
	state, _ := g.state.Load().(string) // always set
	st := &pb.GetStatusResponse{
		Gateway: g.cfg.GatewayID, Tenant: g.cfg.Tenant, Device: g.cfg.Device, State: state, Started: admin.Timestamp(g.started),
	}
	add := func(p *pb.Problem) { st.Problems = append(st.Problems, p) }
	if g.safe {
		add(&pb.Problem{Part: "gateway", Name: "safe", Text: safeMode, Hint: "put right what keeps it from running, then start it without --safe"})
	}
	if err := g.bus.Problem(); err != nil {
		add(&pb.Problem{Part: "bus", Name: "log", Text: err.Error()})
	}
	if err := g.clock.unset(); err != nil {
		add(&pb.Problem{Part: "clock", Name: "not_set", Text: err.Error()})
	}
	if text := g.passingText(); text != "" {
		add(&pb.Problem{Part: "bus", Name: "set", Text: text + ": set with edge-ctl, above the configuration, until the gateway ends; 'edge-ctl bus set KEY null' takes it away"})
	}
	if t := g.turned.Load(); t != nil {
		add(&pb.Problem{Part: "bus", Name: "epoch", Since: admin.Timestamp(t.since), Text: t.why})
	}
	st.Problems = append(st.Problems, feedProblems(g.feed.Status())...)
	if server := g.serving.Load(); server != nil {
		if u := server.Usage(); u.Full || u.Used*10 > u.Quota*9 {
			add(&pb.Problem{
				Part: "config", Name: "center", Text: fmt.Sprintf("the embedded configuration center is full: %d of %d MiB are used", u.Used>>20, u.Quota>>20),
				Hint: "what runs goes on, and no change can be pushed; fewer variables, or an etcd of its own, help",
			})
		}
	}
	tags, err := g.drivers.Tags("")
	if err != nil {
		return nil, err
	}
	list := g.drivers.List()
	st.Problems = append(st.Problems, driverProblems(list, tags)...)
	// What somebody has paused is easily forgotten.
	pressed := g.bus.Stats().Paused
	for _, d := range list {
		if d.State == driver.Paused && !pressed {
			add(&pb.Problem{Part: "driver", Name: d.ID, Text: "paused: edge-ctl drivers resume " + d.ID, Since: admin.Timestamp(d.Since)})
		}
	}
	for _, c := range g.connectors.List() {
		if c.State == "paused" {
			add(&pb.Problem{Part: "connector", Name: c.Name, Text: "paused: edge-ctl connector " + c.Name + " resume", Since: admin.Timestamp(c.Since)})
		}
	}
	return st, nil
}

type adminEndpoints struct {
	pb.UnimplementedEndpointServiceServer
	g *Gateway
}

// ListEndpoints lists the endpoints. One that no driver uses, or only paused ones, is
// idle.
func (a adminEndpoints) ListEndpoints(context.Context, *pb.ListEndpointsRequest) (*pb.ListEndpointsResponse, error) {
	snap := a.g.runner.Current()
	users := map[string][]string{}
	for id, d := range snap.Drivers {
		users[d.EndpointID] = append(users[d.EndpointID], id)
	}
	var list []*pb.Endpoint
	open := map[string]bool{}
	for _, s := range a.g.pool.States() {
		open[s.ID] = true
		slices.Sort(users[s.ID])
		list = append(list, endpointMessage(s, a.g.endpoints.maxConns(s.ID), users[s.ID]))
	}
	for id, item := range snap.Endpoints {
		u, err := dialled(item)
		if open[id] || err != nil { // an error: no driver of ours could use it
			continue
		}
		slices.Sort(users[id])
		list = append(list, endpointMessage(endpoint.State{ID: id, URL: u.String(), Status: endpoint.Idle}, u.Options().MaxConns, users[id]))
	}
	slices.SortFunc(list, func(x, y *pb.Endpoint) int { return strings.Compare(x.Id, y.Id) })
	return &pb.ListEndpointsResponse{Endpoints: list}, nil
}

// endpointMessage is s with what the pool does not know.
func endpointMessage(s endpoint.State, maxConns int, drivers []string) *pb.Endpoint {
	m := admin.Fill(new(pb.Endpoint), s)
	m.State, m.Max, m.Drivers = string(s.Status), uint32(maxConns), drivers
	if s.Status == endpoint.Down {
		m.Error = s.LastError
	}
	return m
}

type adminDrivers struct {
	pb.UnimplementedDriverServiceServer
	g *Gateway
}

// ListDrivers lists the drivers, sorted by id.
func (a adminDrivers) ListDrivers(context.Context, *pb.ListDriversRequest) (*pb.ListDriversResponse, error) {
	r := new(pb.ListDriversResponse)
	for _, d := range a.g.drivers.List() {
		r.Drivers = append(r.Drivers, driverMessage(&d))
	}
	return r, nil
}

// driverMessage is d with what its item in the table says.
func driverMessage(d *driver.DriverStatus) *pb.Driver {
	m := admin.Fill(new(pb.Driver), d)
	m.Kind, m.Proto, m.Endpoint, m.Points = string(d.Item.Kind), d.Item.Proto, d.Item.EndpointID, uint32(d.Tags)
	if m.LastMinute == nil {
		m.LastMinute = new(pb.DriverMinute)
	}
	return m
}

// PauseDriver stops polling; the driver stays up.
func (a adminDrivers) PauseDriver(ctx context.Context, r *pb.PauseDriverRequest) (*pb.PauseDriverResponse, error) {
	return &pb.PauseDriverResponse{}, a.g.drivers.Pause(ctx, r.GetDriver())
}

// ResumeDriver goes on polling.
func (a adminDrivers) ResumeDriver(ctx context.Context, r *pb.ResumeDriverRequest) (*pb.ResumeDriverResponse, error) {
	return &pb.ResumeDriverResponse{}, a.g.drivers.Resume(ctx, r.GetDriver())
}

// RestartDriver stops the driver and starts it anew.
func (a adminDrivers) RestartDriver(ctx context.Context, r *pb.RestartDriverRequest) (*pb.RestartDriverResponse, error) {
	return &pb.RestartDriverResponse{}, a.g.drivers.Restart(ctx, r.GetDriver())
}

// DiagnoseDriver collects what helps to find a fault, asking the device too.
func (a adminDrivers) DiagnoseDriver(ctx context.Context, r *pb.DiagnoseDriverRequest) (*pb.DiagnoseDriverResponse, error) {
	facts, err := a.g.drivers.Diagnose(ctx, r.GetDriver())
	return &pb.DiagnoseDriverResponse{Facts: admin.FillEach[pb.Fact](facts)}, err
}

type adminTags struct{ g *Gateway }

// Tags implements [admin.TagBackend].
func (a adminTags) Tags(context.Context) (admin.TagList, error) {
	tags, err := a.g.drivers.Tags("")
	return tagList(tags), err
}

// tagList is an [admin.TagList].
type tagList []driver.TagStatus

func (l tagList) Len() int                      { return len(l) }
func (l tagList) Name(i int) string             { return l[i].Tag }
func (l tagList) Version(i int) (int64, uint64) { return l[i].Last.TS, l[i].Last.Frames }

func (l tagList) Message(i int) *pb.Tag {
	t := &l[i]
	m := &pb.Tag{
		Name: t.Tag, Driver: t.Driver, Unit: t.Unit, Access: string(t.Variable.Access), Datatype: string(t.Variable.Datatype),
		Address: t.Address, Known: t.Last.Known, Value: pb.ValueOf(t.Last.Value), TsNs: t.Last.TS, Frames: t.Last.Frames,
		Reason: t.Reason.Text, Hint: t.Reason.Hint, ReasonSince: admin.Timestamp(t.Reason.Since),
	}
	if t.Last.Known {
		m.Quality = pb.QualityOf(t.Last.Quality)
	}
	return m
}

// ReadTag implements [admin.TagBackend].
func (a adminTags) ReadTag(ctx context.Context, req *pb.ReadTagRequest) (*pb.ReadTagResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	r, err := a.g.drivers.Read(ctx, req.GetTag())
	if err != nil {
		return nil, err
	}
	return &pb.ReadTagResponse{Raw: r.Raw, Value: pb.ValueOf(r.Value), Quality: pb.QualityOf(r.Quality), TsNs: r.TS}, nil
}

// WriteTag implements [admin.TagBackend].
func (a adminTags) WriteTag(ctx context.Context, req *pb.WriteTagRequest) (*pb.WriteTagResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	tag, v := req.GetTag(), req.GetValue().Frame()
	t, ok := a.g.drivers.Tag(tag)
	if !ok {
		return nil, fmt.Errorf("tag %s: %w", tag, driver.ErrUnknownTag)
	}
	if v.Kind() == frame.KindString {
		typed, err := typedValue(t.Variable, v.Text())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errkind.Invalid, err)
		}
		v = typed
	}
	res, err := a.g.drivers.Write(ctx, driver.Write{Tag: tag, Value: v})
	if err != nil {
		return nil, err
	}
	return &pb.WriteTagResponse{ReadBack: pb.ValueOf(res.ReadBack), TsNs: res.TS, Note: res.Note}, nil
}
