package opcua

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// proxy is between the driver and a server, and can cut the way.
type proxy struct {
	t    *testing.T
	addr string
	to   string

	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]bool
	deaf  bool // what comes is swallowed: the connection is half-open
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	p := &proxy{t: t, to: to, addr: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	p.open()
	t.Cleanup(func() { p.cut(); p.wg.Wait() })
	return p
}

func (p *proxy) port() int {
	_, text, _ := net.SplitHostPort(p.addr)
	port, _ := net.LookupPort("tcp", text)
	return port
}

// open lets connections through.
func (p *proxy) open() {
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.l, p.addr = l, l.Addr().String()
	p.mu.Unlock()
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			s, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = c.Close() // the server is away
				continue
			}
			p.mu.Lock()
			p.conns[c], p.conns[s] = true, true
			p.mu.Unlock()
			p.wg.Go(func() { p.copy(s, c) })
			p.wg.Go(func() { p.copy(c, s) })
		}
	})
}

func (p *proxy) copy(to, from net.Conn) {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		deaf := p.deaf
		p.mu.Unlock()
		if n > 0 && !deaf {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) && !deaf {
				_ = to.Close() // as the other side did
			}
			return
		}
	}
}

// cut breaks all connections and refuses others.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.l.Close() // ends Accept
	for c := range p.conns {
		_ = c.Close() // it may be closed already
	}
	clear(p.conns)
}

func (p *proxy) setDeaf(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = on
}

// ledger says what of a counter did not come, and whether somebody was told.
type ledger struct {
	missing, twice int
	first, last    int64
	unordered      int
	gaps           []gap
	untold         []int64 // missing, outside of every gap
}

type gap struct {
	From   time.Time `json:"from_time"`
	To     time.Time `json:"to_time"`
	Reason string    `json:"reason"`
	Driver string    `json:"driver"`
}

// ledger reads what was published of Count, which goes up by one.
func (r *rig) ledger() (l ledger) {
	r.t.Helper()
	for _, f := range r.of("sys.gap") {
		var g gap
		if err := json.Unmarshal([]byte(f.Value.Text()), &g); err != nil {
			r.t.Errorf("sys.gap %s: %v", f.Value, err)
		}
		l.gaps = append(l.gaps, g)
	}
	seen := map[int64]time.Time{}
	prev := int64(-1)
	for _, f := range r.of("Count") {
		if f.Quality != frame.Good {
			continue
		}
		n := f.Value.Int()
		if _, again := seen[n]; again {
			l.twice++
			continue
		}
		if n < prev {
			l.unordered++
		}
		if len(seen) == 0 {
			l.first = n
		}
		seen[n], prev = f.Time(), n
		l.last = max(l.last, n)
	}
	before := seen[l.first]
	for n := l.first; n <= l.last; n++ {
		if at, ok := seen[n]; ok {
			before = at
			continue
		}
		l.missing++
		after := n
		for ; seen[after].IsZero(); after++ { // it ends at the last one
		}
		if !slices.ContainsFunc(l.gaps, func(g gap) bool { return !g.From.After(seen[after]) && !g.To.Before(before) }) {
			l.untold = append(l.untold, n)
		}
	}
	return l
}

// long reports whether the long forms are to run.
func long() bool { return os.Getenv("EDGE_OPCUA") == "all" }

// The counting ledger: whatever happens to the way or the server, values come again
// within ten seconds, and what is missing is told of.
func TestLedger(t *testing.T) {
	cases := map[string]struct {
		long   bool
		break_ func(srv *server, p *proxy)
		lost   bool // the server itself loses values
		fault  bool // the driver is seen at fault
		reset  bool // the counter begins again
		own    bool // the server can't be shared
		clock  int  // of the server, milliseconds off
	}{
		"cut of 1 s": {break_: func(_ *server, p *proxy) { p.cut(); time.Sleep(time.Second); p.open() }},
		"cut of 5 s": {long: true, break_: func(_ *server, p *proxy) { p.cut(); time.Sleep(5 * time.Second); p.open() }, fault: true},
		"half-open": {break_: func(_ *server, p *proxy) {
			p.setDeaf(true)
			time.Sleep(4 * time.Second)
			p.cut()
			p.setDeaf(false)
			p.open()
		}, fault: true},
		"stopped for 5 s":      {long: true, fault: true, own: true, lost: true, break_: func(srv *server, _ *proxy) { freeze(srv, 5*time.Second) }},
		"stopped for 30 s":     {long: true, fault: true, own: true, lost: true, break_: func(srv *server, _ *proxy) { freeze(srv, 30*time.Second) }},
		"session deleted":      {own: true, break_: func(srv *server, _ *proxy) { srv.do(map[string]any{"cmd": "deleteSessions"}) }, lost: true},
		"subscription deleted": {long: true, own: true, break_: func(srv *server, _ *proxy) { srv.do(map[string]any{"cmd": "deleteSubscriptions"}) }, lost: true},
		"clock an hour ahead":  {long: true, own: true, clock: 3600_000, break_: func(srv *server, _ *proxy) { srv.do(map[string]any{"cmd": "deleteSessions"}) }, lost: true},
		"clock an hour behind": {long: true, own: true, clock: -3600_000, break_: func(srv *server, _ *proxy) { srv.do(map[string]any{"cmd": "deleteSessions"}) }, lost: true},
		"restart":              {long: true, own: true, break_: func(srv *server, _ *proxy) { srv.restart() }, lost: true, reset: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.long && !long() {
				t.Skip("EDGE_OPCUA=all runs it")
			}
			t.Parallel()
			srv := shared(t)
			if c.own {
				srv = start(t, settings{CountEvery: 100, ClockOffset: c.clock})
			}
			p := newProxy(t, net.JoinHostPort("127.0.0.1", itoa(srv.cfg.Port)))
			r := run(t, options{port: p.port(), opts: none(), vars: []config.Variable{variable("Count", "ns=2;s=Count", config.TypeUint32)},
				cfg: map[string]any{"publishing": "200ms", "polling": "50ms", "keepalive": "1s", "timeout": "5s", "queue_size": 200}})
			r.wait("ten values", patience, func() bool { return len(r.of("Count")) > 10 })
			fault := watchFault(r)
			c.break_(srv, p)
			back := time.Now()
			before := len(r.of("Count"))
			var slowest time.Duration // what the server of a loaded machine takes for next to nothing
			r.wait("values again", 2*patience, func() bool {
				slowest = max(slowest, srv.answers())
				return len(r.of("Count")) > before+5 && r.driver.Status().State == driver.Running
			})
			took := time.Since(back)
			t.Logf("values again after %v, an answer of the server takes %v", took.Round(time.Millisecond), slowest.Round(time.Millisecond))
			if took > 10*time.Second+10*slowest { // about ten requests
				t.Errorf("no values for %v", took)
			}
			if saw := fault(); saw != c.fault && c.fault {
				t.Errorf("the driver was not seen at fault")
			}
			time.Sleep(time.Second) // what was queued comes
			if c.reset {
				if l := r.ledger(); len(l.gaps) == 0 {
					t.Errorf("no gap was told: %+v", l)
				}
				return
			}
			l := r.ledger()
			t.Logf("%+v", l)
			if len(l.untold) > 0 || l.missing > 0 && !c.lost {
				t.Errorf("%d of %d counts are missing, %d of them untold: %+v", l.missing, l.last-l.first+1, len(l.untold), l)
			}
		})
	}
}

// What republishing can't fill comes from the server's history: nothing is missing, in
// order, and marked.
func TestBackfill(t *testing.T) {
	for name, c := range map[string]struct {
		cmd     string
		history bool
		long    bool
	}{
		"session deleted":      {cmd: "deleteSessions", history: true},
		"subscription deleted": {cmd: "deleteSubscriptions", history: true, long: true},
		"no history":           {cmd: "deleteSessions", long: true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.long && !long() {
				t.Skip("EDGE_OPCUA=all runs it")
			}
			t.Parallel()
			srv := start(t, settings{CountEvery: 100, History: c.history})
			p := newProxy(t, net.JoinHostPort("127.0.0.1", itoa(srv.cfg.Port)))
			r := run(t, options{port: p.port(), opts: none(),
				vars: []config.Variable{variable("Count", "ns=2;s=Count", config.TypeUint32)},
				cfg:  map[string]any{"publishing": "200ms", "polling": "50ms", "keepalive": "1s", "timeout": "5s", "queue_size": 200, "backfill": true}})
			r.wait("ten values", patience, func() bool { return len(r.of("Count")) > 10 })
			p.cut()
			srv.do(map[string]any{"cmd": c.cmd})
			time.Sleep(time.Second) // counts that nobody hears
			p.open()
			before := len(r.of("Count"))
			r.wait("values again", patience, func() bool { return len(r.of("Count")) > before+15 })
			l := r.ledger()
			marks := r.of("sys.backfill")
			t.Logf("%+v, %d marks", l, len(marks))
			if !c.history {
				if len(l.gaps) != 1 || !strings.Contains(l.gaps[0].Reason, "history") || l.missing == 0 || len(l.untold) > 0 || len(marks) > 0 {
					t.Errorf("%+v", l)
				}
				return
			}
			if l.missing > 0 || l.twice > 0 || l.unordered > 0 || len(l.gaps) > 0 || len(marks) != 1 {
				t.Fatalf("%d missing, %d twice, %d out of order, gaps %+v, %d marks", l.missing, l.twice, l.unordered, l.gaps, len(marks))
			}
			if text := marks[0].Value.Text(); !strings.Contains(text, `"driver":"d"`) || !strings.Contains(text, `"from_time"`) {
				t.Errorf("the mark is %s", text)
			}
		})
	}
}

// What the server's own queue threw away comes from its history too, and is told where it
// has none.
func TestBackfillFullQueue(t *testing.T) {
	for name, history := range map[string]bool{"history": true, "no history": false} {
		t.Run(name, func(t *testing.T) {
			if !history && !long() {
				t.Skip("EDGE_OPCUA=all runs it")
			}
			t.Parallel()
			srv := start(t, settings{CountEvery: 100, History: history})
			r := run(t, options{port: srv.cfg.Port, opts: none(),
				vars: []config.Variable{variable("Count", "ns=2;s=Count", config.TypeUint32)},
				cfg:  map[string]any{"publishing": "1s", "polling": "50ms", "keepalive": "5s", "timeout": "20s", "queue_size": 3, "backfill": true}})
			if !history {
				r.wait("the loss is told", patience, func() bool { return len(r.of("sys.gap")) > 0 })
				if l := r.ledger(); l.missing == 0 || !strings.Contains(l.gaps[0].Reason, "queue was full") || len(r.of("sys.backfill")) > 0 {
					t.Errorf("%+v, %d marks", l, len(r.of("sys.backfill")))
				}
				return
			}
			r.wait("values from the history", patience, func() bool { return len(r.of("sys.backfill")) >= 3 && len(r.of("Count")) >= 30 })
			if l := r.ledger(); l.missing > 0 || l.twice > 0 || l.unordered > 0 || len(l.gaps) > 0 {
				t.Errorf("of %d %d missing, %d twice, %d out of order, gaps %+v", l.last-l.first, l.missing, l.twice, l.unordered, l.gaps)
			}
			if text := r.of("sys.backfill")[0].Value.Text(); !strings.Contains(text, "queue was full") {
				t.Errorf("the mark is %s", text)
			}
		})
	}
}

// A server that comes back with another certificate is not spoken to until that is
// trusted.
func TestCertificateChanges(t *testing.T) {
	if !long() {
		t.Skip("EDGE_OPCUA=all runs it")
	}
	t.Parallel()
	srv := start(t, settings{CountEvery: 100})
	r := run(t, options{port: srv.cfg.Port, trust: []string{srv.cfg.Cert}, vars: []config.Variable{variable("Count", "ns=2;s=Count", config.TypeUint32)},
		cfg: map[string]any{"publishing": "200ms", "polling": "50ms", "keepalive": "1s", "timeout": "5s", "backoff_max": "1s"}})
	r.wait("ten values", patience, func() bool { return len(r.of("Count")) > 10 })
	srv.Kill()
	srv.cfg.Cert, srv.cfg.Key = certificate(t, srv.cfg.Dir, "other", func(*x509.Certificate) {})
	srv.begin()
	r.wait("the new certificate is told", patience, func() bool { return strings.Contains(r.driver.Status().Error, "not trusted") })
	before := len(r.of("Count"))
	if _, err := r.pki.Trust(srv.cfg.Cert); err != nil {
		t.Fatal(err)
	}
	r.wait("values again", patience, func() bool { return len(r.of("Count")) > before+5 && r.driver.Status().State == driver.Running })
	if l := r.ledger(); len(l.gaps) == 0 {
		t.Errorf("no gap was told: %+v", l)
	}
}

func freeze(srv *server, d time.Duration) {
	srv.Signal(srv.t, syscall.SIGSTOP)
	time.Sleep(d)
	srv.Signal(srv.t, syscall.SIGCONT)
}

// watchFault notes whether the driver is at fault until its result is asked for.
func watchFault(r *rig) func() bool {
	done, seen := make(chan struct{}), make(chan bool)
	go func() {
		saw := false
		for {
			select {
			case <-done:
				seen <- saw
				return
			case <-time.After(20 * time.Millisecond):
				saw = saw || r.driver.Status().State == driver.Fault
			}
		}
	}()
	return func() bool { close(done); return <-seen }
}
