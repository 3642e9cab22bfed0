package endpoint

import (
	"context"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTCPOptions looks at the socket.
func TestTCPOptions(t *testing.T) {
	s := newEchoServer(t)
	tests := []struct {
		query                             string
		noDelay, keepAlive, idle, between int
	}{
		{"", 1, 1, 15, 15},
		{"?nodelay=0&keepalive=2m", 0, 1, 120, 120},
		{"?keepalive=0", 1, 0, -1, -1},
	}
	for _, tt := range tests {
		c, err := dialTCP(context.Background(), s.url(t, tt.query).options, s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		raw := c.(*tcpConn).raw
		for _, o := range []struct {
			name             string
			level, opt, want int
		}{
			{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, tt.noDelay},
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, tt.keepAlive},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, tt.idle},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, tt.between},
		} {
			if got := socketOption(t, raw, o.level, o.opt); o.want >= 0 && got != o.want {
				t.Errorf("%q: %s = %d, want %d", tt.query, o.name, got, o.want)
			}
		}
		_ = c.Close()
	}
}

func socketOption(t *testing.T, raw syscall.RawConn, level, opt int) (value int) {
	t.Helper()
	var err error
	if ctl := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, opt) }); ctl != nil || err != nil {
		t.Fatal(ctl, err)
	}
	return value
}

func TestSourceAddress(t *testing.T) {
	s := newEchoServer(t)
	for _, scheme := range []string{"tcp", "udp"} {
		c, err := Dial(context.Background(), mustParse(t, scheme+"://"+s.Addr().String()+"?source=127.0.0.9"), DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if local := c.LocalAddr().String(); !strings.HasPrefix(local, "127.0.0.9:") {
			t.Errorf("%s: connected from %s", scheme, local)
		}
		_ = c.Close()
	}
}

// TestUDPLateAnswer: what belongs to the request before, whole or in part, isn't
// read as the answer to the next.
func TestUDPLateAnswer(t *testing.T) {
	device, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = device.Close() }()
	p := newTestPool(t, PoolOptions{})
	h := mustOpen(t, p, "plc", mustParse(t, "udp://"+device.LocalAddr().String()))

	l := mustAcquire(t, h)
	if _, err := l.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_, from, err := device.ReadFromUDP(buf)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(text string) {
		t.Helper()
		if _, err := device.WriteToUDP([]byte(text), from); err != nil {
			t.Fatal(err)
		}
	}
	answer("header and rest")
	if _, err := io.ReadFull(l, buf[:6]); err != nil {
		t.Fatal(err)
	}
	answer("late")
	answer("later")
	raw := h.group.Load().conns[0].link.Conn.(*deadlineConn).Conn.(*udpConn).raw
	waitFor(t, func() bool { state, _ := peek(raw); return state == peekData })
	l.Release(nil)
	l = mustAcquire(t, h)
	defer l.Release(nil)
	answer("right")
	if _, err := io.ReadFull(l, buf[:5]); err != nil || string(buf[:5]) != "right" {
		t.Errorf("read %q, %v", buf[:5], err)
	}
}

// TestBackupTCP fails over and, by the janitor, back, on real sockets.
func TestBackupTCP(t *testing.T) {
	backup := newEchoServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // away
	p := newTestPool(t, PoolOptions{})
	h := mustOpen(t, p, "plc", mustParse(t, "tcp://"+address+"?failback=1s&backup="+backup.Addr().String()))
	lease := mustAcquire(t, h)
	echo(t, lease, "from the backup")
	lease.Release(nil)
	if st, _ := p.State("plc"); !st.OnBackup {
		t.Error("not on the backup")
	}
	l, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	primary := &echoServer{Listener: l}
	go primary.serve()
	defer func() { _ = l.Close(); primary.hangUp() }()
	waitFor(t, func() bool { st, _ := p.State("plc"); return !st.OnBackup && st.Status == Up })
	lease = mustAcquire(t, h)
	defer lease.Release(nil)
	if lease.RemoteAddr().String() != address {
		t.Errorf("leads to %s", lease.RemoteAddr())
	}
	echo(t, lease, "from the endpoint itself")
}

// TestAcquireGivesUpOnSilence: a lease without deadline can't block for ever.
func TestAcquireGivesUpOnSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p := newTestPool(t, PoolOptions{})
	h := mustOpen(t, p, "plc", mustParse(t, "tcp://"+l.Addr().String()+"?timeout=1s"))
	lease := mustAcquire(t, h)
	_ = lease.SetReadDeadline(time.Now().Add(time.Hour))
	lease.Release(nil)
	lease = mustAcquire(t, h) // without the deadline of the last user
	start := time.Now()
	if _, err := lease.Read(make([]byte, 1)); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("Read: %v after %v", err, time.Since(start))
	}
	lease.Release(nil)
}
