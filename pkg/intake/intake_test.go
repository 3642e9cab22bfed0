package intake

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rig listens and holds what it accepts.
func rig(t *testing.T, cfg Config) (dial func() net.Conn, l *Listener) {
	t.Helper()
	under, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	l = Listen(under, cfg)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() { // an echo
				b := make([]byte, 1)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	return func() net.Conn {
		c, err := net.Dial("unix", under.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}, l
}

// serves reports whether the other side answers.
func serves(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_, err := c.Read(make([]byte, 1))
	return err == nil
}

// TestIdleConnectionsLockNobodyOut: as many as there is room for connect and say
// nothing; whoever has something to say is served all the same.
func TestIdleConnectionsLockNobodyOut(t *testing.T) {
	refused := make(chan struct{}, 100)
	dial, l := rig(t, Config{Max: 8, Grace: time.Hour, Refused: func() { refused <- struct{}{} }})
	busy := dial()
	if !serves(t, busy) {
		t.Fatal("the first is not served")
	}
	for range 7 {
		dial()
	}
	last := dial()
	if serves(t, last) {
		t.Error("there was room for a ninth, although none was idle for long")
	}
	l.mu.Lock()
	for c := range l.conns {
		c.used.Add(-2 * int64(time.Hour)) // they are idle now
	}
	l.mu.Unlock()
	if !serves(t, busy) {
		t.Fatal("a connection in use was closed")
	}
	for range 5 {
		if !serves(t, dial()) {
			t.Error("idle connections lock others out")
		}
	}
	if !serves(t, busy) {
		t.Error("a connection in use was closed to make room")
	}
	if len(refused) < 6 {
		t.Errorf("%d were counted", len(refused))
	}
}

// TestOnePeerHasAPart: one peer that takes all it can leaves room for others.
func TestOnePeerHasAPart(t *testing.T) {
	var who atomic.Value
	who.Store("mallory")
	dial, _ := rig(t, Config{Max: 8, MaxPeer: 4, Grace: time.Hour, Peer: func(net.Conn) string { return who.Load().(string) }})
	for i := range 10 {
		if got := serves(t, dial()); got != (i < 4) {
			t.Errorf("connection %d of one peer: served %t", i, got)
		}
	}
	who.Store("alice")
	if !serves(t, dial()) {
		t.Error("one peer has taken all")
	}
}

// TestRoomComesBack: connections that end give their place back, once.
func TestRoomComesBack(t *testing.T) {
	dial, l := rig(t, Config{Max: 2, MaxPeer: 2, Grace: time.Hour, Peer: func(net.Conn) string { return "a" }})
	for range 20 {
		c := dial()
		if !serves(t, c) {
			t.Fatal("no room")
		}
		l.mu.Lock()
		for k := range l.conns {
			defer k.Close() // a second time
			l.mu.Unlock()
			k.Close()
			l.mu.Lock()
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) != 0 || len(l.peers) != 0 {
		t.Errorf("%d connections, peers %v", len(l.conns), l.peers)
	}
}

// TestReserveOfDescriptors: however many connect, files can still be opened.
func TestReserveOfDescriptors(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	probe, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(probe.Fd())
	probe.Close()
	// Both ends of each connection are of this process.
	small := unix.Rlimit{Cur: next + 100, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &small); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}()
	dial, _ := rig(t, Config{Max: 1000, Grace: time.Hour})
	for range 60 {
		c := dial()
		if !serves(t, c) {
			c.Close()
			break
		}
	}
	for i := range reserveLeast - 2 {
		f, err := os.Open("/dev/null")
		if err != nil {
			if strings.Contains(err.Error(), "too many") {
				t.Fatalf("after %d files: %v", i, err)
			}
			t.Fatal(err)
		}
		defer f.Close()
	}
}
