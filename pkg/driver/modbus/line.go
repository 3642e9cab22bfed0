package modbus

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// line is what the drivers, probes and scans of one endpoint know together: what
// the units owe, how old the connections are, when the next request may be sent.
// It outlives all of them.
type line struct {
	tx  atomic.Uint32 // of the last request; drivers that share a connection go on counting
	gap atomic.Int64  // ns between requests, the longest that a driver wants; 0 none

	mu     sync.Mutex
	ledger ledger
	conns  []*connection
	gaps   map[*link]time.Duration // that drivers want
	ended  time.Time               // when the last exchange was over
	echo   int                     // how sure it is that the line repeats requests: 0 unknown, below 0 it does not
	fresh  int                     // silent timeouts that the next connection is allowed
}

// connection is what a line knows about one of its connections.
type connection struct {
	conn   net.Conn
	born   time.Time
	silent atomic.Int32 // timeouts in a row in which nothing came
	spoke  atomic.Bool  // anything, ever
}

const (
	keptConnections = 8 // as many as a line remembers
	echoSure        = 8 // reads without an echo until a line counts as one without
	usedPatience    = 2 // silent timeouts in a row that end a connection which has spoken before; with transaction ids 1
	freshPatience   = 3 // of one that never has, at first; doubles
	maxPatience     = 48
)

func newLine() *line {
	ln := &line{fresh: freshPatience, gaps: map[*link]time.Duration{}}
	ln.tx.Store(rand.Uint32())
	return ln
}

// lineOf returns the line that conn is a connection of, or else own.
func lineOf(conn net.Conn, own *line) *line {
	if r, ok := conn.(endpoint.Rememberer); ok {
		if ln, ok := r.Memo().Get(func() any { return newLine() }).(*line); ok {
			return ln
		}
	}
	return own
}

// meet returns what is known about conn, which may be new.
func (ln *line) meet(conn net.Conn) *connection {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if i := slices.IndexFunc(ln.conns, func(c *connection) bool { return c.conn == conn }); i >= 0 {
		return ln.conns[i]
	}
	if len(ln.conns) == keptConnections {
		ln.conns = slices.Delete(ln.conns, 0, 1)
	}
	c := &connection{conn: conn, born: time.Now()}
	ln.conns = append(ln.conns, c)
	return c
}

// part forgets a connection that is closed.
func (ln *line) part(c *connection) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.conns = slices.DeleteFunc(ln.conns, func(x *connection) bool { return x == c })
	switch {
	case c.spoke.Load():
		ln.fresh = freshPatience
	case c.silent.Load() > 0:
		ln.fresh = min(2*ln.fresh, maxPatience)
	}
}

// heard notes that something arrived.
func (c *connection) heard() {
	if c.silent.Load() != 0 {
		c.silent.Store(0)
	}
	if !c.spoke.Load() {
		c.spoke.Store(true)
	}
}

// tired reports whether a connection has been silent for so many timeouts that a new
// one is better: it may be dead although nobody said so. With transaction ids, once
// is enough: a peer that is still busy with the question lets the next one wait, and
// not on another connection. Without them, another connection would be the same line.
func (ln *line) tired(c *connection, ordered bool) bool {
	if c.spoke.Load() {
		return !ordered || c.silent.Load() >= usedPatience
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return int(c.silent.Load()) >= ln.fresh
}

// wants notes the pause between requests that a driver has set. All keep to the
// longest.
func (ln *line) wants(l *link, gap time.Duration) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if gap > 0 {
		ln.gaps[l] = gap
	} else {
		delete(ln.gaps, l)
	}
	longest := time.Duration(0)
	for _, g := range ln.gaps {
		longest = max(longest, g)
	}
	ln.gap.Store(int64(longest))
}

// turnAt returns when the next request may be sent.
func (ln *line) turnAt() time.Time {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.ended.Add(time.Duration(ln.gap.Load()))
}

// rest notes that an exchange is over.
func (ln *line) rest() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.ended = time.Now()
}

// account returns that of a unit. One that a driver asks for first is in doubt: the
// process before this one may have left requests without their answers.
func (ln *line) account(s *Settings, driver bool) *account {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	n := len(ln.ledger.accounts)
	a := ln.ledger.account(s.UnitID, s.AnswerUnit.alias())
	if driver && len(ln.ledger.accounts) > n && s.Ordered() && !s.broadcast() {
		a.fresh, a.word = freshRounds, time.Now()
	}
	return a
}

func (ln *line) begin(a *account, s shape, at spot) turn {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.ledger.begin(a, s, at, time.Now())
}

// lates returns how many of a's answers came late, and how long such ones take.
func (ln *line) lates(a *account) (n int, took time.Duration) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return a.lates, a.lateness(time.Now())
}

// late notes how late an answer to a was.
func (ln *line) late(a *account, took time.Duration, now time.Time) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	a.late(took, false, now)
}

func (ln *line) judge(t *turn, unit uint8, pdu []byte) verdict {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.ledger.judge(t, unit, pdu, time.Now())
}

// even reports whether a's unit owes nothing and has never answered twice.
func (ln *line) even(a *account) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return len(a.debts) == 0 && !a.doubles
}

// echoes reports whether the line repeats requests, as far as is known.
func (ln *line) echoes() (yes, known bool) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.echo > 0, ln.echo != 0
}

// learnEcho notes whether a read was repeated by the line. A repetition may be
// damaged, so that one without says little.
func (ln *line) learnEcho(repeated bool) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	switch {
	case repeated:
		ln.echo = echoSure
	case ln.echo > 1:
		ln.echo--
	default:
		ln.echo = -1
	}
}
