// Package peer runs the real programs that the tests talk to: the Mosquitto
// broker, and edge-gw itself as a child process that can be killed.
package peer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Mosquitto is a real broker with persistence, on a port that stays the same
// through restarts.
type Mosquitto struct {
	Addr string // HOST:PORT
	dir  string
	conf string
	cmd  *exec.Cmd
	out  *bytes.Buffer
}

// StartMosquitto starts a broker that keeps every message for its persistent
// sessions, with extra lines of mosquitto.conf; it ends with the test.
//
// It has a limit of messages in flight, the largest that there is: without one (0,
// or 65535) Mosquitto 2.0.11 reads each message in flight from its database as one
// that was never sent. A subscriber that had answered PUBREL gets it again then.
func StartMosquitto(t testing.TB, extra ...string) *Mosquitto {
	t.Helper()
	dir := t.TempDir()
	m := &Mosquitto{Addr: FreeAddr(t), dir: dir, conf: filepath.Join(dir, "mosquitto.conf")}
	m.Configure(t, extra...)
	m.Start(t)
	t.Cleanup(func() {
		if m.cmd != nil {
			m.Stop(t)
		}
	})
	return m
}

// Configure writes mosquitto.conf with other extra lines, for the next start.
func (m *Mosquitto) Configure(t testing.TB, extra ...string) {
	t.Helper()
	_, port, err := net.SplitHostPort(m.Addr)
	if err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf(`listener %s 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location %s/
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 65534
log_dest stderr
log_type error
log_type warning
`, port, m.dir)
	for _, line := range extra {
		conf += line + "\n"
	}
	if err := os.WriteFile(m.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
}

// URL is the broker's address as gateway.yml writes it.
func (m *Mosquitto) URL() string { return "mqtt://" + m.Addr }

// Start starts a stopped broker and waits until it accepts connections.
func (m *Mosquitto) Start(t testing.TB) {
	t.Helper()
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Fatalf("mosquitto is missing: run scripts/setup (%v)", err)
		}
	}
	m.out = new(bytes.Buffer)
	m.cmd = exec.Command(bin, "-c", m.conf)
	m.cmd.Stdout, m.cmd.Stderr = m.out, m.out
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		t.Fatalf("start mosquitto: %v", err)
	}
	WaitFor(t, 10*time.Second, "mosquitto to accept connections", func() bool {
		c, err := net.DialTimeout("tcp", m.Addr, time.Second)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// Stop ends the broker gracefully, so that it writes its database.
func (m *Mosquitto) Stop(t testing.TB) {
	t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop mosquitto: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- m.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("mosquitto: %v\n%s", err, m.out)
		}
	case <-time.After(20 * time.Second):
		_ = m.cmd.Process.Kill() // it hangs; the test fails anyway
		t.Errorf("mosquitto did not stop in 20 s\n%s", m.out)
	}
	m.cmd = nil
}

// Database returns the file in which a stopped broker keeps everything.
func (m *Mosquitto) Database() string { return filepath.Join(m.dir, "mosquitto.db") }

// FreeAddr returns a loopback address whose port was free a moment ago. It lies below
// the ports that Linux hands out by itself, so that none of the many connections and
// listeners of other tests takes it meanwhile.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(32_768-10_000)))
		if err != nil {
			continue // somebody has it
		}
		addr := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no free port between 10000 and 32767")
	return ""
}

// FreePort is the port of FreeAddr.
func FreePort(t testing.TB) int {
	t.Helper()
	addr, err := netip.ParseAddrPort(FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return int(addr.Port())
}

// WaitFor polls cond until it holds, and fails the test after limit.
func WaitFor(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		if cond() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond) // polling another process, which can't tell us
	}
}
