package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPeerHangsUp: after a rest, a closed peer costs no failed request.
func TestPeerHangsUp(t *testing.T) {
	s := newEchoServer(t)
	p := newTestPool(t, PoolOptions{})
	h := mustOpen(t, p, "plc", s.url(t, ""))
	mustAcquire(t, h).Release(nil)
	waitFor(t, func() bool { return s.accepted() == 1 })
	conn := h.group.Load().conns[0].link.Conn.(*deadlineConn).Conn.(*tcpConn)

	s.hangUp()
	waitFor(t, conn.pending)
	p.tick.Add(1) // a second of rest
	l := mustAcquire(t, h)
	echo(t, l, "no error")
	l.Release(nil)
	if st, _ := p.State("plc"); st.Reconnects != 1 || !strings.Contains(st.LastError, "found closed") {
		t.Errorf("%+v", st)
	}

	// Bytes that nobody asked for would be read as the next answer.
	waitFor(t, func() bool { return s.accepted() == 2 })
	conn = h.group.Load().conns[0].link.Conn.(*deadlineConn).Conn.(*tcpConn)
	if _, err := s.conn(1).Write([]byte("late answer")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, conn.pending)
	p.tick.Add(1)
	l = mustAcquire(t, h)
	defer l.Release(nil)
	echo(t, l, "the right answer")
}

// TestStress has many users of a few endpoints, with every kind of trouble, and
// looks for two users on one connection, too many connections, and leaks. It is
// most telling with -race.
func TestStress(t *testing.T) {
	pl := newPlant()
	p := newTestPool(t, PoolOptions{Transport: pl.dial, DrainTimeout: 20 * time.Millisecond})
	const query = "?max_conns=2&backoff=10ms&backoff_max=10ms&backup=b:9"
	ids := []string{"x", "y", "z"}
	for i, id := range ids {
		mustOpen(t, p, id, mustParse(t, fmt.Sprintf("tcp://a:%d%s", i/2+1, query))) // x and y share
	}
	ctx, cancel := context.WithTimeout(context.Background(), 600*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	var users sync.Map // of a connection
	var leases atomic.Int64
	for i := range 16 {
		h := p.handles[ids[i%len(ids)]]
		all.Go(func() {
			for ctx.Err() == nil {
				wait, stop := context.WithTimeout(ctx, time.Duration(rand.N(5_000_000)))
				l, err := h.Acquire(wait)
				stop()
				if err != nil {
					if !errors.Is(err, ErrDown) && !errors.Is(err, ErrPaused) && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					runtime.Gosched()
					continue
				}
				leases.Add(1)
				if _, taken := users.LoadOrStore(l, true); taken {
					t.Error("two users on one connection")
				}
				if rand.N(4) == 0 {
					_ = l.SetDeadline(time.Now().Add(time.Millisecond))
					_, _ = l.Read(make([]byte, 1)) // times out: nobody answers
				}
				users.Delete(l)
				switch rand.N(10) {
				case 0:
					l.Release(errors.New("broken"))
				case 1:
					_ = l.Close()
					l.Release(nil)
				default:
					l.Release(nil)
				}
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			id := ids[rand.N(len(ids))]
			var err error
			switch rand.N(6) {
			case 0:
				err = p.Control(ctx, Control{Drain, id})
			case 1:
				err = errors.Join(p.Control(ctx, Control{Pause, id}), p.Control(ctx, Control{Resume, id}))
			case 2:
				err = p.Update(id, mustParse(t, fmt.Sprintf("tcp://a:%d%s", rand.N(3)+1, query)))
			case 3:
				pl.set(fmt.Sprintf("a:%d", rand.N(3)+1), errRefused)
			case 4:
				pl.set(fmt.Sprintf("a:%d", rand.N(3)+1), nil)
			case 5:
				p.States()
				for _, g := range p.allGroups() {
					g.sweep()
				}
			}
			if err != nil {
				t.Error(err)
			}
			time.Sleep(time.Duration(rand.N(2_000_000))) // between one trouble and the next
		}
	})
	all.Wait()
	end, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	if err := p.Close(end); err != nil {
		t.Error(err)
	}
	for a, n := range pl.open {
		if n != 0 {
			t.Errorf("%d connections to %s are left", n, a)
		}
	}
	if leases.Load() < 1000 {
		t.Errorf("only %d leases: not much of a stress", leases.Load())
	}
}

func TestTrace(t *testing.T) {
	s := newEchoServer(t)
	var out bytes.Buffer
	p := newTestPool(t, PoolOptions{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	h := mustOpen(t, p, "plc", s.url(t, ""))
	l := mustAcquire(t, h)
	defer l.Release(nil)
	echo(t, l, "silent")
	out.Reset()
	for _, on := range []bool{true, false} {
		if err := p.Trace("plc", on); err != nil {
			t.Fatal(err)
		}
		echo(t, l, "\x00\x01AB")
		text := out.String()
		if got := strings.Contains(text, `msg=sent endpoint=plc conn=1 bytes=4 hex="00 01 41 42"`) &&
			strings.Contains(text, `msg=received endpoint=plc conn=1 bytes=4 hex="00 01 41 42"`); got != on {
			t.Errorf("trace %v wrote %q", on, text)
		}
		out.Reset()
	}
}

// TestSecrets: references are resolved at each dial, and nothing of a secret
// shows anywhere.
func TestSecrets(t *testing.T) {
	const secret, psk = "hunter2-in-the-plant", "00112233445566778899aabbccddeeff"
	var out bytes.Buffer
	resolved := 0
	answer := func() (string, error) { return "", errors.New("no file psk in the secrets directory") }
	p := newTestPool(t, PoolOptions{
		Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Secret: func(ref string) (string, error) {
			resolved++
			if ref != "${file:psk}" {
				t.Errorf("asked for %s", ref)
			}
			return answer()
		},
	})
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	h := mustOpen(t, p, "plc", mustParse(t, "dtls://line1:${file:psk}@"+u.LocalAddr().String()+"?timeout=20ms&backoff=10ms&backoff_max=10ms"))
	var errs []string
	for _, step := range []struct {
		value string
		err   error
		want  error
	}{
		{"", errors.New("no file psk in the secrets directory"), ErrSecret},
		{secret, nil, nil}, // not hexadecimal
		{psk, nil, context.DeadlineExceeded},
	} {
		answer = func() (string, error) { return step.value, step.err }
		var err error
		waitFor(t, func() bool {
			before := resolved
			_, err = h.Acquire(context.Background())
			return resolved > before
		})
		if step.want != nil && !errors.Is(err, step.want) || err == nil {
			t.Errorf("Acquire: %v, want %v", err, step.want)
		}
		errs = append(errs, err.Error())
	}
	all := strings.Join(errs, "\n") + out.String() + fmt.Sprintf("%+v %#v", p.States(), p.States()) + fmt.Sprintf("%+v", h.group.Load().key)
	for _, s := range []string{secret, psk, "line1", "hunter", "0011"} {
		if strings.Contains(all, s) {
			t.Errorf("%q leaked: %s", s, all)
		}
	}
	if _, err := Dial(context.Background(), h.URL(), DialOptions{}); !errors.Is(err, ErrSecret) {
		t.Errorf("Dial without resolver: %v, want ErrSecret", err)
	}
}

// TestThousandEndpoints: 900 endpoints that are down, each with a driver that
// keeps trying, don't slow the 100 that are up.
func TestThousandEndpoints(t *testing.T) {
	s := newEchoServer(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := dead.Addr().String()
	_ = dead.Close() // nobody listens there now

	before := footprint()
	p := newTestPool(t, PoolOptions{})
	up, down := openFleet(t, p, s.Addr().String(), refusing, 100, 900)
	for _, h := range up {
		mustAcquire(t, h).Release(nil)
	}
	alone := acquireAll(t, up, 50)

	ctx, cancel := context.WithCancel(context.Background())
	var drivers sync.WaitGroup
	var failures atomic.Int64
	for _, h := range down {
		drivers.Go(func() {
			for ctx.Err() == nil {
				if _, err := h.Acquire(ctx); err == nil {
					t.Error("a dead endpoint was acquired")
				}
				failures.Add(1)
				select { // polls once per 100 ms
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	waitFor(t, func() bool { return failures.Load() >= 2*int64(len(down)) })
	together := acquireAll(t, up, 50)
	waitFor(t, func() bool { return failures.Load() >= 4*int64(len(down)) })
	cancel()
	drivers.Wait()
	waitFor(t, func() bool { return footprint().goroutines <= before.goroutines+1+2*len(up) })
	after := footprint()
	t.Logf("acquire of a healthy endpoint: median %v alone, %v beside %d dead ones (%d failed acquires)",
		alone, together, len(down), failures.Load())
	t.Logf("1000 endpoints, 100 connections: %d goroutines (the janitor, and 2 per connection in the test's server), %.1f KiB of heap per endpoint",
		after.goroutines-before.goroutines, float64(after.heap-before.heap)/1024/1000)
	if together > 20*time.Microsecond {
		t.Errorf("acquires took %v beside dead endpoints", together)
	}
	status := make(map[Status]int)
	for _, st := range p.States() {
		status[st.Status]++
	}
	if status[Up] != 100 || status[Down] != 900 {
		t.Errorf("statuses: %v", status)
	}
}

type foot struct {
	goroutines int
	heap       int64
}

func footprint() foot {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return foot{runtime.NumGoroutine(), int64(m.HeapAlloc)}
}

// openFleet opens endpoints of which no two share connections, since their
// timeouts differ.
func openFleet(t testing.TB, p *Pool, live, dead string, nUp, nDown int) (up, down []*Handle) {
	t.Helper()
	for i := range nUp + nDown {
		addr := live
		if i >= nUp {
			addr = dead
		}
		h := mustOpen(t, p, fmt.Sprintf("plc%04d", i), mustParse(t, fmt.Sprintf("tcp://%s?timeout=%dms&backoff=1s", addr, 1001+i)))
		if i < nUp {
			up = append(up, h)
		} else {
			down = append(down, h)
		}
	}
	return up, down
}

// acquireAll returns the median time of an Acquire with its Release.
func acquireAll(t *testing.T, handles []*Handle, rounds int) time.Duration {
	t.Helper()
	times := make([]time.Duration, 0, rounds*len(handles))
	for range rounds {
		for _, h := range handles {
			start := time.Now()
			l, err := h.Acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			l.Release(nil)
			times = append(times, time.Since(start))
		}
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// BenchmarkAcquireHit8 has 8 goroutines: each with an endpoint of its own, and
// all on one endpoint with as many connections.
func BenchmarkAcquireHit8(b *testing.B) {
	s := newEchoServer(b)
	p := newTestPool(b, PoolOptions{})
	shared := mustOpen(b, p, "shared", s.url(b, "?max_conns=8"))
	var own []*Handle
	for i := range 8 {
		own = append(own, mustOpen(b, p, fmt.Sprint(i), s.url(b, fmt.Sprintf("?timeout=%ds", i+2))))
	}
	for name, handle := range map[string]func(int) *Handle{
		"own endpoint": func(i int) *Handle { return own[i] },
		"one endpoint": func(int) *Handle { return shared },
	} {
		b.Run(name, func(b *testing.B) {
			var leases []Lease
			for i := range 8 {
				leases = append(leases, mustAcquire(b, handle(i)))
			}
			for _, l := range leases {
				l.Release(nil)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for i := range 8 {
				h := handle(i)
				all.Go(func() {
					for range b.N / 8 {
						l, err := h.Acquire(context.Background())
						if err != nil {
							b.Error(err)
							return
						}
						l.Release(nil)
					}
				})
			}
			all.Wait()
		})
	}
}

// BenchmarkThousandEndpoints acquires 100 healthy endpoints in turn while 900
// others are down.
func BenchmarkThousandEndpoints(b *testing.B) {
	pl := newPlant()
	pl.set("dead:1", errRefused)
	p := newTestPool(b, PoolOptions{Transport: pl.dial})
	up, down := openFleet(b, p, "live:1", "dead:1", 100, 900)
	for _, h := range down {
		if _, err := h.Acquire(context.Background()); !errors.Is(err, ErrDown) {
			b.Fatal(err)
		}
	}
	for _, h := range up {
		mustAcquire(b, h).Release(nil)
	}
	b.Run("healthy", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			l, err := up[i%len(up)].Acquire(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			l.Release(nil)
		}
	})
	b.Run("known down", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := down[0].Acquire(context.Background()); err == nil {
				b.Fatal("up")
			}
		}
	})
}
