package endpoint_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/pion/dtls/v3"
	"golang.org/x/sys/unix"

	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint/endpointtest"
)

func parse(t testing.TB, text string) endpoint.URL {
	t.Helper()
	u, err := endpoint.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func dial(t testing.TB, text string) endpoint.Conn {
	t.Helper()
	c, err := endpoint.Dial(context.Background(), parse(t, text), endpoint.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// accepting dials while the listener accepts, and returns both ends.
func accepting(t testing.TB, l net.Listener, url string) (endpoint.Conn, net.Conn) {
	t.Helper()
	defer func() { _ = l.Close() }()
	device := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if t, ok := c.(*tls.Conn); ok {
			err = t.Handshake()
		}
		if err != nil {
			close(device)
			return
		}
		device <- c
	}()
	conn := dial(t, url)
	d, ok := <-device
	if !ok {
		t.Fatal("no connection was accepted")
	}
	return conn, d
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTCPConformance(t *testing.T) {
	endpointtest.Suite{
		Connect: func(t testing.TB) (endpoint.Conn, net.Conn) {
			l := listen(t)
			return accepting(t, l, "tcp://"+l.Addr().String()+"?timeout=2s")
		},
		Stuck: func(ctx context.Context, t testing.TB) (endpoint.Conn, error) {
			return endpoint.Dial(ctx, parse(t, "tcp://"+deafAddress(t)+"?timeout=2m"), endpoint.DialOptions{})
		},
	}.Run(t)
}

// deafAddress is a TCP address that answers no connect: the queue of its
// listener is full.
func deafAddress(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
	c, err := net.Dial("tcp", addr.String()) // takes the only place
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return addr.String()
}

// serverPair is a server's certificate with its key, and the file of who signed it.
func serverPair(t testing.TB) (ca string, pair tls.Certificate) {
	t.Helper()
	ca, cert, key := endpoint.Certificates(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return ca, pair
}

func TestTLSConformance(t *testing.T) {
	ca, pair := serverPair(t)
	endpointtest.Suite{
		Connect: func(t testing.TB) (endpoint.Conn, net.Conn) {
			l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{pair}})
			return accepting(t, l, "tls://"+l.Addr().String()+"?timeout=2s&ca="+ca)
		},
		Stuck: func(ctx context.Context, t testing.TB) (endpoint.Conn, error) {
			l := listen(t) // connects, but nobody shakes hands
			t.Cleanup(func() { _ = l.Close() })
			return endpoint.Dial(ctx, parse(t, "tls://"+l.Addr().String()+"?timeout=2m&ca="+ca), endpoint.DialOptions{})
		},
	}.Run(t)
}

// TestDecoratedConformance has every layer there is.
func TestDecoratedConformance(t *testing.T) {
	endpointtest.Suite{
		Connect: func(t testing.TB) (endpoint.Conn, net.Conn) {
			l := listen(t)
			return accepting(t, l, "tcp://"+l.Addr().String()+
				"?timeout=2s&rate=100000pps,500MBps&burst=100&burst_bytes=1M&halfduplex=1&turnaround=100us")
		},
	}.Run(t)
}

// udpDevice is a UDP socket that answers whoever spoke to it last.
type udpDevice struct {
	*net.UDPConn
	peer *net.UDPAddr
}

func (d *udpDevice) Read(p []byte) (int, error) {
	n, from, err := d.ReadFromUDP(p)
	if err == nil {
		d.peer = from
	}
	return n, err
}

func (d *udpDevice) Write(p []byte) (int, error) { return d.WriteToUDP(p, d.peer) }

func TestUDPConformance(t *testing.T) {
	endpointtest.Suite{
		Datagrams: true, Silent: true,
		Connect: func(t testing.TB) (endpoint.Conn, net.Conn) {
			u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			conn := dial(t, "udp://"+u.LocalAddr().String()+"?timeout=2s")
			return conn, &udpDevice{u, conn.LocalAddr().(*net.UDPAddr)}
		},
	}.Run(t)
}

func TestDTLSConformance(t *testing.T) {
	ca, pair := serverPair(t)
	endpointtest.Suite{
		Datagrams: true,
		Connect: func(t testing.TB) (endpoint.Conn, net.Conn) {
			l, err := dtls.ListenWithOptions("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, dtls.WithCertificates(pair))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			device := make(chan net.Conn, 1)
			go func() {
				c, err := l.Accept()
				if err == nil {
					err = c.(*dtls.Conn).Handshake()
				}
				if err != nil {
					t.Error(err)
				}
				device <- c
			}()
			conn := dial(t, "dtls://"+l.Addr().String()+"?timeout=2s&ca="+ca)
			return conn, <-device
		},
		Stuck: func(ctx context.Context, t testing.TB) (endpoint.Conn, error) {
			u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = u.Close() })
			return endpoint.Dial(ctx, parse(t, "dtls://"+u.LocalAddr().String()+"?timeout=2m"), endpoint.DialOptions{})
		},
	}.Run(t)
}

func TestSerialConformance(t *testing.T) {
	endpointtest.Suite{
		Silent: true, // socat keeps the other terminal open
		Connect: func(t testing.TB) (endpoint.Conn, net.Conn) {
			a, b := endpoint.NullModem(t)
			return dial(t, "rtu+serial://"+a+"?baud=115200&parity=E&timeout=2s"),
				dial(t, "serial://"+b+"?baud=115200&parity=E&halfduplex=0&timeout=5s")
		},
	}.Run(t)
}
