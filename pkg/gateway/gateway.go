package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/audit"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/pkg/page"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// Options are what a gateway needs beside its configuration.
type Options struct {
	Log   *slog.Logger
	Level *slog.LevelVar // of Log; set from the configuration, and at run time
	// Dropped returns how many lines of the log were dropped; may be nil.
	Dropped func() uint64
	// ReplayFrom, if not 0, sets every consumer back to this seq.
	ReplayFrom uint64
	// Safe starts neither drivers nor connectors and applies no configuration: the
	// configuration center and the admin socket alone, to put right what keeps the
	// gateway from running.
	Safe bool
}

// Gateway is one running gateway.
type Gateway struct {
	cfg   *bootstrap.Gateway
	log   *slog.Logger
	level *slog.LevelVar
	tap   *tap
	reg   *prometheus.Registry

	http       *httpServer // nil if metrics.listen is empty
	page       *httpServer // nil if page.listen is empty
	bus        *bus.Bus
	pool       *endpoint.Pool
	endpoints  *endpoints
	drivers    *driver.Manager
	connectors *connector.Manager
	runner     *apply.Runner
	metrics    *apply.Metrics
	feed       feed.Feed
	etcd       *embedded.Server                // nil: no embedded configuration center
	serving    atomic.Pointer[embedded.Server] // of those, the one that runs
	history    *history
	admin      *admin.Server

	safe     bool
	trial    *trial // nil in a rehearsal
	chain    *audit.Chain
	started  time.Time
	booted   chan struct{} // closed when the first configuration runs
	bootOnce sync.Once
	clock    clock
	state    atomic.Value  // string: starting, running, stopping
	rev      atomic.Uint64 // of the configuration that runs
	traces   traces
	scans    sync.Map         // ids of the endpoints that are being scanned
	failed   chan error       // the first failure for good
	behind   chan *bus.Behind // capacity 1: the log's storage has forgotten
	turned   atomic.Pointer[newEpoch]

	setting sync.Mutex                // held while settings are worked out and given to the bus
	groups  map[string]map[string]any // settings of the config center that are in force
	passing map[string]string         // set until the process ends; see adminBus
}

// The times of a stop. Together they stay below the five seconds that the
// gateway promises.
const (
	stopTables     = 500 * time.Millisecond
	stopDrivers    = 1100 * time.Millisecond
	stopSync       = 400 * time.Millisecond
	stopConnectors = 2 * time.Second
	stopRest       = time.Second
	stopNote       = 300 * time.Millisecond
)

// Open builds a gateway and takes what only one process can have: the metrics
// port, the log's directory, the admin socket. On an error nothing stays open.
func Open(cfg *bootstrap.Gateway, opts Options) (_ *Gateway, err error) {
	check := &checker{cfg: cfg, findings: slices.Clone(cfg.Warnings)}
	check.rehearse().close()
	check.findings = append(check.findings, lint.Security(cfg)...)
	if err := check.findings.Err(); err != nil {
		check.findings.Sort()
		return nil, fmt.Errorf("the configuration cannot be used:\n%w", check.findings)
	}
	check.surroundings()
	level, err := ParseLevel(cfg.Log.Level)
	if err != nil {
		return nil, err
	}
	opts.Level.Set(level)
	tap := newTap(opts.Log.Handler())
	g := &Gateway{
		cfg: cfg, log: slog.New(tap).With("gateway", cfg.GatewayID), tap: tap, safe: opts.Safe, chain: newAuditChain(cfg.DataDir), level: opts.Level, reg: prometheus.NewRegistry(),
		history: newHistory(), clock: newClock(&cfg.Clock), started: time.Now(), booted: make(chan struct{}), failed: make(chan error, 1), behind: make(chan *bus.Behind, 1),
	}
	g.state.Store("starting")
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	process := []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
	if opts.Dropped != nil {
		process = append(process, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "log_lines_dropped_total", Help: "Lines of the log that its reader did not take.",
		}, func() float64 { return float64(opts.Dropped()) }))
	}
	for _, c := range process {
		if err := g.reg.Register(c); err != nil {
			return nil, fmt.Errorf("process metrics: %w", err)
		}
	}
	g.waitForClock() // before a log is made, whose epoch bears its time
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	if err := checkRestored(cfg.DataDir); err != nil {
		return nil, err
	}
	// The pool takes nothing that only one process can have, and the log may want
	// its endpoints paused as soon as it is open. Of what is exclusive the log comes
	// first: its lock tells a second gateway what is wrong with it.
	for _, build := range []func() error{g.openPool, g.openBus, g.openHTTP, g.openSouth, g.openNorth, g.openTables, g.openAdmin, g.openPage} {
		if err := build(); err != nil {
			return nil, err
		}
	}
	if err := g.reg.Register(newCollector(g)); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if opts.ReplayFrom > 0 {
		if err := g.bus.Rewind(opts.ReplayFrom); err != nil {
			return nil, fmt.Errorf("--replay-from %d: %w", opts.ReplayFrom, err)
		}
		g.log.Warn("every consumer was set back", "seq", opts.ReplayFrom)
	}
	check.findings.Sort()
	for _, w := range check.findings {
		g.log.Warn("gateway.yml", "finding", w.String())
	}
	return g, nil
}

func (g *Gateway) openHTTP() (err error) {
	if g.cfg.Metrics.Listen == "" {
		return nil
	}
	if g.http, err = listenHTTP(g.cfg.Metrics.Listen, g.reg, g.Readiness, g.log); err == nil {
		g.http.webConfig = g.cfg.Metrics.WebConfig
	}
	return err
}

// openPage shows the status page on the metrics listener, to clients of this machine, and
// on a listener of its own.
func (g *Gateway) openPage() error {
	own := g.cfg.Page.Listen != ""
	local := g.http != nil && g.cfg.Page.Local
	if !own && !local {
		return nil
	}
	shown := page.New(g.admin.Look(), g.log)
	if local {
		g.http.mux.Handle("GET /{$}", page.Local(shown))
		g.http.mux.Handle("GET /page/", page.Local(shown))
	}
	if !own {
		return nil
	}
	tls, err := pageTLS(g.cfg.Page.TLS)
	if err != nil {
		return err
	}
	if g.page, err = listenOn("page.listen", g.cfg.Page.Listen, g.log); err != nil {
		return err
	}
	g.page.tls = tls
	if g.cfg.Page.Guarded() {
		g.page.mux.Handle("/", page.Guarded(shown, g.pageKeys(), g.log))
	} else {
		g.page.mux.Handle("/", page.Local(shown))
	}
	return nil
}

func (g *Gateway) pageKeys() page.Keys {
	return page.Keys{Token: g.cfg.Page.Token, Users: g.cfg.Page.Users, Resolve: g.secrets().Resolve}
}

func (g *Gateway) openBus() (err error) {
	cfg, err := bus.ParseConfig(g.cfg.Bus)
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	g.bus, err = bus.Open(cfg, bus.Deps{
		Log: g.log, Registerer: g.reg, OnPressure: g.onPressure, OnFailure: g.fail, OnBehind: g.onBehind, Earliest: g.clock.notBefore,
	})
	if errors.Is(err, bus.ErrLocked) {
		return fmt.Errorf("data_dir %s: a gateway that runs uses it; stop that one, or give this one another data_dir: %w", g.cfg.DataDir, err)
	}
	if err != nil {
		return err
	}
	return g.checkCopy()
}

// stamped is the bus as the drivers see it: each batch bears the revision of the
// configuration that decoded it.
type stamped struct {
	bus       *bus.Bus
	rev       *atomic.Uint64
	notBefore int64 // Unix ns: times before it are of a clock that isn't set
}

// Publish implements [driver.Publisher].
func (s stamped) Publish(ctx context.Context, b *frame.Batch) error {
	b.ConfigRev = s.rev.Load()
	b.DoubtBefore(s.notBefore)
	return s.bus.Publish(ctx, b)
}

// fail ends Run with err.
func (g *Gateway) fail(err error) {
	select {
	case g.failed <- err:
	default: // the first one counts
	}
}

// Run runs the gateway until ctx ends, and then stops it in order. It returns nil
// after a clean stop.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.close()
	notify := notifier{g.log}
	parts := newParts(g.fail)
	if g.http != nil {
		parts.start("metrics listener", g.http.Run)
	}
	if g.page != nil {
		parts.start("status page", g.page.Run)
	}
	parts.start("admin socket", g.admin.Run)
	parts.start("history", g.history.Run)
	north := newParts(g.fail)
	north.start("connectors", g.connectors.Run)
	if g.etcd != nil {
		parts.start("embedded configuration center", g.serveEtcd) // outlives its client
	}
	tables := newParts(g.fail)

	begin := g.begin
	if g.safe {
		begin = g.beginSafe
	}
	err := begin(ctx, tables)
	if err == nil {
		parts.start("clock", g.watchClock)
		tables.start("epoch", g.guardEpoch) // ends before the connectors do
		g.state.Store("running")
		parts.start("watchdog", func(ctx context.Context) error { return notify.watchdog(ctx, g.bus.Sync) })
		notify.ready()
		g.log.Info("the gateway runs", "version", version.String(), "data_dir", g.cfg.DataDir, "epoch", g.bus.Epoch())
		select {
		case <-ctx.Done():
			g.log.Info("the gateway stops")
		case err = <-g.failed:
			g.log.Error("the gateway must stop", "error", err)
		}
	}
	g.state.Store("stopping")
	if !errors.Is(err, ErrRestart) { // the same process goes on, for systemd
		notify.stopping()
	}
	g.stop(tables, north, parts)
	if err == nil && !g.safe {
		g.endTrial()
	}
	return err
}

// bootPatience is how long the start waits for a first configuration. A
// configuration center may have none yet, or be away.
const bootPatience = 5 * time.Second

// begin starts the connectors and then, with the first configuration, the drivers:
// consumers come first, so that the first frame has somebody to wait for.
func (g *Gateway) begin(ctx context.Context, tables *parts) error {
	if err := g.renameConsumers(); err != nil {
		return err
	}
	if err := g.updateConnectors(ctx, g.cfg); err != nil {
		return err
	}
	tables.start("configuration", g.feed.Run)
	select {
	case <-g.booted:
	case <-time.After(bootPatience):
		g.log.Warn("no configuration runs yet; the gateway waits for one that does", "source", g.cfg.Config.Source)
	case err := <-g.failed:
		return err
	case <-ctx.Done():
		return nil
	}
	snap := g.runner.Current()
	return g.bus.PublishSys("sys.start", map[string]any{
		"gateway": g.cfg.GatewayID, "version": version.String(), "config_rev": snap.Rev, "config_sha256": snap.SHA256,
	})
}

// beginSafe starts nothing.
func (g *Gateway) beginSafe(context.Context, *parts) error {
	g.log.Warn("safe mode: no drivers, no connectors, no configuration; put it right and start again without --safe",
		"rollback", fmt.Sprintf("edge-cfg --endpoints unix:%s rollback all --to previous --no-wait", center.EmbeddedSocket(g.cfg.DataDir)))
	return nil
}

// stop ends the parts so that nothing that was read is lost: the feed of tables,
// so that nobody starts drivers any more; drivers; the log's sync; connectors; the
// rest.
func (g *Gateway) stop(tables, north, rest *parts) {
	if !tables.stop(stopTables) {
		g.log.Warn("a configuration is still being applied or taken back; it is cut off")
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopDrivers)
	defer cancel()
	if err := g.drivers.Close(ctx); err != nil {
		g.log.Warn("some drivers did not end in time", "error", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), stopSync)
	defer cancel()
	if err := g.bus.Sync(ctx); err != nil {
		g.log.Warn("the log was not synced at the stop", "error", err)
	}
	if !north.stop(stopConnectors) {
		g.log.Warn("the connectors did not end in time")
	}
	if !rest.stop(stopRest) {
		g.log.Warn("some parts did not end in time")
	}
}

// close releases what Open took, in whatever state it is.
func (g *Gateway) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var errs []error
	if g.connectors != nil {
		errs = append(errs, within(ctx, "the connectors", g.connectors.Close))
	}
	if g.pool != nil {
		errs = append(errs, g.pool.Close(ctx))
	}
	if g.bus != nil {
		errs = append(errs, within(ctx, "the log", g.bus.Close))
	}
	for _, s := range []*httpServer{g.http, g.page} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		g.log.Warn("not everything was closed cleanly", "error", err)
	}
}

// endTrial notes the clean stop. A disk that hangs does not hold it up.
func (g *Gateway) endTrial() {
	ctx, cancel := context.WithTimeout(context.Background(), stopNote)
	defer cancel()
	if err := within(ctx, "the note on what was tried", func() error { g.trial.end(); return nil }); err != nil {
		g.log.Warn("the stop was not noted", "error", err)
	}
}

// within waits for do until ctx ends. On a full disk the log waits for room for
// ever; the process ends all the same, and what is durable is kept.
func within(ctx context.Context, what string, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s was not closed in time", what)
	}
}

// safeMode is why a gateway in safe mode does nothing.
const safeMode = "the gateway was started with --safe: nothing is read or delivered"

// Readiness says whether the gateway does its job: the log takes frames, a
// configuration runs, every driver has made its first poll, every connector is up.
func (g *Gateway) Readiness() Readiness {
	var missing []string
	if g.safe {
		missing = append(missing, safeMode)
	}
	if g.state.Load() != "running" {
		missing = append(missing, fmt.Sprintf("the gateway is %s", g.state.Load()))
	}
	if g.bus == nil || g.drivers == nil || g.connectors == nil {
		return Readiness{Missing: missing}
	}
	if err := g.bus.Problem(); err != nil {
		missing = append(missing, "log: "+err.Error())
	}
	if !g.hasBooted() {
		missing = append(missing, "no configuration runs yet")
	} else if len(g.runner.Current().Drivers) == 0 {
		missing = append(missing, "the configuration has no driver: nothing is read")
	}
	for _, d := range g.drivers.List() {
		if d.State == driver.Starting && d.Tags > 0 {
			missing = append(missing, "driver "+d.ID+": no poll yet")
		}
	}
	for _, c := range g.connectors.List() {
		if c.State != "up" && c.State != "paused" {
			missing = append(missing, fmt.Sprintf("connector %s: %s %s", c.Name, c.State, c.Error))
		}
	}
	return Readiness{Ready: len(missing) == 0, Missing: missing}
}

// Addresses are where a person can reach the gateway.
type Addresses struct {
	Metrics string // HOST:PORT, "" if there is no listener
	Admin   string // path of the socket
}

// Addresses returns where the gateway listens.
func (g *Gateway) Addresses() Addresses {
	e := Addresses{Admin: g.cfg.Admin.Socket}
	if g.http != nil {
		e.Metrics = g.http.Addr()
	}
	return e
}

// Bus returns the frame bus, for who looks at it.
func (g *Gateway) Bus() *bus.Bus { return g.bus }

// Drivers returns the driver manager, for who looks at it.
func (g *Gateway) Drivers() *driver.Manager { return g.drivers }

// Snapshot returns the configuration that runs.
func (g *Gateway) Snapshot() *config.Snapshot { return g.runner.Current() }
