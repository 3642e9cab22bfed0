package endpoint

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// maxDatagram is more than any datagram holds.
const maxDatagram = 1 << 16

// datagrams lets a driver read a datagram in pieces, as it would read a stream:
// what a Read leaves is for the next one.
type datagrams struct {
	mu   sync.Mutex
	buf  []byte
	rest []byte // of buf
}

// read serves p from the last datagram, or from a new one.
func (d *datagrams) read(p []byte, next func([]byte) (int, error)) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.rest) == 0 {
		if len(p) >= maxDatagram || len(p) == 0 {
			return next(p)
		}
		if d.buf == nil {
			d.buf = make([]byte, maxDatagram)
		}
		n, err := next(d.buf)
		if err != nil {
			return 0, err
		}
		d.rest = d.buf[:n]
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// drop forgets what is left of the last datagram. It never waits: somebody who
// still reads, against the rules, would hold up the pool.
func (d *datagrams) drop() {
	if d.mu.TryLock() {
		d.rest = nil
		d.mu.Unlock()
	}
}

// udpConn is a connected UDP socket.
type udpConn struct {
	*net.UDPConn
	raw syscall.RawConn
	in  datagrams
}

func dialUDP(ctx context.Context, o Options, address string) (Conn, error) {
	var d net.Dialer
	if o.Source != "" {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(o.Source)}
	}
	c, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err // says "dial udp ADDRESS"
	}
	conn := c.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close() // the first error counts
		return nil, fmt.Errorf("dial udp %s: %w", address, err)
	}
	return &udpConn{UDPConn: conn, raw: raw}, nil
}

func (c *udpConn) Read(p []byte) (int, error) { return c.in.read(p, c.UDPConn.Read) }

// check drops what came too late for the request before. A socket has no peer
// that could be gone.
func (c *udpConn) check() error {
	c.in.drop()
	discard(c.raw)
	return nil
}
