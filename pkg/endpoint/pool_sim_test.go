package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// plant is an in-memory transport: devices that are up, down or slow, by
// address.
type plant struct {
	mu     sync.Mutex
	down   map[string]error
	delay  time.Duration // of every dial
	dials  []dialRecord
	open   map[string]int
	most   map[string]int
	broken bool // connections are found dead by check
}

type dialRecord struct {
	address string
	at      time.Time
}

func newPlant() *plant {
	return &plant{down: make(map[string]error), open: make(map[string]int), most: make(map[string]int)}
}

var errRefused = errors.New("connection refused")

func (p *plant) dial(ctx context.Context, _ URL, address string) (Conn, error) {
	p.mu.Lock()
	p.dials = append(p.dials, dialRecord{address, time.Now()})
	delay := p.delay
	p.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.down[address]; err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	p.open[address]++
	p.most[address] = max(p.most[address], p.open[address])
	return &plantConn{Conn: near, far: far, plant: p, address: address}, nil
}

func (p *plant) set(address string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down[address] = err
}

// dialed lists the addresses dialled since the last call.
func (p *plant) dialed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, d := range p.dials {
		list = append(list, d.address)
	}
	p.dials = nil
	return list
}

type plantConn struct {
	net.Conn
	far     net.Conn
	plant   *plant
	address string
	once    sync.Once
}

func (c *plantConn) check() error {
	c.plant.mu.Lock()
	defer c.plant.mu.Unlock()
	if c.plant.broken {
		return errors.New("found closed")
	}
	return nil
}

func (c *plantConn) Close() error {
	c.once.Do(func() {
		c.plant.mu.Lock()
		c.plant.open[c.address]--
		c.plant.mu.Unlock()
		_ = c.far.Close()
	})
	return c.Conn.Close()
}

// simulate runs a test with a pool on a plant, in a bubble with a fake clock.
func simulate(t *testing.T, test func(t *testing.T, pl *plant, p *Pool)) {
	synctest.Test(t, func(t *testing.T) {
		pl := newPlant()
		p := newTestPool(t, PoolOptions{Transport: pl.dial})
		test(t, pl, p)
	})
}

func wantDials(t *testing.T, pl *plant, want ...string) {
	t.Helper()
	if got := pl.dialed(); !slices.Equal(got, want) {
		t.Errorf("dialled %v, want %v", got, want)
	}
}

func wantStatus(t *testing.T, p *Pool, id string, want Status) State {
	t.Helper()
	s, err := p.State(id)
	if err != nil || s.Status != want {
		t.Errorf("status %q, %v; want %q", s.Status, err, want)
	}
	return s
}

func TestFairness(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1"))
		other := mustOpen(t, p, "same", mustParse(t, "tcp://A:1?timeout=1000ms"))
		l := mustAcquire(t, h)
		var order []int
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				by := h
				if i%2 == 1 {
					by = other
				}
				l := mustAcquire(t, by)
				order = append(order, i)           // guarded by the lease
				time.Sleep(100 * time.Millisecond) // fake
				l.Release(nil)
			})
			synctest.Wait()
		}
		if s := wantStatus(t, p, "plc", Up); s.Waiting != 10 || s.Open != 1 || s.InUse != 1 {
			t.Errorf("%+v", s)
		}
		l.Release(nil)
		all.Wait()
		if !slices.IsSorted(order) || len(order) != 20 {
			t.Errorf("served in the order %v", order)
		}
		wantDials(t, pl, "a:1")
		if pl.most["a:1"] != 1 {
			t.Errorf("%d connections at once", pl.most["a:1"])
		}
	})
}

func TestWaitersGiveUp(t *testing.T) {
	simulate(t, func(t *testing.T, _ *plant, p *Pool) {
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1"))
		l := mustAcquire(t, h)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := h.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		if _, err := h.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire with an ended context: %v", err)
		}
		if s := wantStatus(t, p, "plc", Up); s.Waiting != 0 {
			t.Errorf("%d wait", s.Waiting)
		}
		l.Release(nil)
		l.Release(nil) // harmless
		mustAcquire(t, h).Release(nil)
	})
}

func TestSingleFlight(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		pl.delay = 300 * time.Millisecond
		pl.set("a:1", errRefused)
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1?max_conns=3&backoff=1s"))
		wantStatus(t, p, "plc", Idle)
		errs := make(chan error, 10)
		for range cap(errs) {
			go func() {
				_, err := h.Acquire(context.Background())
				errs <- err
			}()
		}
		synctest.Wait()
		wantStatus(t, p, "plc", Connecting)
		for range cap(errs) {
			err := <-errs
			var down *DownError
			if !errors.As(err, &down) || !errors.Is(err, ErrDown) || !errors.Is(err, errRefused) || down.ID != "plc" || down.Failures != 1 {
				t.Errorf("Acquire: %v", err)
			}
		}
		wantDials(t, pl, "a:1")
		s := wantStatus(t, p, "plc", Down)
		if s.LastError != errRefused.Error() || s.NextDial.IsZero() {
			t.Errorf("%+v", s)
		}

		// Known to be down: no time passes, nothing is dialled.
		start := time.Now()
		for range 100 {
			if _, err := h.Acquire(context.Background()); !errors.Is(err, ErrDown) {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("failing fast took %v", took)
		}
		wantDials(t, pl)

		// After the back-off one acquires and dials, the others still fail fast.
		pl.set("a:1", nil)
		time.Sleep(time.Until(s.NextDial))
		got := make(chan Lease)
		go func() { got <- mustAcquire(t, h) }()
		synctest.Wait()
		if _, err := h.Acquire(context.Background()); !errors.Is(err, ErrDown) {
			t.Errorf("Acquire while redialling: %v", err)
		}
		(<-got).Release(nil)
		mustAcquire(t, h).Release(nil)
		wantDials(t, pl, "a:1")
		wantStatus(t, p, "plc", Up)
	})
}

// TestBackoff measures the waits between dials.
func TestBackoff(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		pl.set("a:1", errRefused)
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1?backoff=1s&backoff_max=10s"))
		want := time.Second
		different := make(map[time.Duration]bool)
		for range 40 {
			var down *DownError
			if _, err := h.Acquire(context.Background()); !errors.As(err, &down) {
				t.Fatal(err)
			}
			wait := time.Until(down.Retry)
			if wait < want/2 || wait > want+1 {
				t.Errorf("failure %d: back-off %v, want %v to %v", down.Failures, wait, want/2, want)
			}
			different[wait] = true
			want = min(2*want, 10*time.Second)
			time.Sleep(wait)
		}
		if len(different) < 30 {
			t.Errorf("only %d different waits: no jitter", len(different))
		}
		// A connection that proves good ends the row.
		pl.set("a:1", nil)
		mustAcquire(t, h).Release(nil)
		pl.set("a:1", errRefused)
		mustAcquire(t, h).Release(errors.New("broken"))
		var down *DownError
		if _, err := h.Acquire(context.Background()); !errors.As(err, &down) || down.Failures != 1 || time.Until(down.Retry) > time.Second+1 {
			t.Errorf("after a good connection: %v", err)
		}
	})
}

// TestFlapping: a device that accepts connections and breaks them at once isn't
// dialled in a loop; one that is merely slow doesn't count as broken.
func TestFlapping(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1?backoff=1s"))
		start := time.Now()
		for i := 0; i < 6; {
			l, err := h.Acquire(context.Background())
			var down *DownError
			if errors.As(err, &down) {
				time.Sleep(time.Until(down.Retry))
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			l.Release(errors.New("reset by peer"))
			i++
		}
		if took := time.Since(start); took < 7*time.Second { // at least half of 1+2+4+8+16, minus luck
			t.Errorf("6 broken connections in %v", took)
		}
		pl.dialed()
		mustWait(t, h).Release(nil)
		for range 5 {
			mustAcquire(t, h).Release(fmt.Errorf("read: %w", os.ErrDeadlineExceeded))
		}
		for range 5 {
			mustAcquire(t, h).Release(context.Canceled)
		}
		if n := len(pl.dialed()); n != 10 {
			t.Errorf("%d dials after 10 timeouts and cancellations, each closing its connection", n)
		}
	})
}

// mustWait acquires once the endpoint is tried again.
func mustWait(t *testing.T, h *Handle) Lease {
	t.Helper()
	for {
		l, err := h.Acquire(context.Background())
		var down *DownError
		if errors.As(err, &down) {
			time.Sleep(max(time.Until(down.Retry), time.Millisecond)) // fake
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
}

func TestBackup(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1?backup=B:2&failback=1m&max_conns=2&idle_timeout=0"))
		pl.set("a:1", errRefused)
		pl.set("b:2", errRefused)
		_, err := h.Acquire(context.Background())
		if !errors.Is(err, ErrDown) {
			t.Fatal(err)
		}
		wantDials(t, pl, "a:1", "b:2")

		pl.set("b:2", nil)
		l := mustWait(t, h)
		if addr := address(l); addr != "b:2" {
			t.Errorf("leads to %s", addr)
		}
		if s := wantStatus(t, p, "plc", Up); !s.OnBackup {
			t.Error("not on the backup")
		}
		pl.dialed()

		// Tried again each minute, while it is away.
		time.Sleep(3*time.Minute + 30*time.Second)
		wantDials(t, pl, "a:1", "a:1", "a:1")
		pl.set("a:1", nil)
		time.Sleep(time.Minute)
		wantDials(t, pl, "a:1")
		l2 := mustAcquire(t, h)
		if addr := address(l2); addr != "a:1" {
			t.Errorf("leads to %s after fail-back", addr)
		}
		l.Release(nil) // the one on the backup, in use until now
		l2.Release(nil)
		time.Sleep(5 * time.Minute)
		if s := wantStatus(t, p, "plc", Up); s.OnBackup || s.Open != 1 {
			t.Errorf("after fail-back: %+v", s)
		}
		wantDials(t, pl)
		if n := pl.open["b:2"]; n != 0 {
			t.Errorf("%d connections to the backup left", n)
		}
	})
}

// alive is nil while the connection below is open.
func alive(l Lease) error { return l.SetDeadline(time.Time{}) }

// address is where a lease's transport was dialled.
func address(l Lease) string {
	return l.(*pooled).link.Conn.(*deadlineConn).Conn.(*plantConn).address
}

func TestIdleAndLifetime(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		idle := mustOpen(t, p, "idle", mustParse(t, "tcp://a:1?idle_timeout=10s"))
		old := mustOpen(t, p, "old", mustParse(t, "tcp://b:1?max_lifetime=10s"))
		keep := mustOpen(t, p, "keep", mustParse(t, "tcp://c:1?idle_timeout=0"))
		for range 30 {
			mustAcquire(t, idle).Release(nil)
			mustAcquire(t, old).Release(nil)
			time.Sleep(time.Second)
		}
		mustAcquire(t, keep).Release(nil)
		dials := pl.dialed()
		count := func(a string) (n int) {
			for _, d := range dials {
				if d == a {
					n++
				}
			}
			return n
		}
		if count("a:1") != 1 || count("b:1") != 3 {
			t.Errorf("dials: %v", dials)
		}
		time.Sleep(12 * time.Second)
		if s := wantStatus(t, p, "idle", Idle); s.Open != 0 || s.LastError != "" {
			t.Errorf("idle too long: %+v", s)
		}
		time.Sleep(24 * time.Hour)
		wantStatus(t, p, "keep", Up)
		mustAcquire(t, keep).Release(nil)
		if len(pl.dialed()) != 0 {
			t.Error("dialled without need")
		}
	})
}

func TestFoundDead(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1"))
		mustAcquire(t, h).Release(nil)
		pl.broken = true
		mustAcquire(t, h).Release(nil) // used a moment ago: not checked
		wantDials(t, pl, "a:1")
		time.Sleep(3 * time.Second)
		if s := wantStatus(t, p, "plc", Idle); s.LastError != "found closed" {
			t.Errorf("%+v", s)
		}
		mustAcquire(t, h).Release(nil)
		p.tick.Add(1) // a second of rest, and the janitor was not here yet
		mustAcquire(t, h).Release(nil)
		wantDials(t, pl, "a:1", "a:1")
		if s := wantStatus(t, p, "plc", Up); s.Reconnects != 2 || s.Open != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDrain(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		ctx := context.Background()
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1?max_conns=2"))
		l, l2 := mustAcquire(t, h), mustAcquire(t, h)
		l2.Release(nil)
		drained := make(chan error)
		go func() { drained <- p.Control(ctx, Control{Drain, "plc"}) }()
		synctest.Wait()
		if s := wantStatus(t, p, "plc", Draining); s.Open != 1 {
			t.Errorf("%+v", s)
		}
		got := make(chan Lease)
		go func() { got <- mustAcquire(t, h) }()
		time.Sleep(time.Second)
		wantDials(t, pl, "a:1", "a:1")
		l.Release(nil)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		fresh := <-got
		wantDials(t, pl, "a:1")
		if fresh == l || fresh == l2 {
			t.Error("a connection survived the drain")
		}

		// One that isn't released is closed after the drain's time.
		start := time.Now()
		if err := p.Control(ctx, Control{Drain, "plc"}); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("drained for %v", took)
		}
		if alive(fresh) == nil {
			t.Error("the connection still works")
		}
		fresh.Release(net.ErrClosed) // which is no fault of the endpoint's
		if s := wantStatus(t, p, "plc", Idle); s.LastError != "" {
			t.Errorf("a drain left the error %q", s.LastError)
		}
		mustAcquire(t, h).Release(nil)
		wantDials(t, pl, "a:1")

		// A dial under way is older than the drain, too.
		mustAcquire(t, h).Release(errors.New("broken"))
		pl.delay = 500 * time.Millisecond
		go func() { got <- mustAcquire(t, h) }()
		synctest.Wait()
		if err := p.Control(ctx, Control{Drain, "plc"}); err != nil {
			t.Error(err)
		}
		(<-got).Release(nil)
		wantDials(t, pl, "a:1", "a:1")
		if pl.most["a:1"] != 2 {
			t.Errorf("%d connections at once, max_conns is 2", pl.most["a:1"])
		}
	})
}

func TestUpdate(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1"))
		l := mustAcquire(t, h)
		got := make(chan Lease)
		go func() { got <- mustAcquire(t, h) }()
		synctest.Wait()
		if err := p.Update("plc", mustParse(t, "tsn://b:1")); err != nil { // any scheme goes with a transport of one's own
			t.Fatal(err)
		}
		moved := <-got // the waiter went along
		if address(moved) != "b:1" || address(l) != "a:1" {
			t.Errorf("leases lead to %s and %s", address(moved), address(l))
		}
		if err := alive(l); err != nil {
			t.Errorf("a lease in use broke: %v", err)
		}
		l.Release(nil)
		if pl.open["a:1"] != 0 {
			t.Error("the old connection stays open")
		}
		moved.Release(nil)
		if err := p.Update("plc", mustParse(t, "tsn+tcp://B:1?timeout=1000ms")); err != nil {
			t.Fatal(err)
		}
		if again := mustAcquire(t, h); again != moved {
			t.Error("the same place in other words made a new connection")
		} else {
			again.Release(nil)
		}
		if err := p.Update("none", mustParse(t, "tcp://a:1")); !errors.Is(err, ErrNotFound) {
			t.Errorf("Update of nothing: %v", err)
		}
		if err := p.Update("plc", URL{}); err == nil {
			t.Error("Update to the zero URL worked")
		}
		mustAcquire(t, h).Release(nil)
		if h.URL().String() != "tsn+tcp://B:1?timeout=1000ms" {
			t.Errorf("URL() = %s", h.URL())
		}
	})
}

func TestSharing(t *testing.T) {
	tests := []struct {
		url   string
		group int
	}{
		{"tcp://plc:1", 0}, {"tcp://PLC.:1?timeout=1s&max_conns=1", 0}, {"rtu+tcp://plc:1", 0},
		{"tcp://ann:x@plc:1", 1}, {"tcp://ann:y@plc:1", 2}, {"tcp://bob:x@plc:1", 3}, {"tcp://ann:x@plc:1?timeout=1s", 1},
		{"tcp://plc:1?timeout=2s", 4}, {"tcp://annx:@plc:1", 5}, {"tls://plc:1", 6}, {"tcp://plc:2", 7},
	}
	simulate(t, func(t *testing.T, _ *plant, p *Pool) {
		var handles []*Handle
		for i, tt := range tests {
			h := mustOpen(t, p, fmt.Sprint(i), mustParse(t, tt.url))
			for j, other := range handles {
				if same := other.group.Load() == h.group.Load(); same != (tests[j].group == tt.group) {
					t.Errorf("%s and %s share connections: %v", tt.url, tests[j].url, same)
				}
			}
			handles = append(handles, h)
		}
		for _, h := range handles {
			h.Close()
		}
		if len(p.groups) != 0 {
			t.Errorf("%d groups are left", len(p.groups))
		}
	})
}

func TestClose(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1"))
		l := mustAcquire(t, h)
		waits := make(chan error)
		go func() {
			_, err := h.Acquire(context.Background())
			waits <- err
		}()
		synctest.Wait()
		h.Close()
		h.Close()
		if err := <-waits; !errors.Is(err, ErrClosed) {
			t.Errorf("who waited got %v", err)
		}
		if _, err := h.Acquire(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("Acquire after Close: %v", err)
		}
		if err := alive(l); err != nil {
			t.Errorf("a lease in use broke: %v", err)
		}
		l.Release(nil)
		if pl.open["a:1"] != 0 || len(p.leaving) != 0 {
			t.Error("something is left of a closed endpoint")
		}

		// The pool waits for leases as long as it may.
		again := mustOpen(t, p, "plc", mustParse(t, "tcp://a:1"))
		dials := mustOpen(t, p, "dials", mustParse(t, "tcp://b:1?timeout=1m"))
		l = mustAcquire(t, again)
		pl.delay = time.Minute
		go func() {
			_, err := dials.Acquire(context.Background())
			waits <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		start := time.Now()
		go func() { waits <- p.Close(ctx) }()
		if err := <-waits; !errors.Is(err, ErrClosed) {
			t.Errorf("who waited for a dial got %v", err)
		}
		if err := <-waits; err == nil || !strings.Contains(err.Error(), "1 connection closed") {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Close took %v", took)
		}
		if alive(l) == nil {
			t.Error("a lease survived the pool")
		}
		l.Release(nil)
		if pl.open["a:1"] != 0 || pl.open["b:1"] != 0 {
			t.Errorf("open connections: %v", pl.open)
		}
		if _, err := p.Open("x", mustParse(t, "tcp://a:1")); !errors.Is(err, ErrClosed) {
			t.Errorf("Open after Close: %v", err)
		}
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestPoolErrors(t *testing.T) {
	simulate(t, func(t *testing.T, _ *plant, p *Pool) {
		ctx := context.Background()
		mustOpen(t, p, "plc", mustParse(t, "tcp://a:1"))
		if _, err := p.Open("plc", mustParse(t, "tcp://b:1")); !errors.Is(err, ErrExists) {
			t.Errorf("Open twice: %v", err)
		}
		if _, err := p.Open("zero", URL{}); err == nil {
			t.Error("Open of the zero URL worked")
		}
		for _, err := range []error{
			p.Control(ctx, Control{Pause, "none"}), p.Trace("none", true), p.Remove("none"),
			func() error { _, err := p.State("none"); return err }(),
		} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%v, want ErrNotFound", err)
			}
		}
		if err := p.Control(ctx, Control{"stop", "plc"}); err == nil {
			t.Error("an unknown operation worked")
		}
		if err := p.Remove("plc"); err != nil || len(p.States()) != 0 {
			t.Errorf("Remove: %v; %v", err, p.States())
		}
	})
	p := newTestPool(t, PoolOptions{})
	for _, url := range []string{"tsn+tcp://h:1", "prp+udp://h:1", "can://can0", "bluetooth://00:11:22:33:44:55"} {
		if _, err := p.Open("x", mustParse(t, url)); !errors.Is(err, ErrUnsupportedScheme) {
			t.Errorf("Open(%s): %v, want ErrUnsupportedScheme", url, err)
		}
	}
}

// TestSerialOwner: one line, one owner, one connection, however it is spelled.
func TestSerialOwner(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/ttyS0", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("ttyS0", dir+"/by-id"); err != nil {
		t.Fatal(err)
	}
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "line", mustParse(t, "rtu+serial://"+dir+"/ttyS0?baud=19200"))
		mustOpen(t, p, "same", mustParse(t, "serial://"+dir+"//ttyS0?baud=19200&parity=n"))
		for _, url := range []string{"/ttyS0?baud=9600", "/by-id?baud=19200&parity=E", "/by-id?baud=19200"} {
			if _, err := p.Open("other", mustParse(t, "serial://"+dir+url)); !errors.Is(err, ErrLineInUse) {
				t.Errorf("Open of %s: %v, want ErrLineInUse", url, err)
			}
		}
		if err := p.Update("line", mustParse(t, "serial://"+dir+"/ttyS0?baud=9600")); !errors.Is(err, ErrLineInUse) {
			t.Errorf("Update of one of two: %v, want ErrLineInUse", err)
		}
		if err := p.Remove("same"); err != nil {
			t.Fatal(err)
		}
		l := mustAcquire(t, h)
		if err := p.Update("line", mustParse(t, "serial://"+dir+"/by-id?baud=9600")); err != nil {
			t.Fatal(err)
		}
		got := make(chan Lease)
		go func() { got <- mustAcquire(t, h) }()
		time.Sleep(500 * time.Millisecond)
		wantDials(t, pl, dir+"/ttyS0") // the new one waits for the old one's end
		l.Release(nil)
		(<-got).Release(nil)
		wantDials(t, pl, dir+"/by-id")

		// An owner that doesn't let go is an error, not a wait without end.
		l = mustAcquire(t, h)
		if err := p.Update("line", mustParse(t, "serial://"+dir+"/ttyS0?baud=1200")); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Acquire(context.Background()); !errors.Is(err, ErrLineInUse) || !errors.Is(err, ErrDown) {
			t.Errorf("Acquire: %v, want ErrLineInUse", err)
		}
		l.Release(nil)
		mustWait(t, h).Release(nil)
	})
}
