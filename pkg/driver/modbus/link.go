package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	gomodbus "github.com/goburrow/modbus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// link speaks one framing with one unit, over one lease at a time. It belongs to
// one goroutine. Requests are built once, with the plan, and stamped anew each time; answers are checked and parsed where they lie in the buffer, so that
// polling allocates nothing.
type link struct {
	settings *Settings
	packager gomodbus.Packager
	metrics  *driverMetrics

	ctx     context.Context // of the lease: once it ends, answers get a last while
	conn    net.Conn
	until   time.Time // the connection's deadline
	heard   time.Time // when the last answer with others in flight came
	out     []byte    // requests to be sent together
	buf     []byte    // buf[r:w] has arrived and was not consumed
	r, w    int
	tx      uint16
	flights []flight
	noMask  bool          // the device does not know function 0x16, or is silent about it
	fault   bool          // the driver's device does not answer
	writes  int           // requests that were handed over whole
	wait    time.Duration // of the answer to a write; 0: the timeout

	line    *line
	account *account
	state   *connection
	plan    *plan  // of the driver, nil for a probe
	turn    turn   // of the flight, on a framing that can't tell answers apart
	sent    []byte // the last request
	plain   []byte // an ASCII answer in binary
	hears   hearing
	quiet   bool                // nothing came since the last request
	partial bool                // a request was sent in part, perhaps: no other can follow
	strays  int                 // answers with other transaction ids, since the lease began
	asked   [askedKept]asked    // the last requests with transaction ids
	told    int                 // late answers of the account that onLate was told of
	onLate  func(time.Duration) // is told how long a late answer took; nil: nobody is
}

// asked is when a request was sent.
type asked struct {
	tx uint16
	at time.Time
}

const (
	askedKept = 64                   // as many as can be in flight
	lainLong  = 5 * time.Millisecond // what is there sooner after a request may have come long before it
)

// flight is a request that waits for its answer.
type flight struct {
	tx   uint16
	req  *request
	sent time.Time
}

// errStray is an answer to no request in flight: dropped, and waiting goes on.
var errStray = errors.New("answer belongs to no request in flight")

// How long nothing must arrive before a request: on a network, on a serial line,
// and once something has.
const (
	networkSilence = 200 * time.Microsecond
	serialSilence  = 500 * time.Microsecond
	busySilence    = 5 * time.Millisecond
)

func newLink(s *Settings, m *driverMetrics) *link {
	l := &link{
		settings: s,
		packager: s.Framing.packager(s.UnitID),
		metrics:  m,
		buf:      make([]byte, 4096),
		line:     newLine(),
		plain:    make([]byte, 0, maxASCIIADU/2+1),
		flights:  make([]flight, 0, s.MaxInflight),
	}
	return l
}

// attach begins a lease.
func (l *link) attach(ctx context.Context, conn net.Conn) {
	if conn != l.conn {
		l.conn = conn
		if ln := lineOf(conn, l.line); ln != l.line || l.account == nil {
			l.retire()
			l.line, l.account = ln, ln.account(l.settings, l.plan != nil)
			ln.wants(l, l.settings.RequestGap)
			l.told, _ = ln.lates(l.account)
		}
		l.state, l.partial = l.line.meet(conn), false
	}
	l.ctx, l.until, l.r, l.w, l.strays = ctx, time.Time{}, 0, 0, 0
	l.out, l.flights = l.out[:0], l.flights[:0]
	l.tx = uint16(l.line.tx.Load())
}

// detach ends a lease. It returns an error if the connection must not be used
// again: something arrived that nobody asked for.
func (l *link) detach() error {
	l.line.tx.Store(uint32(l.tx))
	if l.r == l.w {
		return nil
	}
	if l.ordered() {
		l.sweep()
		return nil
	}
	l.metrics.reject("trailing")
	return rejectf("trailing", "%d bytes after the answer", l.w-l.r)
}

// leave ends a lease after an answer or none and returns why the connection must
// not be used again, nil if it may. A timeout alone is no reason: an answer that
// comes after all is known by its transaction id, or stands in the ledger; and a
// new connection to a serial device server would get it just the same.
func (l *link) leave(err error) error {
	l.rest()
	broken := l.detach()
	if l.spoiled(err) {
		broken = err
	}
	if broken != nil {
		l.part()
		return broken
	}
	if l.settings.CloseAfter == CloseExchange {
		_ = l.conn.Close() // nothing is due on it
		l.part()
	}
	return nil
}

// part forgets the connection.
func (l *link) part() {
	l.line.part(l.state)
	l.conn = nil
}

// spoiled reports whether the connection can't be used on after err.
func (l *link) spoiled(err error) bool {
	if intact(err) {
		return false
	}
	if l.partial {
		return true
	}
	if isTimeout(err) {
		switch l.settings.OnTimeout {
		case TimeoutKeep:
			return false
		case TimeoutReconnect:
			return true
		}
		return l.line.tired(l.state, l.ordered())
	}
	r, ok := errors.AsType[*Rejection](err)
	return !(ok && !r.astray) && !errors.Is(err, ErrVerify) && !errors.Is(err, errNotSent)
}

// timedOut notes a timeout.
func (l *link) timedOut() {
	if l.quiet {
		l.state.silent.Add(1)
	}
}

// tellLate tells of the account's last late answer, if it is new.
func (l *link) tellLate() {
	n, took := l.line.lates(l.account)
	if n != l.told && l.onLate != nil {
		l.onLate(took)
	}
	l.told = n
}

// stray notes an answer to no request in flight, by its transaction id.
func (l *link) stray(tx uint16) {
	l.metrics.reject("transaction")
	l.strays++
	now := time.Now()
	if a := l.asked[tx%askedKept]; a.tx == tx && !a.at.IsZero() && now.Sub(l.asked[l.tx%askedKept].at) > lainLong {
		l.line.late(l.account, now.Sub(a.at), now)
		l.tellLate()
	}
}

// timed notes that request tx was sent now.
func (l *link) timed(tx uint16, now time.Time) { l.asked[tx%askedKept] = asked{tx, now} }

func (l *link) ordered() bool { return l.settings.Ordered() }

// rest ends an exchange: pauses count from now on.
func (l *link) rest() {
	if l.line.gap.Load() > 0 {
		l.line.rest()
	}
}

// retire ends what a driver wants of its line.
func (l *link) retire() { l.line.wants(l, 0) }

// pace waits until a request may be sent.
func (l *link) pace() error {
	var at time.Time
	if l.settings.ConnectDelay > 0 {
		at = l.state.born.Add(l.settings.ConnectDelay)
	}
	if l.line.gap.Load() > 0 {
		at = later(at, l.line.turnAt())
	}
	if at.IsZero() {
		return nil
	}
	if sleep(l.ctx, time.Until(at)); l.ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errNotSent, context.Cause(l.ctx))
	}
	return nil
}

// queue adds req to what the next flush sends.
func (l *link) queue(req *request) {
	l.tx++
	at := len(l.out)
	l.out = append(l.out, req.adu...)
	if l.settings.Framing == FramingTCP {
		binary.BigEndian.PutUint16(l.out[at:], l.tx)
	}
	l.flights = append(l.flights, flight{tx: l.tx, req: req})
}

// flush sends what was queued, in one write where the transport is a stream.
func (l *link) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	defer func() { l.out = l.out[:0] }()
	if l.ordered() {
		fl := &l.flights[0]
		at := l.settings.spot(fl.req.fn, fl.req.addr, fl.req.qty)
		if err := l.prove(at.shape(), at); err != nil {
			return err
		}
		var err error
		l.turn, _, err = l.send(l.out, at.shape(), at)
		fl.sent = time.Now()
		return err
	}
	if err := l.pace(); err != nil {
		return err
	}
	now := time.Now()
	fresh := slices.IndexFunc(l.flights, func(f flight) bool { return f.sent.IsZero() })
	l.stamp(fresh, now)
	if _, err := l.mayWrite(now, l.settings.Timeout); err != nil {
		return err
	}
	l.quiet = true
	for rest := l.out; len(rest) > 0; {
		n := len(rest)
		if l.settings.datagram { // one in each
			n = mbapHeader - 1 + int(binary.BigEndian.Uint16(rest[4:]))
		}
		if err := l.write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if l.settings.held {
		l.stamp(fresh, time.Now())
	}
	return nil
}

// stamp notes that the flights from the first on are sent now.
func (l *link) stamp(first int, now time.Time) {
	for i := first; i >= 0 && i < len(l.flights); i++ {
		l.flights[i].sent = now
		l.timed(l.flights[i].tx, now)
	}
}

// longestHold is how long an endpoint's turnaround or rate may hold a request back.
const longestHold = 15 * time.Second

// mayWrite sets the deadline for a request that is sent now and whose answer may take
// so long, and returns it. The time for which the endpoint holds the request back is
// not the device's: it comes on top, and the answer's time counts from the write.
func (l *link) mayWrite(now time.Time, answer time.Duration) (time.Time, error) {
	deadline := now.Add(answer)
	if l.settings.held {
		return deadline, l.setDeadline(deadline.Add(longestHold))
	}
	return deadline, l.setDeadline(deadline)
}

// send sends one request on a framing that can't tell answers apart, and books it.
func (l *link) send(adu []byte, s shape, at spot) (t turn, deadline time.Time, err error) {
	if err := l.pace(); err != nil {
		return t, deadline, err
	}
	if err := l.settle(); err != nil {
		return t, deadline, err
	}
	l.quiet = true
	if deadline, err = l.mayWrite(time.Now(), l.answerTime(s.fn)); err != nil {
		return t, deadline, err
	}
	if l.settings.Framing == FramingTCP {
		l.tx++
		binary.BigEndian.PutUint16(adu, l.tx) // for the device's sake
	}
	l.sent = append(l.sent[:0], adu...)
	if !l.settings.broadcast() {
		t = l.line.begin(l.account, s, at)
	}
	err = l.write(adu)
	if l.settings.held {
		deadline = time.Now().Add(l.answerTime(s.fn))
	}
	return t, deadline, err
}

func (l *link) write(p []byte) error {
	if n, err := l.conn.Write(p); err != nil {
		l.partial = true
		if n == len(p) {
			l.writes++
		}
		return fmt.Errorf("send request: %w", err)
	}
	l.writes++
	return nil
}

// setDeadline sets the connection's deadline to t, sooner if the driver is to
// stop. Looking at ctx afterwards means that whoever comes second, this or the
// driver's abort, sets the sooner one.
func (l *link) setDeadline(t time.Time) error {
	if t.Equal(l.until) {
		return nil
	}
	l.until = t
	err := l.conn.SetDeadline(t)
	if last := time.Now().Add(driver.Grace); err == nil && l.ctx.Err() != nil && last.Before(t) {
		err = l.conn.SetDeadline(last)
	}
	if err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	return nil
}

// settle takes what has arrived before a request, on a framing without transaction
// ids: it can be no answer to what is not asked yet, and says what is still owed.
// While something arrives, it waits: on a line, another is still speaking. (The
// pause of 3.5 characters that a serial line needs between frames is the endpoint's.)
func (l *link) settle() error {
	pause := serialSilence
	l.sweep()
	if !l.settings.Serial {
		if l.line.even(l.account) {
			return nil // at most a repetition could come, which is found out
		}
		pause = networkSilence
	}
	end := time.Now().Add(l.settings.Timeout)
	for {
		switch err := l.fill(time.Now().Add(pause)); {
		case err == nil:
		case isTimeout(err):
			l.skip(l.w - l.r)
			return nil
		default:
			return fmt.Errorf("before the request: %w", err)
		}
		l.sweep()
		pause = busySilence
		if time.Now().After(end) {
			return rejectf("trailing", "the line is never silent; another master may be on it")
		}
	}
}

// sweep judges the whole answers in the buffer, where none is due. It reports whether
// the link's unit answered what it was not asked.
func (l *link) sweep() (unknown bool) {
	for {
		unit, pdu, err := l.frame(nil)
		if err != nil {
			l.skip(l.w - l.r)
		}
		if pdu == nil {
			return unknown
		}
		switch l.line.judge(&turn{}, unit, pdu) {
		case late:
			l.metrics.reject("late")
			l.tellLate()
		case double:
			l.metrics.reject("duplicate")
		default:
			unknown = unknown || l.account.accepts(unit)
			l.metrics.reject("trailing")
		}
	}
}

// receive waits for one whole ADU until deadline. It lies in l's buffer until
// the next call.
func (l *link) receive(deadline time.Time) ([]byte, error) {
	for {
		n, err := scanTCP(l.buf[l.r:l.w])
		if err != nil {
			return nil, err
		}
		if n > 0 {
			adu := l.buf[l.r : l.r+n]
			l.r += n
			return adu, nil
		}
		if err := l.fill(deadline); err != nil {
			return nil, err
		}
	}
}

// next waits for an answer to one of the requests in flight and takes that one
// out. The time that an answer may take counts from the one before, if that came
// later than the request was sent: a device that works off its requests one by
// one is not late. Answers to none are dropped and counted. err is a transport's failure or a
// [*Rejection]; an exception is a PDU like others here.
func (l *link) next() (fl flight, pdu []byte, err error) {
	if l.ordered() {
		return l.nextOrdered()
	}
	deadline := later(l.flights[0].sent, l.heard).Add(l.settings.Timeout)
	for {
		adu, err := l.receive(deadline)
		if err != nil {
			if isTimeout(err) {
				l.timedOut()
			}
			return flight{}, nil, l.withStrays(err)
		}
		i, pdu, err := l.match(adu)
		if errors.Is(err, errStray) {
			l.stray(binary.BigEndian.Uint16(adu))
			continue
		}
		if err != nil {
			return flight{}, nil, err
		}
		fl = l.flights[i]
		if l.flights = slices.Delete(l.flights, i, i+1); len(l.flights) > 0 {
			l.heard = time.Now()
		}
		return fl, pdu, nil
	}
}

// withStrays says what came instead of an answer.
func (l *link) withStrays(err error) error {
	switch {
	case !isTimeout(err):
		return err
	case l.strays == 0:
		return l.withLateness(err)
	}
	if late := l.lateness(); late != "" {
		return fmt.Errorf("%w; meanwhile came %d late answers%s", err, l.strays, late)
	}
	return fmt.Errorf("%w; meanwhile came %d answers with other transaction ids: late ones, or the device does not keep to them (accept_transaction)",
		err, l.strays)
}

// nextOrdered is next where only one request can be in flight.
func (l *link) nextOrdered() (flight, []byte, error) {
	fl := l.flights[0]
	pdu, err := l.answerTo(&l.turn, fl.req.adu, fl.sent.Add(l.settings.Timeout))
	if err != nil {
		return flight{}, nil, err
	}
	l.flights = l.flights[:0]
	return fl, pdu, nil
}

// answerTo waits for the answer to t, which was sent as adu. A read whose answer
// only repeats the one to another request is asked once more, after a question of
// another length.
func (l *link) answerTo(t *turn, adu []byte, deadline time.Time) ([]byte, error) {
	pdu, err := l.await(t, deadline, nil)
	if err == errTwin && t.shape.fn.reads() { //nolint:errorlint // it is not wrapped
		if err := l.prove(t.shape, t.spot); err != nil {
			return nil, err
		}
		if *t, deadline, err = l.send(adu, t.shape, t.spot); err != nil {
			return nil, err
		}
		pdu, err = l.await(t, deadline, nil)
	}
	if isTimeout(err) {
		l.timedOut()
	}
	if err == errUncertain && t.shape.fn.reads() { //nolint:errorlint // it is not wrapped
		err = nil // a refusal more or less; of a write, it would say that nothing was done
	}
	return pdu, err
}

// match finds the request in flight that adu answers.
func (l *link) match(adu []byte) (i int, pdu []byte, err error) {
	tx := binary.BigEndian.Uint16(adu)
	for i = range l.flights {
		if l.flights[i].tx == tx {
			pdu, err := l.unpack(adu)
			return i, pdu, err
		}
	}
	return 0, nil, errStray
}

// unpack checks the unit of adu, which scanTCP has accepted.
func (l *link) unpack(adu []byte) ([]byte, error) {
	unit, s := adu[mbapHeader-1], l.settings
	if unit != s.UnitID && s.AnswerUnit.alias() != anyUnit && int(unit) != s.AnswerUnit.alias() {
		return nil, rejectf("unit", "answer is from unit %d, expected %d; if the device always answers so, set answer_unit: %d", unit, s.UnitID, unit)
	}
	return adu[mbapHeader:], nil
}
