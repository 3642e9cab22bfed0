package endpoint

import (
	"sync/atomic"
)

// pooled is a connection of a pool. It is the Lease that Acquire hands out: the
// same object each time, so that nothing is allocated.
type pooled struct {
	Conn  // with every layer
	link  *link
	group *group
	user  atomic.Pointer[account] // of the lease's holder

	closed atomic.Bool // by its user or by a drain

	// Guarded by group.mu.
	leased   bool
	proven   bool   // was released without an error once
	onBackup bool   // leads to the backup
	drains   uint64 // the group's count when it was dialled
	born     uint32 // ticks of the pool's clock
	used     uint32 // ditto, when it was released last
}

// newPooled makes the n-th connection of g.
func newPooled(g *group, l *link, n uint64) *pooled {
	c := &pooled{link: l, group: g}
	c.Conn = trace(&c.user, n)(meter(&c.user)(l))
	return c
}

// Close ends the connection at once. Release must follow all the same.
func (c *pooled) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// Release implements [Lease].
func (c *pooled) Release(err error) { c.group.release(c, err) }
