package endpoint

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// account is what one endpoint's traffic is booked on. A shared connection books
// on the account of whoever holds its lease.
type account struct {
	in, out atomic.Uint64 // bytes
	trace   atomic.Bool
	log     *slog.Logger // has the endpoint's id
}

// meterConn counts bytes.
type meterConn struct {
	Conn
	to *atomic.Pointer[account]
}

func meter(to *atomic.Pointer[account]) decorator {
	return func(c Conn) Conn { return &meterConn{c, to} }
}

func (c *meterConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.to.Load().in.Add(uint64(n))
	}
	return n, err
}

func (c *meterConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.to.Load().out.Add(uint64(n))
	}
	return n, err
}

// traceConn writes traffic to the debug log while the account's trace is on.
type traceConn struct {
	Conn
	to     *atomic.Pointer[account]
	number uint64 // of the connection
}

func trace(to *atomic.Pointer[account], number uint64) decorator {
	return func(c Conn) Conn { return &traceConn{c, to, number} }
}

func (c *traceConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if a := c.to.Load(); a.trace.Load() {
		a.dump("received", c.number, p[:max(n, 0)], err)
	}
	return n, err
}

func (c *traceConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if a := c.to.Load(); a.trace.Load() {
		a.dump("sent", c.number, p[:max(n, 0)], err)
	}
	return n, err
}

// maxDump is how many bytes of one read or write are traced.
const maxDump = 1024

func (a *account) dump(what string, number uint64, p []byte, err error) {
	args := []any{"conn", number, "bytes", len(p), "hex", fmt.Sprintf("% x", p[:min(len(p), maxDump)])}
	if err != nil {
		args = append(args, "error", err)
	}
	a.log.Debug(what, args...)
}
