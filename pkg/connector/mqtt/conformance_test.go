package mqtt

import (
	"io"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/connector/connectortest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// gate is a broker in this process behind a listener that can go away.
type gate struct {
	server *mochi.Server
	target string
	addr   string

	mu     sync.Mutex
	listen net.Listener
	conns  []net.Conn
	seen   []uint64
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{server: mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler), InlineClient: true})}
	if err := g.server.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.target = l.Addr().String()
	if err := g.server.AddListener(listeners.NewNet("tcp", l)); err != nil {
		t.Fatal(err)
	}
	if err := g.server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.stop(t); _ = g.server.Close() }) // the test is over
	err = g.server.Subscribe("/edge/acme/line-1/data", 1, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
		samples, err := frame.DecodeJSON(p.Payload, frame.Milliseconds)
		if err != nil {
			t.Errorf("payload: %v", err)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, s := range samples {
			g.seen = append(g.seen, s.Seq)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// start opens the gate, on the same address each time.
func (g *gate) start(t *testing.T) map[string]any {
	t.Helper()
	addr := g.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.listen, g.addr = l, l.Addr().String()
	g.mu.Unlock()
	go g.accept(l)
	return map[string]any{"kind": "mqtt5", "endpoint": "mqtt://" + g.addr, "payload": "json", "max_interval": "5ms",
		"backoff": map[string]any{"base": "10ms", "max": "50ms"}}
}

func (g *gate) accept(l net.Listener) {
	for {
		a, err := l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", g.target)
		if err != nil {
			_ = a.Close() // the broker is gone too
			continue
		}
		g.mu.Lock()
		g.conns = append(g.conns, a, b)
		g.mu.Unlock()
		for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])        // ends when either side does
				_, _ = pair[0].Close(), pair[1].Close() // and ends both
			}()
		}
	}
}

// stop closes the gate and every connection through it.
func (g *gate) stop(*testing.T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listen != nil {
		_ = g.listen.Close() // closed twice at the end of a test
	}
	for _, c := range g.conns {
		_ = c.Close() // may have ended by itself
	}
	g.conns = nil
}

func (g *gate) got(*testing.T) []uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]uint64(nil), g.seen...)
}

// testMetrics are registered with nobody else.
func testMetrics(t testing.TB) *metrics {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConformance(t *testing.T) {
	connectortest.Run(t, func(t *testing.T) connectortest.Harness {
		g := newGate(t)
		factory, err := NewFactory(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		return connectortest.Harness{Factory: factory, Start: g.start, Stop: g.stop, Seen: g.got,
			BadConfig: map[string]any{"kind": "mqtt5", "qos": 3}, BadField: "qos"}
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		cfg  map[string]any
		want string
	}{
		{map[string]any{"unknown": 1}, "unknown"},
		{map[string]any{"endpoint": "http://x"}, "endpoint"},
		{map[string]any{"endpoint": "mqtt://u:p@x"}, "endpoint: expected a broker's URL without credentials"},
		{map[string]any{"endpoint": "mqtt://a,tls://"}, "endpoint"},
		{map[string]any{"topic": "a/+/b"}, "wildcards"},
		{map[string]any{"topic": "a/{tga}"}, "{tga}"},
		{map[string]any{"topic": "a/{tag"}, "{tag"},
		{map[string]any{"payload": "xml"}, "payload"},
		{map[string]any{"max_frames": 0}, "max_frames"},
		{map[string]any{"max_bytes": "1G"}, "max_bytes"},
		{map[string]any{"max_interval": 5}, "configuration: max_interval"},
		{map[string]any{"keepalive": "0s"}, "keepalive"},
		{map[string]any{"backoff": map[string]any{"base": "3m"}}, "backoff.base"},
		{map[string]any{"timestamp_unit": "s"}, "timestamp_unit"},
		{map[string]any{"message_expiry": "1ms"}, "message_expiry"},
		{map[string]any{"session_expiry": "0s"}, "session_expiry"},
		{map[string]any{"start": "middle"}, "start"},
		{map[string]any{"tls": map[string]any{"client_cert": "x"}}, "client_key"},
		{map[string]any{"commands": map[string]any{"rate": "10"}}, "commands.rate"},
		{map[string]any{"commands": map[string]any{"allow": []any{"["}}}, "commands.allow"},
		{map[string]any{"commands": map[string]any{"reply": "a/#"}}, "commands.reply"},
	} {
		c.cfg["kind"] = "mqtt5"
		if _, err := decodeConfig(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want an error with %q", c.cfg, err, c.want)
		}
	}
	c, err := decodeConfig(map[string]any{"kind": "mqtt5", "endpoint": "tls://a, wss://b/x,mqtt://[::1]:9", "max_bytes": "64K", "qos": 0})
	if err != nil {
		t.Fatal(err)
	}
	servers, err := parseEndpoints(c.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.scheme+" "+s.addr)
	}
	if got := strings.Join(addrs, ", "); got != "tls a:8883, wss b:443, tcp [::1]:9" || c.MaxBytes != 64<<10 || c.QoS != 0 || c.MaxFrames != 32 {
		t.Errorf("%s, %+v", got, c)
	}
}

// TestUpdate says which settings change without a new connection.
func TestUpdate(t *testing.T) {
	base := func(change map[string]any) map[string]any {
		cfg := map[string]any{"kind": "mqtt5", "endpoint": "mqtt://a:1883", "max_frames": 10.0}
		maps.Copy(cfg, change)
		return cfg
	}
	deps := connector.Deps{Source: connectortest.NewLog(), Log: slog.New(slog.DiscardHandler)}
	for _, c := range []struct {
		change map[string]any
		want   bool
	}{
		{map[string]any{"max_frames": 20.0, "max_bytes": "2M", "max_interval": "5s", "backoff": map[string]any{"base": "1s", "max": "5s"}}, true},
		{map[string]any{"max_frames": 20.0, "endpoint": "mqtt://b:1883"}, false},
		{map[string]any{"qos": 1.0}, false},
		{map[string]any{"payload": "json"}, false},
		{map[string]any{"max_frames": 0.0}, false},
	} {
		factory, err := NewFactory(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		made, err := factory.New("mqtt", base(nil), deps)
		if err != nil {
			t.Fatal(err)
		}
		took := made.(connector.Updater).Update(base(c.change))
		if frames := made.(*Connector).config().MaxFrames; took != c.want || (frames == 20) != c.want {
			t.Errorf("%v: taken over %t, max_frames is %d; want %t", c.change, took, frames, c.want)
		}
	}
}
