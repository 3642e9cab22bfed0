package modbus

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// A framing without transaction ids says of an answer only from whom it is and
// what it looks like. The ledger knows what may still come, so that an answer that
// was given up is not taken for that to the next request:
//
//   - every request is a debt from the moment it is sent until an answer proves
//     that its own can't come any more;
//   - a unit answers in order, so an answer settles the debts that are older;
//   - an answer that could pay an older debt is never the current request's.
//
// Where the current request looks like a debt, the link first asks for something of
// another length, see link.prove. A ledger belongs to the line: a new connection proves
// nothing, because a serial device server gives late answers to whoever is connected
// then.
type ledger struct {
	accounts []*account
	order    uint64        // of the last request
	late     bool          // an answer came after its timeout
	longest  time.Duration // that one took which was listened for
}

// shape is what an answer looks like: two requests with one shape can't be told
// apart by their answers. key is the byte count of a read and the echo of a write.
type shape struct {
	fn  Func
	key uint64
}

// spot is what a request asks for.
type spot struct {
	fn        Func
	addr, qty uint16
	bytes     uint16 // that answer it, if it is a read
}

// spot is what a read of qty items from addr on asks for.
func (s *Settings) spot(f Func, addr, qty uint16) spot {
	return spot{f, addr, qty, uint16(s.answerBytes(f, addr, qty))}
}

func (s spot) shape() shape { return shape{s.fn, uint64(s.bytes)} }

// reads reports whether f answers with data whose length the request fixes.
func (f Func) reads() bool { return f.bits() || f == FuncReadHolding || f == FuncReadInput }

// echoed returns how many bytes of a request's data its answer repeats.
func (f Func) echoed() int {
	switch f {
	case FuncWriteCoil, FuncWriteRegister, FuncWriteCoils, FuncWriteRegisters:
		return 4
	case FuncMaskWriteRegister:
		return 6
	case FuncDiagnostics:
		return 2 // the sub-function
	}
	return 0
}

func echoKey(data []byte) uint64 {
	var b [8]byte
	copy(b[:], data)
	return binary.BigEndian.Uint64(b[:])
}

// expected returns the shape of the answer to a request.
func (s *Settings) expected(request []byte) (shape, spot) {
	f, data := Func(request[0]), request[1:]
	if len(data) < 4 {
		return shape{fn: f}, spot{fn: f}
	}
	at := s.spot(f, binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]))
	switch n := f.echoed(); {
	case n > 0:
		return shape{f, echoKey(data[:min(n, len(data))])}, at
	case f.reads():
		return at.shape(), at
	case f == FuncReadWriteRegisters:
		return shape{f, uint64(2 * at.qty)}, at
	}
	return shape{fn: f}, at
}

// seen returns the shape of an answer that is no exception.
func seen(pdu []byte) shape {
	f, data := Func(pdu[0]), pdu[1:]
	switch n := f.echoed(); {
	case n > 0:
		return shape{f, echoKey(data[:min(n, len(data))])}
	case f == FuncReadExceptionStatus || len(data) == 0 || int(data[0]) != len(data)-1:
		return shape{fn: f}
	}
	return shape{f, uint64(data[0])}
}

// debt is what requests of one shape may still bring.
type debt struct {
	shape       shape
	at          spot      // of the newest of them
	first, last uint64    // orders of the oldest and the newest
	sent        time.Time // the newest
	open        bool      // the newest was not answered

	// mild tells that all of them ask for the same, and that each has its answer,
	// or the one before once more. Such a debt can't be taken for another register's
	// value by its own request; it might lag behind.
	mild bool
}

// account is what one unit owes, and what it said last.
type account struct {
	unit  uint8
	alias int // unit id that answers besides its own, -1 none, anyUnit every
	debts []debt

	last    []byte // the last answer's PDU
	paid    turn   // the request that it answered; zero if it was dropped
	run     int    // answers in a row that look alike
	tries   int    // to find out whose answers come, since the last success
	doubles bool   // answers came twice
	lengths bool   // reads of different lengths were answered
	fresh   int    // questions left to find out whether a process before this one has left debts
	twins   map[spot]int
	no      map[spot]bool // refused, when asked for in order to find out
	word    time.Time     // when a request or an answer of the unit was on the line

	lates   int           // answers that came after their timeout
	longest time.Duration // from a request to such an answer, of the last while
	atMost  time.Duration // the same where an answer was found to be there already: the least bound
	lateAt  time.Time     // when the last of these came
}

// lateMemory is how long it is worth telling that an answer was late.
const lateMemory = 10 * time.Minute

// late notes an answer that came so long after its request, and after its timeout;
// or that came sooner, and was found then.
func (a *account) late(took time.Duration, found bool, now time.Time) {
	if now.Sub(a.lateAt) > lateMemory {
		a.longest, a.atMost = 0, 0
	}
	a.lates, a.lateAt = a.lates+1, now
	switch {
	case !found:
		a.longest = max(a.longest, min(took, maxLateness))
	case a.atMost == 0 || took < a.atMost:
		a.atMost = took
	}
}

// lateness is how long answers take that come too late; 0 if that is not known.
func (a *account) lateness(now time.Time) time.Duration {
	if now.Sub(a.lateAt) > lateMemory {
		return 0
	}
	return cmp.Or(a.longest, a.atMost)
}

const anyUnit = 256

// turn is the request whose answer is waited for.
type turn struct {
	account *account
	shape   shape
	spot    spot
	order   uint64
}

// Bounds of what an account keeps.
const (
	maxWriteDebts = 16
	maxTwins      = 1024
	twinTurns     = 16 // turns after which a twin is looked at again
	runTurns      = 64 // answers that look alike, after which one of another length shows that none lags
)

// account returns that of unit.
func (g *ledger) account(unit uint8, alias int) *account {
	for _, a := range g.accounts {
		if a.unit == unit && a.alias == alias || alias == anyUnit && a.alias == anyUnit {
			return a
		}
	}
	a := &account{unit: unit, alias: alias, twins: map[spot]int{}, no: map[spot]bool{}}
	g.accounts = append(g.accounts, a)
	return a
}

// accepts reports whether a's unit answers as unit.
func (a *account) accepts(unit uint8) bool {
	return unit == a.unit || a.alias == anyUnit || int(unit) == a.alias
}

// begin books a request that is sent now.
func (g *ledger) begin(a *account, s shape, at spot, now time.Time) turn {
	g.order++
	a.word = now
	i := slices.IndexFunc(a.debts, func(d debt) bool { return d.shape == s })
	if i < 0 {
		i = len(a.debts)
		a.debts = append(a.debts, debt{shape: s, at: at, first: g.order})
	}
	d := &a.debts[i]
	d.mild = d.mild && d.at == at && !d.open
	d.at, d.last, d.sent, d.open = at, g.order, now, true
	a.bound()
	return turn{a, s, at, g.order}
}

// bound merges the oldest debts of writes, each of which has a shape of its own,
// into one that any answer to such a write could pay.
func (a *account) bound() {
	n, oldest, second := 0, -1, -1
	for i, d := range a.debts {
		if d.shape.fn.echoed() == 0 || d.shape.key == anyEcho {
			continue
		}
		n++
		if oldest < 0 || d.last < a.debts[oldest].last {
			oldest, second = i, oldest
		} else if second < 0 || d.last < a.debts[second].last {
			second = i
		}
	}
	if n <= maxWriteDebts {
		return
	}
	d := a.debts[oldest]
	a.debts = slices.Delete(a.debts, oldest, oldest+1)
	d.shape.key = anyEcho
	for i := range a.debts {
		if a.debts[i].shape == d.shape {
			a.debts[i].first, a.debts[i].last = min(a.debts[i].first, d.first), max(a.debts[i].last, d.last)
			return
		}
	}
	a.debts = append(a.debts, d)
}

// anyEcho is the key of a shape that every echo of its function fits.
const anyEcho = 1<<64 - 1

func (s shape) fits(o shape) bool {
	return s.fn == o.fn && (s.key == o.key || s.key == anyEcho && s.fn.echoed() > 0)
}

// owes reports whether a may still bring an answer that looks like s, and is not to
// a request for the same.
func (a *account) owes(s shape, at spot) bool {
	return slices.ContainsFunc(a.debts, func(d debt) bool { return d.shape.fits(s) && !(d.mild && !d.open && d.at == at) })
}

// doubtful reports whether an answer of shape s to the next request could be
// another's, if such ones come. twin tells that it would only repeat the one before.
func (g *ledger) doubtful(a *account, s shape, at spot) (owed, twin bool) {
	for _, other := range g.accounts {
		if (other == a || other.overlaps(a)) && (other.owes(s, at) || s.fn.echoed() > 0 && other.owesAny(s.fn)) {
			return true, false
		}
	}
	again := len(a.last) > 0 && Func(a.last[0]) == s.fn && seen(a.last) == s
	return false, again && (a.twins[at] > 0 || s.fn.echoed() > 0)
}

// owesAny reports whether an exception to f may still come. That of a read does no
// harm; a write that was done must not be taken for a refused one.
func (a *account) owesAny(f Func) bool {
	return slices.ContainsFunc(a.debts, func(d debt) bool { return d.shape.fn == f })
}

func (a *account) overlaps(b *account) bool { return a.accepts(b.unit) || b.accepts(a.unit) }

// verdict is what an answer is found to be.
type verdict int

const (
	own       verdict = iota // the answer to the current request
	late                     // to an older one
	double                   // the same once more
	foreign                  // of a unit that owes nothing
	odd                      // of the unit that was asked, and like nothing that it was asked for
	uncertain                // an exception that may be the current request's
	twin                     // it repeats the answer to another request
)

// judge finds out what an answer is, given the request that is waited for, if
// there is one, and books it.
func (g *ledger) judge(t *turn, unit uint8, pdu []byte, now time.Time) verdict {
	var a *account
	for _, x := range g.accounts {
		if x.accepts(unit) && (a == nil || x == t.account || a != t.account && x.matching(pdu)) {
			a = x
		}
	}
	if a == nil {
		return foreign
	}
	a.word = now
	if a == t.account {
		for _, x := range g.accounts {
			if x != a && x.accepts(unit) && x.matching(pdu) {
				return a.drop(pdu, late) // it can't be told whose
			}
		}
	}
	return g.judgeOf(a, t, pdu, now)
}

// judgeOf is judge once the unit is known.
func (g *ledger) judgeOf(a *account, t *turn, pdu []byte, now time.Time) verdict {
	exception := Func(pdu[0])&exceptionFlag != 0
	first, others := uint64(0), false
	var mine *debt
	for i := range a.debts {
		d := &a.debts[i]
		if !d.matches(pdu) {
			continue
		}
		if first == 0 || d.first < first {
			first = d.first
		}
		if a == t.account && d.last == t.order {
			mine = d
			if others = others || d.first < t.order && !d.mild; d.first == t.order || d.mild {
				continue
			}
		}
		others = true
		found := t.order == 0 // it may have lain in a buffer for long
		if g.late = true; !found {
			g.longest = max(g.longest, min(now.Sub(d.sent), maxLateness))
		}
		a.late(now.Sub(d.sent), found, now)
	}
	repeated := bytes.Equal(pdu, a.last)
	switch {
	case first == 0 && repeated:
		a.doubles = true
		return double
	case first == 0 && a == t.account && t.order != 0:
		return a.drop(pdu, odd)
	case first == 0:
		return a.drop(pdu, foreign)
	case mine != nil && others && exception:
		return uncertain
	case others:
		if !repeated { // else it may be older than every debt
			a.settle(first - 1)
		}
		return a.drop(pdu, late)
	case repeated && a.paid.spot != t.spot && exception:
		return uncertain
	case repeated && a.paid.spot != t.spot:
		if len(a.twins) < maxTwins {
			a.twins[t.spot] = twinTurns
		}
		return twin
	}
	a.accept(t, mine, pdu, repeated)
	return own
}

// accept books the answer to t. One that repeats the answer before may be a second
// copy of it: then the own one is still to come.
func (a *account) accept(t *turn, mine *debt, pdu []byte, repeated bool) {
	if len(a.last) > 0 && seen(pdu) == seen(a.last) {
		a.run++
	} else {
		a.run = 0
		a.lengths = a.lengths || t.shape.fn.reads() && len(a.last) > 0 && Func(a.last[0]).reads() && Func(pdu[0]).reads()
	}
	if n := a.twins[t.spot]; n > 1 {
		a.twins[t.spot] = n - 1
	} else if n == 1 {
		delete(a.twins, t.spot)
	}
	switch {
	case repeated:
		mine.mild, mine.open = true, false
	case mine.mild:
		mine.open = false
		a.settle(mine.first - 1)
	default:
		a.settle(t.order)
	}
	a.last, a.paid, a.tries = append(a.last[:0], pdu...), *t, 0
}

// maxLateness bounds what one strange answer can teach.
const maxLateness = time.Minute

// drop notes an answer that is nobody's. If it is the last one once more, the
// last one stays what it was.
func (a *account) drop(pdu []byte, v verdict) verdict {
	if !bytes.Equal(pdu, a.last) {
		a.last, a.paid = append(a.last[:0], pdu...), turn{}
	}
	return v
}

// matching reports whether an answer could pay one of a's debts.
func (a *account) matching(pdu []byte) bool {
	return slices.ContainsFunc(a.debts, func(d debt) bool { return d.matches(pdu) })
}

func (d *debt) matches(pdu []byte) bool {
	if f := Func(pdu[0]); f&exceptionFlag != 0 {
		return d.shape.fn == f&^exceptionFlag
	}
	return d.shape.fits(seen(pdu))
}

// settle strikes the debts up to an order.
func (a *account) settle(order uint64) {
	kept := a.debts[:0]
	for _, d := range a.debts {
		if d.last > order {
			d.first = max(d.first, order+1)
			kept = append(kept, d)
		}
	}
	a.debts = kept
}

// forgive strikes every debt of a: of a unit that can't be asked for anything of
// another length, after a silence in which its answers would have come.
func (a *account) forgive() {
	a.debts, a.last, a.paid, a.tries, a.fresh = a.debts[:0], a.last[:0], turn{}, 0, 0
	clear(a.no)
}
