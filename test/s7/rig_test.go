// Package s7 tests the S7 driver against a server of another make: snap7's, a library in
// C++, in a process of its own. scripts/setup installs it.
package s7

import (
	"context"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// settings are those of the server in server/server.js.
type settings struct {
	Port    int               `json:"port"`
	PDU     int               `json:"pdu,omitempty"`
	Clients int               `json:"clients,omitempty"`
	Blocks  map[int]string    `json:"blocks,omitempty"`
	Areas   map[string]string `json:"areas,omitempty"`
}

// server is snap7's server in a process of its own.
type server struct {
	*peer.Node
	t   testing.TB
	cfg settings
}

// serve runs a server until the test ends.
func serve(t testing.TB, cfg settings) *server {
	t.Helper()
	cfg.Port = peer.FreePort(t)
	s := &server{t: t, cfg: cfg}
	s.begin()
	t.Cleanup(func() { s.Kill() })
	return s
}

// begin starts the process and waits until it listens.
func (s *server) begin() {
	s.t.Helper()
	s.Node = peer.StartNode(s.t, s.cfg)
}

// do has the server do something and returns what it says.
func (s *server) do(command map[string]any) string {
	s.t.Helper()
	return strings.Trim(s.Do(s.t, command), `"`)
}

func (s *server) set(db int, data []byte) {
	s.t.Helper()
	s.do(map[string]any{"do": "set", "db": db, "hex": hex.EncodeToString(data)})
}

func (s *server) get(db int) []byte {
	s.t.Helper()
	b, err := hex.DecodeString(s.do(map[string]any{"do": "get", "db": db}))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// gateway is a running driver over the gateway's own pool of connections.
type gateway struct {
	driver.Driver
	t    *testing.T
	stop func()
	reg  *prometheus.Registry

	mu   sync.Mutex
	last map[string]frame.Frame
	all  map[string]int // frames
	bad  map[string]int
}

// Publish implements driver.Publisher.
func (g *gateway) Publish(_ context.Context, b *frame.Batch) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, f := range b.Frames {
		tag := b.Tag(i).Name
		g.last[tag] = f
		g.all[tag]++
		if f.Quality == frame.Bad {
			g.bad[tag]++
		}
	}
	return nil
}

// run runs a driver until the test ends.
func run(t *testing.T, port int, cfg map[string]any, vars []config.Variable) *gateway {
	t.Helper()
	g := &gateway{t: t, reg: prometheus.NewRegistry(), last: map[string]frame.Frame{}, all: map[string]int{}, bad: map[string]int{}}
	pool, err := endpoint.NewPool(endpoint.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	item := config.Endpoint{Scheme: "tcp", Host: "127.0.0.1", Port: uint16(port), Opts: map[string]string{"backoff": "50ms", "backoff_max": "200ms"}}
	u, err := endpoint.FromTable(item.Scheme, item.Host, item.Port, item.Opts)
	if err != nil {
		t.Fatal(err)
	}
	h, err := pool.Open("plc", u)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s7.NewFactory(g.reg)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"polling": "50ms", "slot": 2, "backoff_max": "200ms", "enable_write": true, "retry_refused": "300ms"}
	for k, v := range cfg {
		all[k] = v
	}
	for i := range vars {
		vars[i].DriverID = "d1"
	}
	table, err := point.Compile("d1", vars, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.Driver, err = f.New(driver.Config{ID: "d1", Item: config.Driver{Kind: config.KindStatic, Proto: s7.Proto, EndpointID: "plc", Cfg: all}, Endpoint: item, Points: table},
		driver.Deps{Endpoint: h, Out: g, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		closing, done := context.WithTimeout(context.Background(), patience)
		defer done()
		if err := pool.Close(closing); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(g.stop)
	return g
}

// eventually waits until ok says so.
func (g *gateway) eventually(what string, ok func() bool) {
	g.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) { // nothing tells of it
		if time.Now().After(end) {
			g.t.Fatalf("not within %v: %s (%+v)", patience, what, g.Status())
		}
	}
}

func (g *gateway) lastOf(tag string) frame.Frame {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last[tag]
}

// wait waits until a tag has a value.
func (g *gateway) wait(tag, want string) {
	g.t.Helper()
	g.eventually(tag+" is "+want+", not "+g.lastOf(tag).Value.String(), func() bool {
		f := g.lastOf(tag)
		return f.Quality == frame.Good && f.TS > 0 && f.Value.String() == want
	})
}

func (g *gateway) waitBad(tag string) {
	g.t.Helper()
	g.eventually(tag+" is bad", func() bool { f := g.lastOf(tag); return f.TS > 0 && f.Quality == frame.Bad })
}

// write writes a value and reports what went wrong.
func (g *gateway) write(tag string, v frame.Value) (driver.WriteResult, error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return g.Write(ctx, driver.Write{Tag: tag, Value: v})
}

func variable(tag, address string, dt config.DataType) config.Variable {
	return config.Variable{Tag: tag, Access: config.AccessRW, Datatype: dt, Address: config.Address{Type: config.AddrS7DB, S7: address}}
}
