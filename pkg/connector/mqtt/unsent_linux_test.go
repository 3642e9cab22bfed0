package mqtt

import (
	"net"
	"testing"
	"time"
)

// TestUnsent tells bytes that wait in the system from bytes that have arrived.
func TestUnsent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing depends on it
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // nothing depends on it
	k := newConn(c, &bounded{Conn: c})
	if n := k.unsent(); n != 0 {
		t.Errorf("%d bytes unsent of nothing", n)
	}
	if err := c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for err == nil { // until the other side, which reads nothing, has no room
		_, err = c.Write(block)
	}
	if n := k.unsent(); n == 0 {
		t.Error("nothing unsent although the other side reads nothing")
	}
}
