package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// tcpConn is a TCP connection that can be checked.
type tcpConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

func dialTCP(ctx context.Context, o Options, address string) (Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if o.KeepAlive > 0 {
		d.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: o.KeepAlive, Interval: o.KeepAlive, Count: 3}
	}
	if o.Source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(o.Source)}
	}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err // says "dial tcp ADDRESS"
	}
	conn := c.(*net.TCPConn)
	if err := conn.SetNoDelay(o.NoDelay); err != nil {
		_ = conn.Close() // the first error counts
		return nil, fmt.Errorf("dial tcp %s: set nodelay: %w", address, err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close() // the first error counts
		return nil, fmt.Errorf("dial tcp %s: %w", address, err)
	}
	return &tcpConn{conn, raw}, nil
}

// errUnasked is what check finds on a connection that received something while
// nobody used it.
var errUnasked = errors.New("received bytes that nobody asked for")

// peekState is what a look at a socket shows.
type peekState int

const (
	peekQuiet  peekState = iota // open, nothing to read
	peekData                    // something to read
	peekClosed                  // closed or broken
)

// check refuses a connection that the peer closed or that holds bytes nobody
// asked for: they would be taken for the answer to the next request.
func (c *tcpConn) check() error {
	switch state, err := peek(c.raw); state {
	case peekQuiet:
		return nil
	case peekData:
		return errUnasked
	default:
		return fmt.Errorf("found closed: %w", err)
	}
}

func (c *tcpConn) pending() bool {
	state, _ := peek(c.raw)
	return state != peekQuiet
}
