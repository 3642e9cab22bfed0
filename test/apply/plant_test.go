package apply

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/receiver"
	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// tables is a configuration that tests change.
type tables struct {
	endpoints map[string]config.Endpoint
	drivers   map[string]config.Driver
	variables map[string]config.Variable
	settings  map[string]map[string]any
}

func newTables() tables {
	return tables{map[string]config.Endpoint{}, map[string]config.Driver{}, map[string]config.Variable{}, map[string]map[string]any{}}
}

// clone copies t, so that a change leaves the original alone.
func (t tables) clone() tables {
	return tables{maps.Clone(t.endpoints), maps.Clone(t.drivers), maps.Clone(t.variables), maps.Clone(t.settings)}
}

func (t tables) endpoint(id, addr string, opts ...string) tables {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseUint(port, 10, 16) // a listener's
	ep := config.Endpoint{Scheme: "tcp", Host: host, Port: uint16(n), Opts: map[string]string{"timeout": "2s"}}
	for _, o := range opts {
		key, value, _ := strings.Cut(o, "=")
		ep.Opts[key] = value
	}
	t.endpoints[id] = ep
	return t
}

func (t tables) driver(id, endpoint string, polling time.Duration) tables {
	t.drivers[id] = config.Driver{Kind: config.KindStatic, EndpointID: endpoint, Proto: "modbus",
		Cfg: map[string]any{"unit_id": 1.0, "polling": polling.String(), "max_regs_per_req": 120.0}}
	return t
}

// variable gives driver a register under the name tag.
func (t tables) variable(tag, driver string, register int, scale string) tables {
	t.variables[tag] = config.Variable{Tag: tag, DriverID: driver, Access: config.AccessR, Datatype: config.TypeUint16, Scale: scale,
		Address: config.Address{Type: config.AddrHolding, Addr: uint32(40001 + register)}}
	return t
}

func (t tables) document() *config.Document {
	vars := slices.Collect(maps.Values(t.variables))
	return config.NewSnapshot(t.endpoints, t.drivers, vars, t.settings).Document()
}

// plant is a gateway that follows a config center, a broker, and the ledger of a
// consumer that has seen every frame.
type plant struct {
	*peer.Gateway
	tb     testing.TB
	broker *peer.Mosquitto
	store  *center.Store

	endpoint string // of the config center
	ledger   *receiver.Ledger

	mu     sync.Mutex
	values map[string][]float64 // by tag, in order
	told   []string             // what sys.cfg_rollback said
}

const topic = "/edge/acme/line-1/data"

// newPlant starts a gateway and pushes first. confMore goes into the config section
// of gateway.yml; endpoint is the config center, "" for the embedded one.
func newPlant(tb testing.TB, first tables, confMore, endpoint string) *plant {
	tb.Helper()
	p := &plant{tb: tb, broker: peer.StartMosquitto(tb), values: map[string][]float64{}}
	p.Gateway = peer.NewGateway(tb, fmt.Sprintf(`connectors:
  mqtt: {kind: mqtt5, endpoint: "%s", topic: "/edge/{tenant}/{device}/data", max_interval: 100ms, backoff: {base: 100ms, max: 1s}}
`, p.broker.URL()), nil)
	text, err := os.ReadFile(filepath.Join(p.Dir, "gateway.yml"))
	if err != nil {
		tb.Fatal(err)
	}
	conf := "source: etcd" + confMore
	if endpoint != "" {
		conf += fmt.Sprintf(", etcd: {endpoints: [%q]}", endpoint)
	}
	p.WriteFile(tb, "gateway.yml", strings.Replace(string(text), "source: dir, dir: ./config", conf, 1))
	p.consume()
	if p.endpoint = endpoint; endpoint == "" {
		p.endpoint = "unix:" + center.EmbeddedSocket(filepath.Join(p.Dir, "data"))
	}
	p.Start(tb)
	p.store = p.open(center.Config{})
	p.push(first)
	p.WaitReady(tb)
	return p
}

// open returns a client of the config center.
func (p *plant) open(cfg center.Config) (s *center.Store) {
	p.tb.Helper()
	cfg.Endpoints = []string{p.endpoint}
	peer.WaitFor(p.tb, 20*time.Second, "the config center", func() bool {
		var err error
		s, err = center.Open(p.tb.Context(), cfg)
		return err == nil
	})
	p.tb.Cleanup(func() { _ = s.Close() }) // the test is over
	return s
}

// consume takes everything that is published into the ledger until the test ends.
func (p *plant) consume() {
	p.tb.Helper()
	var err error
	if p.ledger, err = receiver.OpenLedger(""); err != nil {
		p.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- receiver.Run(ctx, receiver.Config{Broker: p.broker.URL(), Topic: topic, ClientID: "ledger", QoS: 2, SessionExpiry: time.Hour,
			Unit: frame.Milliseconds, Ledger: p.ledger, OnFrames: p.frames, Log: slog.New(slog.DiscardHandler)})
	}()
	p.tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			p.tb.Errorf("consumer: %v", err)
		}
	})
}

// frames notes values, and rollbacks that are told.
func (p *plant) frames(_ *receiver.Batch, fresh []frame.Sample) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range fresh {
		switch {
		case s.Tag == "sys.cfg_rollback":
			p.told = append(p.told, s.Value.String())
		case !strings.HasPrefix(s.Tag, "sys.") && s.Quality == frame.Good:
			v, _ := s.Value.Number() // all tags are numbers
			p.values[s.Tag] = append(p.values[s.Tag], v)
		}
	}
	return nil
}

// seen returns a tag's values so far.
func (p *plant) seen(tag string) []float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.values[tag])
}

// forgetValues begins a new record of values.
func (p *plant) forgetValues() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values = map[string][]float64{}
}

// push makes t the configuration in force.
func (p *plant) push(t tables) center.Commit {
	p.tb.Helper()
	base, err := p.store.Load(p.tb.Context())
	if err != nil {
		p.tb.Fatal(err)
	}
	return p.pushOnto(base, t.document()).Commit
}

func (p *plant) pushOnto(base center.Version, doc *config.Document) center.Version {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.tb.Context(), 30*time.Second)
	defer cancel()
	c, err := p.store.Push(ctx, base, doc, center.PushOptions{Author: center.Author{OSUser: "test"}, Message: p.tb.Name()})
	if err != nil {
		p.tb.Fatal(err)
	}
	return center.Version{Commit: c, Doc: doc}
}

// applied pushes t and waits until the gateway runs it.
func (p *plant) applied(t tables) center.Commit {
	p.tb.Helper()
	c := p.push(t)
	if err := p.settled(c); err != nil {
		p.tb.Fatal(err)
	}
	return c
}

// settled waits until the gateway is through with c, and returns why it does not
// run it.
func (p *plant) settled(c center.Commit) error {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.tb.Context(), 40*time.Second)
	defer cancel()
	return p.store.WaitApplied(ctx, c, center.Whom{}, nil)
}

// status waits until the gateway's record fulfils ok.
func (p *plant) status(what string, ok func(center.Gateway) bool) center.Gateway {
	p.tb.Helper()
	var g center.Gateway
	peer.WaitFor(p.tb, 40*time.Second, what, func() bool {
		all, err := p.store.Gateways(p.tb.Context())
		if err != nil || len(all) != 1 {
			return false
		}
		g = all[0]
		return ok(g)
	})
	return g
}

// dial returns a client of the admin socket.
func (p *plant) dial() *admin.Client {
	p.tb.Helper()
	var c *admin.Client
	peer.WaitFor(p.tb, 20*time.Second, "the admin socket", func() bool {
		var err error
		c, err = admin.Dial(p.tb.Context(), p.Socket())
		return err == nil
	})
	return c
}

// phases calls seen with each phase and outcome of the applies that follow. It
// returns once the gateway tells them.
func (p *plant) phases(seen func(*pb.WatchConfigResponse)) (stop func()) {
	p.tb.Helper()
	c := p.dial()
	ctx, cancel := context.WithCancel(context.Background())
	done, watches := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchConfigResponse], error) {
			s, err := c.Config.WatchConfig(ctx, &pb.WatchConfigRequest{})
			if err == nil {
				_, err = s.Header() // from here on nothing is missed
			}
			close(watches)
			return s, err
		}
		_ = admin.Receive(ctx, open, func(e *pb.WatchConfigResponse) error { // it ends with the process, or with ctx
			seen(e)
			return nil
		})
	}()
	select {
	case <-watches:
	case <-time.After(20 * time.Second):
		p.tb.Fatal("the gateway did not take the watch in 20 s")
	}
	return func() { cancel(); <-done; _ = c.Close() }
}

// tried returns the newest apply that changed something.
func (p *plant) tried() *pb.ConfigApply {
	p.tb.Helper()
	for _, a := range p.history() {
		if a.Impact != "nothing: it runs already" {
			return a
		}
	}
	p.tb.Fatal("nothing was ever applied")
	return nil
}

// history returns the applies of this gateway, newest first.
func (p *plant) history() []*pb.ConfigApply {
	p.tb.Helper()
	c := p.dial()
	defer func() { _ = c.Close() }() // only asked
	r, err := c.Config.ListConfigHistory(p.tb.Context(), &pb.ListConfigHistoryRequest{})
	if err != nil {
		p.tb.Fatal(err)
	}
	return r.GetApplies()
}

// account is check for a scenario's row.
func (p *plant) account(row *faults.Row) {
	p.tb.Helper()
	row.Memory(p.Peak())
	p.check()
	for _, g := range p.ledger.Report().Gateways {
		lost := uint64(0)
		for _, gap := range g.Gaps {
			lost += gap.Last - gap.First + 1
		}
		row.Count(g.Frames+lost, lost, g.Repeats)
	}
}

// check waits until everything that was published has arrived, and reports what is
// missing or came twice.
func (p *plant) check() {
	p.tb.Helper()
	peer.WaitFor(p.tb, 30*time.Second, "the backlog to be delivered", func() bool {
		lag, ok := p.Metric(`framebus_backlog_lag{consumer="mqtt"}`)
		return ok && lag < 20_000 // it never stands still
	})
	if _, code := p.Stop(p.tb); code != 0 {
		p.tb.Errorf("edge-gw ended with %d", code)
	}
	time.Sleep(300 * time.Millisecond) // what the broker has is on its way
	r := p.ledger.Report()
	if !r.OK() || len(r.Gateways) != 1 {
		p.tb.Errorf("the ledger: %+v", r)
		return
	}
	if g := r.Gateways[0]; g.Repeats != 0 || g.Late != 0 || g.FirstSeq != 1 {
		p.tb.Errorf("the ledger: %d repeats, %d late, first seq %d", g.Repeats, g.Late, g.FirstSeq)
	}
}
