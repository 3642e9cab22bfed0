package endpoint

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echoServer accepts connections and sends back what it gets. It counts the
// connections that it accepted.
type echoServer struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newEchoServer(t testing.TB) *echoServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &echoServer{Listener: l}
	go s.serve()
	t.Cleanup(func() { _ = l.Close(); s.hangUp() })
	return s
}

func (s *echoServer) serve() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}

func (s *echoServer) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// conn is the server's end of the i-th connection.
func (s *echoServer) conn(i int) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[i]
}

// hangUp closes every connection from the server's side.
func (s *echoServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
}

func (s *echoServer) url(t testing.TB, query string) URL {
	t.Helper()
	return mustParse(t, "tcp://"+s.Addr().String()+query)
}

func mustParse(t testing.TB, text string) URL {
	t.Helper()
	u, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func newTestPool(t testing.TB, opts PoolOptions) *Pool {
	t.Helper()
	p, err := NewPool(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

func mustOpen(t testing.TB, p *Pool, id string, u URL) *Handle {
	t.Helper()
	h, err := p.Open(id, u)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustAcquire(t testing.TB, h *Handle) Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := h.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func echo(t testing.TB, l Lease, text string) {
	t.Helper()
	if _, err := l.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(l, buf); err != nil || string(buf) != text {
		t.Fatalf("echo of %q: %q, %v", text, buf, err)
	}
}

func TestPoolReuse(t *testing.T) {
	s := newEchoServer(t)
	p := newTestPool(t, PoolOptions{})
	h := mustOpen(t, p, "plc", s.url(t, ""))
	var local string
	for i := range 3 {
		l := mustAcquire(t, h)
		echo(t, l, "hello")
		if i == 0 {
			local = l.LocalAddr().String()
		} else if got := l.LocalAddr().String(); got != local {
			t.Errorf("Acquire %d: another connection, from %s instead of %s", i, got, local)
		}
		l.Release(nil)
	}
	if n := s.accepted(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	l := mustAcquire(t, h)
	l.Release(io.ErrUnexpectedEOF)
	l = mustAcquire(t, h)
	defer l.Release(nil)
	echo(t, l, "again")
	if got := l.LocalAddr().String(); got == local {
		t.Error("a connection was used again after an error")
	}
	state, err := p.State("plc")
	if err != nil || state.Status != Up || state.Open != 1 || state.InUse != 1 || state.Reconnects != 1 ||
		state.BytesIn != 20 || state.BytesOut != 20 || state.LastError != io.ErrUnexpectedEOF.Error() {
		t.Errorf("State = %+v, %v", state, err)
	}
}

func TestPauseResume(t *testing.T) {
	s := newEchoServer(t)
	p := newTestPool(t, PoolOptions{})
	h := mustOpen(t, p, "plc", s.url(t, ""))
	same := mustOpen(t, p, "same", s.url(t, ""))
	ctx := context.Background()
	l := mustAcquire(t, h)

	waiting := make(chan error)
	go func() {
		_, err := h.Acquire(ctx)
		waiting <- err
	}()
	waitFor(t, func() bool { st, _ := p.State("plc"); return st.Waiting == 1 })
	if err := p.Control(ctx, Control{Pause, "plc"}); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, ErrPaused) {
		t.Errorf("who waited got %v, want ErrPaused", err)
	}
	if _, err := h.Acquire(ctx); !errors.Is(err, ErrPaused) {
		t.Errorf("Acquire while paused: %v, want ErrPaused", err)
	}
	echo(t, l, "a lease in use goes on")
	l.Release(nil)
	if st, _ := p.State("plc"); st.Status != Paused {
		t.Errorf("status %s, want paused", st.Status)
	}
	other := mustAcquire(t, same)
	other.Release(nil) // an endpoint that shares the connection isn't paused
	if err := p.Control(ctx, Control{Resume, "plc"}); err != nil {
		t.Fatal(err)
	}
	l = mustAcquire(t, h)
	l.Release(nil)
	if n := s.accepted(); n != 1 {
		t.Errorf("%d connections were made; a pause keeps the one there was", n)
	}
}

// waitFor polls, for what happens in another goroutine and announces itself in
// no other way.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func BenchmarkAcquireHit(b *testing.B) {
	s := newEchoServer(b)
	p := newTestPool(b, PoolOptions{})
	h := mustOpen(b, p, "plc", s.url(b, ""))
	mustAcquire(b, h).Release(nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		l, err := h.Acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		l.Release(nil)
	}
}
