package modbus

import (
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// staleTries is how many connections are given up before a write says that there
// is none to be trusted.
const staleTries = 8

// trust makes sure that a connection leads to a living device before a write is
// spent on it: a device that has hung up, or is frozen, would leave the write
// without an answer, and its outcome unknown.
//
// A connection is trusted if it was just dialled, or if a device was answered over
// it within about a second and it does not look closed. A device that is known to
// hang up soon after an answer gets a new connection for each write. Any other
// connection is proved by a read.
type trust struct {
	given  int  // connections given up
	silent bool // the device did not answer on the last one
}

// establish returns nil if a write may go over l's connection.
func (t *trust) establish(l *link, proof *request) error {
	c, ok := l.conn.(endpoint.Trust)
	if !ok || l.settings.broadcast() || l.settings.Serial || l.settings.datagram {
		return nil // nothing that the device could have closed
	}
	fresh, hangsUp := c.Fresh(), c.HangsUp() || l.settings.CloseAfter == CloseExchange
	switch {
	case fresh && (hangsUp || !t.silent && !l.fault):
		return nil
	case !fresh && (hangsUp || c.Check() != nil):
		return t.another(endpoint.ErrStale)
	case !c.Rested() && !t.silent && !l.fault:
		return nil
	case proof == nil && fresh:
		return nil
	case proof == nil:
		return t.another(endpoint.ErrStale)
	}
	_, err := l.read(proof.fn, proof.addr, proof.qty)
	switch {
	case intact(err):
		return nil
	case isTimeout(err) && (t.silent || l.fault):
		return &driver.Ended{Conn: err, Result: fmt.Errorf("not sent: the device does not answer; a read that was to prove the connection: %w", err)}
	}
	t.silent = isTimeout(err)
	return t.another(err)
}

// another has the write tried over the next connection; this one is closed for err.
func (t *trust) another(err error) error {
	if t.given++; t.given > staleTries {
		return &driver.Ended{Conn: err, Result: fmt.Errorf("not sent: %d connections in a row could not be trusted: %w", t.given, err)}
	}
	return &driver.GoOn{Conn: err}
}

// proof is a read that the device answers as a rule, nil if there is none.
func (op *writeOp) proof() *request {
	if op.table.Variable(op.pt.index).Access.Readable() {
		return &request{fn: op.pt.Func, addr: op.pt.Addr, qty: op.pt.Count}
	}
	for _, c := range op.d.plans.Newest().classes {
		for _, r := range c.requests {
			if r.penalty == 0 {
				return r
			}
		}
	}
	return nil
}
