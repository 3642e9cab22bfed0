package endpoint

import (
	"errors"
	"net"
	"strconv"
	"sync"
)

// Memo is what the users of a place know about it from before: whatever they keep
// there. It belongs to the address, so it outlives connections, drains, handles and
// changes of options. A serial device server delivers an answer to whoever is
// connected when it comes.
type Memo struct {
	mu    sync.Mutex
	value any
}

// Get returns what is kept in m; the first caller puts there what fresh returns.
func (m *Memo) Get(fresh func() any) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.value == nil {
		m.value = fresh()
	}
	return m.value
}

// kept reports whether anybody keeps something in m.
func (m *Memo) kept() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.value != nil
}

// Rememberer is a [Lease] with a [Memo]. The leases of a [Pool] are.
type Rememberer interface{ Memo() *Memo }

// memo returns the memo of the place to which key leads. It needs p.mu. Memos are
// never dropped: there are as many as addresses in the tables so far.
func (p *Pool) memo(key groupKey) *Memo {
	place := key.url.schemes.base().String() + " "
	if key.url.schemes.base() == Serial {
		place += resolveDevice(key.url.host)
	} else {
		place += net.JoinHostPort(key.url.host, strconv.Itoa(int(key.url.port)))
	}
	m := p.memos[place]
	if m == nil {
		m = new(Memo)
		p.memos[place] = m
	}
	return m
}

// Memo implements [Rememberer].
func (c *pooled) Memo() *Memo { return c.group.memo }

// check looks whether an idle connection is usable. Bytes that nobody asked for
// make it unusable, unless its users keep account of what they are owed. (A look
// into TLS takes a byte away.)
func (g *group) check(c *pooled) error {
	err := c.link.check()
	if errors.Is(err, errUnasked) && g.memo.kept() && !g.key.url.schemes.has(TLS) {
		return nil
	}
	return err
}
