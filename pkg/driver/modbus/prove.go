package modbus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// errNotSent marks an error from before a request was sent: the device can't have
// acted on it.
var errNotSent = errors.New("the request was not sent")

// freshQuiet is how long nothing must come after these.
const freshQuiet = 150 * time.Millisecond

// How a driver finds out whose answers come.
const (
	proofsAtOnce = 3  // questions per attempt
	freshRounds  = 5  // questions in a row that must be answered before a unit is believed that another process may have asked
	freshLengths = 3  // attempts with a length that nobody owes, before lengths are used again
	moreItems    = 3  // registers more than the longest that is known, at most
	strangeItems = 12 // the same of a length by chance
	pickyTries   = 4  // unanswered questions to a unit that has never answered two lengths
	quietTurns   = 5  // timeouts of silence after which a unit that refuses other lengths owes nothing
)

// prove makes sure that what comes next and looks like s can only be the answer to
// a request that is sent now: as long as the unit may still owe such an answer, it
// is asked for something of another length. A unit answers in order, so that the
// answer to this shows that older ones won't come any more.
func (l *link) prove(s shape, at spot) error {
	for range proofsAtOnce + freshRounds {
		l.line.mu.Lock()
		owed, twins := l.line.ledger.doubtful(l.account, s, at)
		lags, doubles := l.account.run >= runTurns, l.account.doubles
		picky := !l.account.lengths && l.account.tries >= pickyTries
		fresh := l.account.fresh > 0
		l.line.mu.Unlock()
		unsure := l.echoUnsure(s)
		if !owed && !twins && !lags && !unsure && !fresh {
			return nil
		}
		question, ok := l.otherLength(s, at, owed || twins || fresh || lags && doubles, fresh)
		if picky && (owed || fresh) {
			ok = false
		}
		switch {
		case !ok && !owed && !twins && !fresh: // a precaution only
			l.line.mu.Lock()
			l.account.run = 0
			l.line.mu.Unlock()
			return nil
		case !ok:
			if err := l.waitOut(); err != nil {
				return err
			}
			continue
		}
		if fresh {
			err := l.acquaint(question, s, at)
			if err != nil {
				return fmt.Errorf("%w: %w", errNotSent, err)
			}
			continue
		}
		if err := l.question(question, s, at, false); err != nil && (owed || twins || !isTimeout(err)) {
			return fmt.Errorf("%w: %w", errNotSent, err)
		}
	}
	l.line.mu.Lock()
	owed, twins := l.line.ledger.doubtful(l.account, s, at)
	fresh := l.account.fresh > 0
	l.line.mu.Unlock()
	if owed || twins || fresh {
		return fmt.Errorf("%w: %w", errNotSent, l.inDoubt("the device does not say clearly which"))
	}
	return nil
}

// acquaint asks one of the questions to a unit that a process before this one may have
// left with answers to give, which no debt speaks of. Each has a length by chance, which
// that process hardly asked for in the same order. The last is followed by a silence.
// Whatever else the unit says begins it anew.
func (l *link) acquaint(q spot, s shape, at spot) error {
	err := l.question(q, s, at, true)
	unknown := l.hears.odd
	l.line.mu.Lock()
	last := l.account.fresh == 1
	l.line.mu.Unlock()
	if err == nil && last && !unknown {
		unknown, err = l.speaks(min(freshQuiet, l.settings.Timeout))
	}
	l.line.mu.Lock()
	defer l.line.mu.Unlock()
	switch {
	case unknown:
		l.account.fresh = freshRounds
		return fmt.Errorf("unit %d still answers what was asked before this program began: %w", l.settings.UnitID, os.ErrDeadlineExceeded)
	case err == nil && l.hears.late == 0: // else that, too, may have been another's
		l.account.fresh--
	}
	return err
}

// speaks reports whether the unit answers within d what it was not asked.
func (l *link) speaks(d time.Duration) (bool, error) {
	end := time.Now().Add(d)
	for {
		switch err := l.fill(end); {
		case isTimeout(err):
			return false, nil
		case err != nil:
			return false, err
		}
		if l.sweep() {
			return true, nil
		}
	}
}

// echoUnsure reports whether s is a write whose answer looks like its own echo, on
// a line of which it isn't known yet whether it repeats requests.
func (l *link) echoUnsure(s shape) bool {
	if s.fn.echoed() == 0 || l.settings.Echo != EchoAuto {
		return false
	}
	_, known := l.line.echoes()
	return !known
}

// inDoubt is a timeout in words.
func (l *link) inDoubt(why string) error {
	l.line.mu.Lock()
	n := len(l.account.debts)
	l.line.mu.Unlock()
	return fmt.Errorf("unit %d owes answers to %d kinds of older requests%s, and %s: %w", l.settings.UnitID, n, l.lateness(), why, os.ErrDeadlineExceeded)
}

// lateness says how late answers have been, and what helps.
func (l *link) lateness() string {
	l.line.mu.Lock()
	late, longest := l.line.ledger.late, l.account.lateness(time.Now())
	l.line.mu.Unlock()
	switch {
	case longest > l.settings.Timeout:
		return " (" + patience(longest) + ")"
	case late:
		return " (answers have come after their timeout: raise timeout)"
	}
	return ""
}

// withLateness says of a timeout how late answers have been, if that is known.
func (l *link) withLateness(err error) error {
	if late := l.lateness(); late != "" {
		return fmt.Errorf("%w%s", err, late)
	}
	return err
}

// patience names the timeout for a device whose answers have taken so long.
func patience(longest time.Duration) string {
	enough := longest + longest/5
	step := time.Second
	for step > 10*time.Millisecond && enough < 2*step {
		step /= 10
	}
	return fmt.Sprintf("answers come after %v: raise timeout to %v", longest.Round(step/100), (enough + step - 1).Truncate(step))
}

// waitOut forgives the unit what it owes, if the line has been silent long enough:
// the way out where it refuses every other length, or answers no read at all.
func (l *link) waitOut() error {
	l.line.mu.Lock()
	quiet := max(quietTurns*l.settings.Timeout, 2*l.line.ledger.longest)
	wait := time.Until(l.account.word.Add(quiet))
	if wait <= 0 {
		l.account.forgive()
	}
	l.line.mu.Unlock()
	if wait > 0 {
		return fmt.Errorf("%w: %w", errNotSent,
			l.inDoubt(fmt.Sprintf("refuses the other lengths that would show which one comes; it is left alone for %v", wait.Round(time.Millisecond))))
	}
	return nil
}

// question asks for what has another length than s, and waits until an answer like
// s could only be to a later request.
func (l *link) question(q spot, s shape, at spot, fresh bool) error {
	adu, err := readEncoder(l.packager)(q.fn, q.addr, q.qty)
	if err != nil {
		return err
	}
	l.line.mu.Lock()
	l.account.tries++
	l.line.mu.Unlock()
	t, deadline, err := l.send(adu, q.shape(), q)
	if err != nil {
		return err
	}
	settled := func() bool {
		l.line.mu.Lock()
		defer l.line.mu.Unlock()
		owed, twins := l.line.ledger.doubtful(l.account, s, at)
		return !owed && !twins
	}
	if fresh {
		settled = nil // what came may be nobody's
	}
	pdu, err := l.await(&t, deadline, settled)
	l.rest()
	if s.fn.echoed() > 0 && l.settings.Echo == EchoAuto && !l.hears.echoed && (err == nil || isTimeout(err)) {
		l.line.learnEcho(false) // a line repeats requests whether they are answered or not
	}
	l.line.mu.Lock()
	l.account.run = 0
	l.line.mu.Unlock()
	switch {
	case errors.Is(err, errUncertain), err == nil && pdu != nil && Func(pdu[0])&exceptionFlag != 0:
		l.metrics.answered(q.fn, &Exception{Func: q.fn, Code: ExceptionCode(pdu[1])})
		l.line.mu.Lock()
		l.account.no[q] = true
		l.line.mu.Unlock()
		return nil
	case err == errTwin: //nolint:errorlint // it is not wrapped
		return nil
	}
	l.metrics.answered(q.fn, err)
	if isTimeout(err) {
		l.timedOut()
		return l.inDoubt(fmt.Sprintf("a read of another length (%s %d+%d) was not answered", q.fn, q.addr, q.qty))
	}
	return err
}

// otherLength chooses what to ask for instead of s: something that the plan reads
// anyway, or a part of it, or at last a little more than it reads. must tells that
// it is no mere precaution.
// strange asks for a length that no request of the plan has.
func (l *link) otherLength(s shape, at spot, must, strange bool) (spot, bool) {
	l.line.mu.Lock()
	defer l.line.mu.Unlock()
	a := l.account
	fresh := a.tries < freshLengths || a.tries%(freshLengths+1) == freshLengths
	var best spot
	var since uint64
	found, seenStrange := false, 0
	consider := func(q spot) bool {
		if q.shape() == s || a.no[q] || strange && l.planned(q.shape()) {
			return false
		}
		var d *debt
		for i := range a.debts {
			if a.debts[i].shape.fits(q.shape()) {
				d = &a.debts[i]
			}
		}
		if len(a.last) > 0 && seen(a.last) == q.shape() {
			return false // the answer could be a repetition
		}
		if strange { // one of them by chance
			if d != nil {
				return false
			}
			if seenStrange++; rand.IntN(seenStrange) == 0 {
				best, found = q, true
			}
			return false
		}
		switch {
		case d == nil && fresh:
			best, found = q, true
			return true
		case d == nil && !found:
			best, found = q, true
		case d != nil && d.first > since: // the younger, the more its answer settles
			best, since, found = q, d.first, true
		}
		return false
	}
	more := 0
	switch {
	case strange:
		more = strangeItems
	case must:
		more = moreItems
	}
	l.lengths(at, more, consider)
	return best, found
}

// lengths calls take with what may be asked for, the least odd first, until it
// returns true.
func (l *link) lengths(at spot, most int, take func(spot) bool) {
	known := l.known(at)
	for _, q := range known {
		if take(q) {
			return
		}
	}
	for _, q := range known {
		for _, part := range l.settings.parts(q) {
			if take(part) {
				return
			}
		}
	}
	for more := uint16(1); int(more) <= most; more++ {
		for _, q := range known {
			if wide, ok := l.settings.wider(q, more); ok && take(wide) {
				return
			}
		}
	}
}

// known returns what the plan reads with success, and the request's own place.
func (l *link) known(at spot) []spot {
	var list []spot
	switch {
	case at.fn.reads():
		list = append(list, at)
	case at.fn == FuncWriteCoil:
		list = append(list, l.settings.spot(FuncReadCoils, at.addr, 1))
	case at.fn == FuncWriteCoils:
		list = append(list, l.settings.spot(FuncReadCoils, at.addr, min(at.qty, maxReadBits)))
	case at.fn == FuncWriteRegister, at.fn == FuncMaskWriteRegister:
		list = append(list, l.settings.spot(FuncReadHolding, at.addr, 1))
	case at.fn == FuncWriteRegisters, at.fn == FuncReadWriteRegisters:
		list = append(list, l.settings.spot(FuncReadHolding, at.addr, min(at.qty, l.settings.readLimit(FuncReadHolding, at.addr))))
	}
	if l.plan == nil {
		return list
	}
	for _, c := range l.plan.classes {
		for _, r := range c.requests {
			if r.penalty == 0 {
				list = append(list, l.settings.spot(r.fn, r.addr, r.qty))
			}
		}
	}
	if len(list) == 0 && len(l.plan.points) > 0 {
		pt := &l.plan.points[0]
		list = append(list, l.settings.spot(pt.Func, pt.Addr, pt.Count))
	}
	return list
}

// planned reports whether a request of the plan is answered in shape s.
func (l *link) planned(s shape) bool {
	if l.plan == nil {
		return false
	}
	for _, c := range l.plan.classes {
		for _, r := range c.requests {
			if l.settings.spot(r.fn, r.addr, r.qty).shape() == s {
				return true
			}
		}
	}
	return false
}

// lengthStep returns how many items more make another length of f's answers for
// sure.
func (s *Settings) lengthStep(f Func) uint16 {
	switch {
	case !f.bits():
		return 1
	case s.BitBytes == BitsEven:
		return 16
	}
	return 8
}

// parts returns shorter reads of the same place.
func (s *Settings) parts(q spot) []spot {
	step := s.lengthStep(q.fn)
	var list []spot
	for n := step; n < q.qty && len(list) < 8; n += step {
		list = append(list, s.spot(q.fn, q.addr, n))
	}
	if q.qty > 10*step {
		list = append(list, s.spot(q.fn, q.addr, q.qty/2/step*step), s.spot(q.fn, q.addr, q.qty-step))
	}
	return list
}

// wider returns a read of a few items more, at least as many as make another length.
func (s *Settings) wider(q spot, more uint16) (spot, bool) {
	more *= s.lengthStep(q.fn)
	if q.fn.bits() && s.BitBytes > 0 {
		more += uint16(8 * max(0, int(s.BitBytes)-q.fn.dataBytes(q.qty)))
	}
	n := int(q.qty) + int(more)
	switch {
	case n > int(s.readLimit(q.fn, q.addr)):
		return q, false
	case int(q.addr)+n > 1<<16 && q.addr < more:
		return q, false
	case int(q.addr)+n > 1<<16, !s.uniform(q.fn, q.addr, uint16(n)) && q.addr >= more:
		q.addr -= more
	}
	return s.spot(q.fn, q.addr, uint16(n)), s.uniform(q.fn, q.addr, uint16(n))
}
