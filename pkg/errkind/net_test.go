package errkind_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// TestReset asks the system itself what a connection says that is broken off.
func TestReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialTimeout("tcp", l.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // nothing depends on it
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil { // a close is a reset then
		t.Fatal(err)
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errkind.Reset(err) || errkind.Refused(err) {
		t.Errorf("of a reset: %v", err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.DialTimeout("tcp", addr, time.Minute); !errkind.Refused(err) || errkind.Reset(err) {
		t.Errorf("of nobody who listens: %v", err)
	}
	if errkind.Reset(io.EOF) || errkind.Refused(nil) {
		t.Error("an end in good order is no reset, and nil is nothing")
	}
}
