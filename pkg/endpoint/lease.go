package endpoint

import (
	"sync/atomic"
	"time"
)

// pooled is a connection of a pool. It is the Lease that Acquire hands out: the
// same object each time, so that nothing is allocated.
type pooled struct {
	Conn  // with every layer
	link  *link
	group *group

	account atomic.Pointer[account] // of the lease's holder
	closed  atomic.Bool             // by its user or by a drain
	in      atomic.Uint32           // reads that gave something
	sent    atomic.Bool             // something was written, ever

	// Guarded by group.mu.
	user     *User // the lease's holder
	leased   bool
	silent   bool      // the holder said that it was not answered
	rested   bool      // nobody had been answered over it for a second or more, when it was lent
	began    time.Time // of the lease; zero for a holder of good standing
	inBefore uint32    // the reads before the lease
	answers  uint32    // leases that were released without an error
	onBackup bool      // leads to the backup
	drains   uint64    // the group's count when it was dialled
	born     uint32    // ticks of the pool's clock
	used     uint32    // ditto, when it was released last
}

// newPooled makes the n-th connection of g.
func newPooled(g *group, l *link, n uint64) *pooled {
	c := &pooled{link: l, group: g}
	c.Conn = trace(&c.account, n)(meter(&c.account)(l))
	return c
}

// Close ends the connection at once. Release must follow all the same.
func (c *pooled) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// Release implements [Lease].
func (c *pooled) Release(err error) { c.group.release(c, err) }

// Read reads from the connection.
func (c *pooled) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.in.Add(1)
	}
	return n, err
}

// Write writes to the connection.
func (c *pooled) Write(p []byte) (int, error) {
	if !c.sent.Load() {
		c.sent.Store(true)
	}
	return c.Conn.Write(p)
}

// Check implements [Trust].
func (c *pooled) Check() error { return c.link.check() }

// Fresh implements [Trust].
func (c *pooled) Fresh() bool { return !c.sent.Load() }

// Used implements [Trust].
func (c *pooled) Used() bool {
	c.group.mu.Lock()
	defer c.group.mu.Unlock()
	return c.answers > 0 && c.in.Load() == c.inBefore
}

// Rested implements [Trust].
func (c *pooled) Rested() bool {
	c.group.mu.Lock()
	defer c.group.mu.Unlock()
	return c.rested
}

// HangsUp implements [Trust].
func (c *pooled) HangsUp() bool {
	c.group.mu.Lock()
	defer c.group.mu.Unlock()
	return c.group.hangUps > 0
}

// Unanswered implements [Trust].
func (c *pooled) Unanswered() {
	c.group.mu.Lock()
	defer c.group.mu.Unlock()
	c.silent = true
}

var _ Trust = (*pooled)(nil)
