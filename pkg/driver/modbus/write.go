package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// ErrVerify means that the device took a write and holds another value.
var ErrVerify = errors.New("the device holds another value than was written")

const (
	// settleTime is how long a device may hold an older value after it has
	// confirmed a write, besides verify_delay.
	settleTime = time.Second
	// lookPause is between two looks at what the device holds.
	lookPause = 100 * time.Millisecond
)

// Write implements driver.Driver.
func (d *modbusDriver) Write(ctx context.Context, w driver.Write) (driver.WriteResult, error) {
	op, err := d.newWrite(w)
	if err != nil {
		return driver.WriteResult{}, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	j := driver.NewJob(ctx, op.do)
	op.job, j.GiveUp, j.Doubt = j, op.giveUp, op.overtaken
	if err := d.jobs.Submit(j, "the device"); err != nil {
		return driver.WriteResult{}, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	return op.result(), nil
}

// stage is how far a write is.
type stage int

const (
	toSend   stage = iota // nothing is under way: it may be sent
	toVerify              // the device has confirmed it; does it hold the value?
	toFind                // it was sent, and only what the device holds can tell what became of it
)

// writeOp writes one point, over several leases if need be.
//
// The request is handed to the kernel once. It is sent again only if it surely was
// not executed (not a whole request left the gateway, or the device said that it is
// busy), or as often as write_retry allows. What can't be found out is reported as
// [driver.ErrOutcomeUnknown].
type writeOp struct {
	d     *modbusDriver
	job   *driver.Job[*link]
	table *point.Table
	pt    Point
	check Point  // where it is read back
	want  []byte // registers, or packed bits; of a part of a register: one byte

	stage   stage
	trust   trust
	resent  int       // of write_retry
	busy    bool      // the device was, once
	masked  bool      // the last request was function 0x16
	until   time.Time // when looking ends
	why     error     // what left the outcome open
	acked   bool      // it was exception 0x05
	note    string    // what the person who asked should know
	verify  bool      // a difference is an error
	looked  error     // why the last look showed nothing
	got     []byte    // what the device holds; nil if that isn't known
	at      time.Time // when that was seen, or when the device confirmed
	written bool      // the device confirmed
}

// newWrite checks all that can be checked without the device.
func (d *modbusDriver) newWrite(w driver.Write) (*writeOp, error) {
	p := d.plans.Newest()
	i, err := driver.Writable(p.table, d.id, w.Tag, d.settings.EnableWrite)
	if err != nil {
		return nil, err
	}
	v := p.table.Variable(i)
	raw, err := p.table.Invert(i, w.Value)
	if err != nil {
		return nil, err
	}
	op := &writeOp{d: d, table: p.table, pt: p.points[i], verify: d.settings.VerifyWrite}
	if op.check, err = d.settings.verifyPoint(v, op.pt); err != nil {
		return nil, err
	}
	if op.pt.mask() == 0 {
		op.want, err = op.pt.encode(raw)
		return op, err
	}
	part, err := op.pt.encodeNumber(raw)
	op.want = []byte{byte(part)}
	if err == nil && d.settings.BitWrite == BitReadModifyWrite && d.settings.broadcast() {
		err = errors.New("bit_write: rmw reads the register first, and nobody answers a broadcast; set bit_write: mask")
	}
	return op, err
}

// do implements the job: one step over one lease.
func (op *writeOp) do(l *link) error {
	err := op.step(l)
	if e, ok := errors.AsType[*driver.Ended](err); ok && e.Result != nil && op.why != nil && !op.written && !errors.Is(e.Result, driver.ErrOutcomeUnknown) {
		// What became of the second attempt doesn't tell what became of the first.
		e.Result = op.unknown(fmt.Errorf("%w, then %w", op.why, e.Result))
	}
	return err
}

func (op *writeOp) step(l *link) error {
	switch op.stage {
	case toVerify:
		return op.confirm(l)
	case toFind:
		return op.find(l)
	}
	if err := op.trust.establish(l, op.proof()); err != nil {
		return err
	}
	return op.first(l)
}

// first sends the request.
func (op *writeOp) first(l *link) error {
	fn, data, err := op.request(l)
	switch {
	case err != nil && intact(err):
		return &driver.Ended{Result: fmt.Errorf("the register cannot be read, which comes before a part of it is written: %w", err)}
	case err != nil:
		return err
	}
	if !op.job.Claim() {
		return &driver.Ended{Result: driver.ErrOvertaken}
	}
	op.masked = fn == FuncMaskWriteRegister
	before := l.writes
	answer, err := l.transactWithin(l.settings.WriteTimeout, fn, data)
	switch {
	case err != nil && (l.writes == before || errors.Is(err, errNotSent)):
		op.job.Unclaim()
		return err
	case err == nil:
		err = op.answered(l, fn, data, answer)
	}
	op.at = time.Now()
	switch code := exceptionCode(err); {
	case err == nil:
		return op.confirmed(l)
	case code == Acknowledge:
		op.acked, op.why = true, err
		return op.open(nil)
	case code == ServerDeviceBusy && (!op.busy || op.mayResend()):
		// The standard says that a busy device has not executed the request and
		// that it is to be sent again later (V1.1b3, chapter 7).
		op.busy = true
		op.job.Unclaim()
		return &driver.GoOn{After: jitter(busyPause)}
	case code == IllegalFunction && op.masked && l.settings.BitWrite == BitAuto && !l.settings.broadcast():
		l.noMask = true
		op.job.Unclaim()
		return op.first(l)
	case code == IllegalFunction && op.masked:
		return &driver.Ended{Result: fmt.Errorf("%w; set bit_write: rmw if its program changes no other bit of the register", err)}
	case code == GatewayTarget, code == 0: // the unit behind a gateway may have done it
		op.why = err
		return op.open(unlessIntact(err))
	}
	return &driver.Ended{Result: err}
}

// unlessIntact returns err if the connection can't be used after it.
func unlessIntact(err error) error {
	if intact(err) || errors.Is(err, errUncertain) {
		return nil
	}
	return err
}

// confirmed goes on after the device has confirmed the write.
func (op *writeOp) confirmed(l *link) error {
	op.written = true
	switch {
	case l.settings.broadcast():
		op.note = "sent to all units; none confirms a broadcast"
		return nil
	case op.got != nil && bytes.Equal(op.got, op.want):
		return nil
	case !op.verify && (op.note == "" || !op.readable()):
		return nil
	}
	op.stage, op.until = toVerify, op.at.Add(l.settings.VerifyDelay+settleTime)
	if l.settings.VerifyDelay > 0 {
		return &driver.GoOn{After: l.settings.VerifyDelay}
	}
	return op.confirm(l)
}

// confirm looks whether the device holds what it has confirmed.
func (op *writeOp) confirm(l *link) error {
	same, err := op.look(l)
	switch {
	case same:
		return nil
	case intact(err) && err != nil && !op.table.Variable(op.pt.index).Access.Readable():
		return nil // write-only, as the table says
	case time.Now().Before(op.until) && (err == nil || !intact(err)):
		return &driver.GoOn{After: lookPause, Conn: unlessIntact(err)}
	case err != nil:
		op.warn(fmt.Sprintf("the device confirmed it, and could not be read back: %v", err))
		return &driver.Ended{Conn: unlessIntact(err)}
	case !op.verify:
		return nil // the note says what is odd
	}
	return &driver.Ended{Result: fmt.Errorf("%w: wrote %s, read back %s (bytes % X and % X)",
		ErrVerify, op.engineering(op.want), op.engineering(op.got), op.want, op.got)}
}

// open goes on after an answer that leaves the outcome open, or none. conn is what
// the connection suffered.
func (op *writeOp) open(conn error) error {
	s := op.d.settings
	if !op.readable() {
		return op.unresolved(conn)
	}
	window := max(2*lookPause, 2*s.Timeout)
	if op.acked {
		window = max(settleTime, s.WriteTimeout)
	}
	op.stage, op.until = toFind, op.at.Add(s.VerifyDelay+window)
	return &driver.GoOn{After: max(s.VerifyDelay, lookPause), Conn: conn}
}

// find looks whether the device holds the value, until it does or time is up.
func (op *writeOp) find(l *link) error {
	same, err := op.look(l)
	switch {
	case same:
		op.warn(fmt.Sprintf("confirmed by reading back (%v)", op.why))
		return nil
	case time.Now().Before(op.until) && (err == nil || !intact(err)):
		return &driver.GoOn{After: lookPause, Conn: unlessIntact(err)}
	}
	if op.masked && err == nil && l.settings.BitWrite == BitAuto {
		l.noMask = true // it answers, but not that function
	}
	return op.unresolved(unlessIntact(err))
}

// unresolved ends a write of which nobody knows whether it was executed, or sends
// it again if the configuration allows that.
func (op *writeOp) unresolved(conn error) error {
	if op.mayResend() {
		op.stage, op.acked, op.got = toSend, false, nil
		op.job.Unclaim()
		return &driver.GoOn{After: jitter(retryBase), Conn: conn}
	}
	return &driver.Ended{Result: op.unknown(op.why), Conn: conn}
}

// mayResend takes one from write_retry, if there is one left.
func (op *writeOp) mayResend() bool {
	if op.resent >= op.d.settings.WriteRetry {
		return false
	}
	op.resent++
	return true
}

// unknown is the outcome of a write that was sent, in words.
func (op *writeOp) unknown(why error) error {
	text := "it was not read back"
	switch {
	case op.looked != nil:
		text = fmt.Sprintf("reading back failed: %v", op.looked)
	case op.got != nil:
		text = fmt.Sprintf("the device holds %s, not %s", op.engineering(op.got), op.engineering(op.want))
	case !op.readable():
		text = "it cannot be read back"
	}
	if op.masked {
		text += "; if the device does not know function 0x16, set bit_write: rmw"
	}
	return fmt.Errorf("%w: the device may have executed it: %w; %s", driver.ErrOutcomeUnknown, why, text)
}

// giveUp is what the caller is told when the job ends with err before it is done.
func (op *writeOp) giveUp(err error) error {
	switch {
	case op.stage == toFind:
		return op.unknown(fmt.Errorf("%w, then %w", op.why, err))
	case op.stage == toVerify:
		op.warn(fmt.Sprintf("the device confirmed it, and it was not read back: %v", err))
		return nil
	case op.resent > 0:
		return op.unknown(fmt.Errorf("%w, and it could not be sent again: %w", op.why, err))
	}
	return fmt.Errorf("not sent: %w", err)
}

// overtaken is what a caller is told who does not wait for a write that is under
// way.
func (op *writeOp) overtaken(err error) error {
	return fmt.Errorf("%w: it was under way: %w", driver.ErrOutcomeUnknown, err)
}

// readable reports whether what was written may be read back.
func (op *writeOp) readable() bool {
	v := op.table.Variable(op.pt.index)
	return !op.d.settings.broadcast() && (op.verify || v.Access.Readable() || v.VerifyAddress != nil)
}

// look reads what the device holds into op.got.
func (op *writeOp) look(l *link) (same bool, err error) {
	data, err := l.read(op.check.Func, op.check.Addr, op.check.Count)
	if op.looked = err; err != nil {
		return false, err
	}
	op.got, op.at = op.check.normal(data), time.Now()
	return bytes.Equal(op.got, op.want), nil
}

// warn adds to the note.
func (op *writeOp) warn(text string) {
	if op.note != "" {
		text = op.note + "; " + text
	}
	op.note = text
}

// engineering returns bytes of the form of op.want in engineering units, none if
// they mean nothing.
func (op *writeOp) engineering(data []byte) frame.Value {
	var raw frame.Value
	switch {
	case op.pt.mask() == 0:
		raw, _ = op.pt.decode(data)
	case len(data) > 0:
		raw = op.pt.partValue(data[0])
	}
	v, _ := op.table.Scale(op.pt.index, raw)
	return v
}

func (op *writeOp) result() driver.WriteResult {
	r := driver.WriteResult{TS: op.at.UnixNano(), Note: op.note}
	if op.got != nil {
		r.ReadBack = op.engineering(op.got)
	}
	return r
}
