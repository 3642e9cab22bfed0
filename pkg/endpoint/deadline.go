package endpoint

import (
	"sync"
	"sync/atomic"
	"time"
)

// deadlineConn bounds each read and write for which its user set no deadline.
type deadlineConn struct {
	Conn
	timeout time.Duration

	mu          sync.Mutex  // held while a deadline is set, never while reading or writing
	read, write bool        // the user set one
	touched     atomic.Bool // read or write was true since the last reset
}

func limitTime(timeout time.Duration) decorator {
	return func(c Conn) Conn { return &deadlineConn{Conn: c, timeout: timeout} }
}

func (c *deadlineConn) Read(p []byte) (int, error) {
	if err := c.bound(&c.read, c.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *deadlineConn) Write(p []byte) (int, error) {
	if err := c.bound(&c.write, c.Conn.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *deadlineConn) bound(given *bool, set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *given {
		return nil
	}
	return set(time.Now().Add(c.timeout))
}

// reset forgets the deadlines of the last user.
func (c *deadlineConn) reset() {
	if !c.touched.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = false, false
	c.touched.Store(false)
}

func (c *deadlineConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = !t.IsZero(), !t.IsZero()
	c.touched.Store(true)
	return c.Conn.SetDeadline(t)
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = !t.IsZero()
	c.touched.Store(true)
	return c.Conn.SetReadDeadline(t)
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = !t.IsZero()
	c.touched.Store(true)
	return c.Conn.SetWriteDeadline(t)
}
