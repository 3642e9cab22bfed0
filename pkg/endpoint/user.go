package endpoint

import (
	"context"
	"slices"
	"sync/atomic"
)

// User is one of several parties that share an endpoint, such as the driver of one
// unit behind a Modbus gateway: an [Acquirer] with a standing of its own. A party
// whose device is silent, hangs up or talks nonsense waits behind those whose
// devices answer, and takes a bounded share of the time; see group_turns.go.
type User struct {
	handle   *Handle
	insists  bool
	standing atomic.Uint32
	misses   atomic.Uint32 // leases without an answer, in a row
	breaks   atomic.Uint32 // of them, those whose connection was closed before it ever gave an answer
	stale    atomic.Bool   // the last lease found a used connection closed
}

var _ Acquirer = (*User)(nil)

// The standings.
const (
	untried  uint32 = iota
	answered        // the last lease was released without an error
	doubtful        // it was not answered, or not with sense
	broken          // its connection was closed before it ever gave an answer
)

// User returns another party that shares the endpoint. [Handle.Acquire] is for
// endpoints with a single one.
func (h *Handle) User() *User {
	u := &User{handle: h}
	h.usersMu.Lock()
	defer h.usersMu.Unlock()
	h.users = append(h.users, u)
	return u
}

// Insist has u's Acquires dial at once while the endpoint is known to be down: for a
// person who wants to know now. The back-off of the others stays as it is. What goes
// wrong in u's leases is the person's answer: it is not recorded as the endpoint's last
// error, and does not take the endpoint down. Insist is called before the first Acquire.
func (u *User) Insist() { u.insists = true }

// Acquire is [Handle.Acquire] on behalf of u.
func (u *User) Acquire(ctx context.Context) (Lease, error) { return u.handle.acquire(ctx, u) }

// Paused reports whether the endpoint is paused: for a user that does not need a connection
// of the pool to reach the device.
func (u *User) Paused() bool {
	g := u.handle.group.Load()
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return u.handle.paused
}

// Close forgets u. Its leases stay good until they are released.
func (u *User) Close() {
	h := u.handle
	h.usersMu.Lock()
	defer h.usersMu.Unlock()
	h.users = slices.DeleteFunc(h.users, func(x *User) bool { return x == u })
}

// poor reports whether u's device did not answer last time.
func (u *User) poor() bool { return u.standing.Load() >= doubtful }

// hopeful reports whether u's device has not failed often enough to be given up.
func (u *User) hopeful() bool { return u.misses.Load() <= manyMisses }

// anyUser reports whether ok holds for one of the users of g's endpoints. It needs
// g.mu.
func (g *group) anyUser(ok func(*User) bool) bool {
	for _, h := range g.handles {
		h.usersMu.Lock()
		found := ok(&h.self) || slices.ContainsFunc(h.users, ok)
		h.usersMu.Unlock()
		if found {
			return true
		}
	}
	return false
}
