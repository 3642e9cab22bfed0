package endpoint_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/net/quic"

	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint/endpointtest"
)

// quicServer is an endpoint of golang.org/x/net/quic, which shares no code with the
// library that dials.
func quicServer(t testing.TB, config *tls.Config) *quic.Endpoint {
	t.Helper()
	config.MinVersion = tls.VersionTLS13
	if config.NextProtos == nil {
		config.NextProtos = []string{"edge-gw"}
	}
	e, err := quic.Listen("udp", "127.0.0.1:0", &quic.Config{TLSConfig: config, MaxIdleTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = e.Close(ctx) // the test has its result
	})
	return e
}

// quicDevice is the device's end of a stream. Its library wants contexts for deadlines.
type quicDevice struct {
	*quic.Stream
	conn *quic.Conn

	mu     sync.Mutex
	cancel [2]context.CancelFunc
}

func (d *quicDevice) Write(p []byte) (int, error) {
	n, err := d.Stream.Write(p)
	if err == nil {
		err = d.Flush()
	}
	return n, err
}

// Close ends the stream first, as a device does that means well: the end of a QUIC
// connection overtakes what is still under way.
func (d *quicDevice) Close() error {
	if err := d.SetWriteDeadline(time.Now().Add(time.Second)); err == nil {
		_ = d.Stream.Close() // the gateway may be gone
	}
	d.conn.Abort(nil)
	return nil
}

func (d *quicDevice) LocalAddr() net.Addr  { return net.UDPAddrFromAddrPort(d.conn.LocalAddr()) }
func (d *quicDevice) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(d.conn.RemoteAddr()) }

func (d *quicDevice) deadline(i int, at time.Time, set func(context.Context)) error {
	ctx, cancel := context.WithDeadline(context.Background(), at)
	if at.IsZero() {
		cancel()
		ctx, cancel = context.WithCancel(context.Background())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel[i] != nil {
		d.cancel[i]()
	}
	d.cancel[i] = cancel
	set(ctx)
	return nil
}

func (d *quicDevice) SetReadDeadline(t time.Time) error  { return d.deadline(0, t, d.SetReadContext) }
func (d *quicDevice) SetWriteDeadline(t time.Time) error { return d.deadline(1, t, d.SetWriteContext) }
func (d *quicDevice) SetDeadline(t time.Time) error {
	return errors.Join(d.SetReadDeadline(t), d.SetWriteDeadline(t))
}

// acceptQUIC accepts a connection and its stream, or fails.
func acceptQUIC(ctx context.Context, e *quic.Endpoint) (*quicDevice, error) {
	conn, err := e.Accept(ctx)
	if err != nil {
		return nil, err
	}
	s, err := conn.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return &quicDevice{Stream: s, conn: conn}, nil
}

func TestQUICConformance(t *testing.T) {
	ca, pair := serverPair(t)
	endpointtest.Suite{
		Connect: func(t testing.TB) (endpoint.Conn, net.Conn) {
			e := quicServer(t, &tls.Config{Certificates: []tls.Certificate{pair}})
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			conn := dial(t, "quic://"+e.LocalAddr().String()+"?timeout=2s&ca="+ca)
			if _, err := conn.Write([]byte("x")); err != nil { // a device learns of a stream by its first bytes
				t.Fatal(err)
			}
			device, err := acceptQUIC(ctx, e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(device, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			return conn, device
		},
		Stuck: func(ctx context.Context, t testing.TB) (endpoint.Conn, error) {
			u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = u.Close() })
			return endpoint.Dial(ctx, parse(t, "quic://"+u.LocalAddr().String()+"?timeout=2m"), endpoint.DialOptions{})
		},
	}.Run(t)
}

// echoing answers on every stream what it gets.
func echoing(t testing.TB, e *quic.Endpoint) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := e.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Abort(nil)
				s, err := conn.AcceptStream(ctx)
				if err != nil {
					return
				}
				s.SetReadContext(ctx)
				s.SetWriteContext(ctx)
				d := &quicDevice{Stream: s, conn: conn}
				_, _ = io.Copy(d, struct{ io.Reader }{s}) // until the gateway has enough
			})
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// relay carries datagrams between a client and a server, as rudely as rude says: it
// returns how often to send one, now and later.
type relay struct {
	front, back atomic.Pointer[net.UDPConn]
	client      atomic.Pointer[net.UDPAddr]
	wg          sync.WaitGroup
}

func newRelay(t *testing.T, server string, rude func() (now, later int)) *relay {
	t.Helper()
	r := &relay{}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r.front.Store(front)
	r.rebind(t, server, rude)
	r.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := front.ReadFromUDP(buf)
			if err != nil {
				return
			}
			r.client.Store(from)
			r.pass(rude, buf[:n], func(b []byte) { _, _ = r.back.Load().Write(b) }) // lost is fine
		}
	})
	t.Cleanup(func() {
		_, _ = front.Close(), r.back.Load().Close() // nothing is lost
		r.wg.Wait()
	})
	return r
}

// rebind lets the server see the client at another address from now on.
func (r *relay) rebind(t *testing.T, server string, rude func() (now, later int)) {
	t.Helper()
	c, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	back := c.(*net.UDPConn)
	r.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, err := back.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // the server is away
			}
			r.pass(rude, buf[:n], func(b []byte) { _, _ = r.front.Load().WriteToUDP(b, r.client.Load()) }) // lost is fine
		}
	})
	if old := r.back.Swap(back); old != nil {
		_ = old.Close() // what it still held is lost, as with a NAT
	}
}

func (r *relay) pass(rude func() (now, later int), b []byte, send func([]byte)) {
	now, later := rude()
	for range now {
		send(b)
	}
	for range later {
		held := append([]byte(nil), b...)
		r.wg.Go(func() { time.Sleep(5 * time.Millisecond); send(held) })
	}
}

// exchange asks n times and wants each answer, in order, once.
func exchange(t *testing.T, c endpoint.Conn, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		ask := fmt.Sprintf("request %06d %s", i, strings.Repeat("x", i%1500))
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, ask); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		got := make([]byte, len(ask))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != ask {
			t.Fatalf("answer %d: %.20q, %v", i, got, err)
		}
	}
}

// TestQUICOverLossyPath: a path that drops every tenth datagram, doubles every tenth
// and delays a fifth past those behind it loses nothing, repeats nothing and turns
// nothing round.
func TestQUICOverLossyPath(t *testing.T) {
	ca, pair := serverPair(t)
	e := quicServer(t, &tls.Config{Certificates: []tls.Certificate{pair}})
	echoing(t, e)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(1, 2))
	r := newRelay(t, e.LocalAddr().String(), func() (now, later int) {
		mu.Lock()
		defer mu.Unlock()
		switch n := random.IntN(10); {
		case n == 0:
			return 0, 0
		case n == 1:
			return 1, 1
		case n < 4:
			return 0, 1
		}
		return 1, 0
	})
	c := dial(t, "quic://"+r.front.Load().LocalAddr().String()+"?timeout=20s&ca="+ca)
	exchange(t, c, 0, 100)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestQUICHandshake(t *testing.T) {
	ca, pair := serverPair(t)
	stranger, _, _ := endpoint.Certificates(t)
	for _, tt := range []struct {
		name   string
		server *tls.Config
		query  string
		want   error
		text   string
	}{
		{"fine", &tls.Config{}, "&ca=" + ca, nil, ""},
		{"ALPN", &tls.Config{NextProtos: []string{"modbus"}}, "&alpn=modbus&ca=" + ca, nil, ""},
		{"other ALPN", &tls.Config{NextProtos: []string{"modbus"}}, "&ca=" + ca, nil, "opts.alpn"},
		{"wrong CA", &tls.Config{}, "&ca=" + stranger, endpoint.ErrUnknownAuthority, ""},
		{"wrong name", &tls.Config{}, "&server_name=plc2&ca=" + ca, endpoint.ErrCertificateName, ""},
		{"no client certificate", &tls.Config{ClientAuth: tls.RequireAnyClientCert}, "&ca=" + ca, endpoint.ErrClientCertificate, ""},
		{"no CA file", &tls.Config{}, "&ca=/nonexistent.pem", endpoint.ErrCertificateFile, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Certificates = []tls.Certificate{pair}
			e := quicServer(t, tt.server)
			echoing(t, e)
			c, err := endpoint.Dial(t.Context(), parse(t, "quic://"+e.LocalAddr().String()+"?timeout=5s"+tt.query), endpoint.DialOptions{})
			if err == nil {
				defer func() { _ = c.Close() }()
				if _, err = io.WriteString(c, "a question"); err == nil {
					_, err = io.ReadFull(c, make([]byte, 10))
				}
			}
			switch {
			case tt.want == nil && tt.text == "" && err != nil:
				t.Error(err)
			case tt.want != nil && !errors.Is(err, tt.want), tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)):
				t.Errorf("got %v, want %v%s", err, tt.want, tt.text)
			case errors.Is(err, os.ErrDeadlineExceeded):
				t.Errorf("%v looks like a slow answer", err)
			}
		})
	}
}

// TestQUICOutlivesItsAddress: a connection goes on when the device sees the gateway at
// another address, behind a router that forgot it or after a change of its own. (The
// server is quic-go's: the other library's takes no connection from a new address.)
func TestQUICOutlivesItsAddress(t *testing.T) {
	ca, pair := serverPair(t)
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server := &quicgo.Transport{Conn: socket}
	l, err := server.Listen(&tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"edge-gw"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			connections.Add(1)
			s, err := conn.AcceptStream(context.Background())
			if err != nil {
				return
			}
			_, _ = io.Copy(s, s) // until the gateway has enough
		}
	}()
	t.Cleanup(func() {
		_, _ = server.Close(), socket.Close() // with every connection
		<-done
	})
	once := func() (now, later int) { return 1, 0 }
	r := newRelay(t, l.Addr().String(), once)
	c := dial(t, "quic://"+r.front.Load().LocalAddr().String()+"?timeout=20s&ca="+ca)
	exchange(t, c, 0, 20)
	for i := range 3 {
		r.rebind(t, l.Addr().String(), once)
		exchange(t, c, 100*i, 20)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want one that goes on", n)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestQUICNobodyThere: an address without a server is told as one.
func TestQUICNobodyThere(t *testing.T) {
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	_, err = endpoint.Dial(t.Context(), parse(t, "quic://"+u.LocalAddr().String()+"?timeout=300ms"), endpoint.DialOptions{})
	if err == nil || !strings.Contains(err.Error(), "does not speak QUIC") {
		t.Errorf("got %v", err)
	}
}

// TestQUICFallsSilent: a device that is gone without a word is noticed by keep-alive, and
// is no slow answer.
func TestQUICFallsSilent(t *testing.T) {
	ca, pair := serverPair(t)
	e := quicServer(t, &tls.Config{Certificates: []tls.Certificate{pair}})
	echoing(t, e)
	var gone atomic.Bool
	r := newRelay(t, e.LocalAddr().String(), func() (now, later int) {
		if gone.Load() {
			return 0, 0
		}
		return 1, 0
	})
	c := dial(t, "quic://"+r.front.Load().LocalAddr().String()+"?timeout=1m&keepalive=1s&ca="+ca)
	exchange(t, c, 0, 3)
	gone.Store(true)
	began := time.Now()
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("got %v, want that the connection is lost", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("noticed after %s", took)
	}
	_ = c.Close() // it is lost
}
