package s7

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// ErrVerify means that the PLC confirmed a write, and held another value when it was read
// back.
var ErrVerify = errors.New("the PLC holds another value than was written")

const (
	// settleTime is how long a PLC's program may hold an older value after the PLC has
	// confirmed a write, besides verify_delay.
	settleTime = time.Second
	// lookPause is between two looks at what the PLC holds.
	lookPause = 100 * time.Millisecond
	// restTime is how long a connection may be silent before it has to prove that it
	// works, when something is to be written over it.
	restTime = time.Second
)

// Write implements driver.Driver.
func (d *s7Driver) Write(ctx context.Context, w driver.Write) (driver.WriteResult, error) {
	op, err := d.newWrite(w)
	if err != nil {
		return driver.WriteResult{}, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	j := driver.NewJob(ctx, op.do)
	op.job, j.GiveUp, j.Doubt = j, op.giveUp, op.overtaken
	if err := d.jobs.Submit(j, "the PLC"); err != nil {
		return driver.WriteResult{}, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	return op.result(), nil
}

// stage is how far a write is.
type stage int

const (
	toSend   stage = iota // nothing is under way
	toVerify              // the PLC has confirmed it; does it hold the value?
	toFind                // it was sent, and only what the PLC holds can tell what became of it
)

// writeOp writes one point, over several sessions if need be. The request is handed to
// the kernel once: it is sent again only if nothing of it left the gateway, or as often as
// write_retry allows. What can't be found out is reported as [driver.ErrOutcomeUnknown].
type writeOp struct {
	d     *s7Driver
	job   *driver.Job[*session]
	table *point.Table
	pt    Point
	check Point // where it is read back
	raw   frame.Value
	want  []byte // of pt's bytes from head on

	stage  stage
	resent int       // of write_retry
	until  time.Time // when looking ends
	why    error     // what left the outcome open
	looked error     // why the last look showed nothing
	note   string
	got    frame.Value // what the PLC holds, raw; none if that isn't known
	at     time.Time   // when that was seen, or when the PLC confirmed
}

// newWrite checks all that can be checked without the PLC.
func (d *s7Driver) newWrite(w driver.Write) (*writeOp, error) {
	p := d.plans.Newest()
	i, err := driver.Writable(p.table, d.id, w.Tag, d.settings.EnableWrite)
	if err != nil {
		return nil, err
	}
	v, pt := p.table.Variable(i), p.points[i]
	raw := w.Value
	if pt.count > 0 {
		if text := raw.Text(); raw.Kind() == frame.KindString { // from a command line
			if raw, err = frame.ParseJSONValue([]byte(text)); err != nil {
				return nil, fmt.Errorf("%w: expected an array such as [1,2]: %w", ErrRange, err)
			}
		}
		raw, err = p.table.InvertArray(i, raw, pt.count)
	} else {
		raw, err = p.table.Invert(i, raw)
	}
	if err != nil {
		return nil, err
	}
	op := &writeOp{d: d, table: p.table, pt: pt, raw: raw}
	if op.check, err = verifyPoint(v, op.pt); err != nil {
		return nil, err
	}
	op.want, err = op.pt.written(raw)
	return op, err
}

// written returns the bytes that are sent for raw: of a text its length and characters,
// but not how much room the PLC has for it.
func (p *Point) written(raw frame.Value) ([]byte, error) {
	data, err := p.encode(raw)
	if err != nil || p.codec == nil {
		return data, err
	}
	end := len(data)
	switch p.kind {
	case kindString:
		end = 2 + int(data[1])
	case kindWString:
		end = 4 + 2*(int(data[2])<<8|int(data[3]))
	}
	return data[p.codec.head():end], nil
}

// verifyPoint is where a write to pt is read back.
func verifyPoint(v *config.Variable, pt Point) (Point, error) {
	if v.VerifyAddress == nil {
		return pt, nil
	}
	there := *v
	there.Address, there.VerifyAddress = *v.VerifyAddress, nil
	p, _, err := Resolve(&there)
	p.index = pt.index
	if field, ok := errors.AsType[*config.FieldError](err); ok && len(field.Path) > 0 && strings.HasPrefix(field.Path[0], "address") {
		return p, config.FieldErrorf("verify_"+strings.Join(field.Path, "."), "%s", field.Msg)
	}
	return p, err
}

// do implements the job: one step over one session.
func (op *writeOp) do(c *session) error {
	switch op.stage {
	case toVerify:
		return op.confirm(c)
	case toFind:
		return op.find(c)
	}
	return op.first(c)
}

// first sends the request.
func (op *writeOp) first(c *session) error {
	place := op.pt.Place
	if op.pt.codec != nil {
		place.Start += uint32(op.pt.codec.head())
	}
	if place.Size = len(op.want); op.pt.count > 0 {
		place.Bit = -1 // of bits whole bytes are written
	}
	if most := c.mostWrite(); place.Size > most {
		return &driver.Ended{Result: fmt.Errorf("%w: %d bytes, but the PLC takes %d in one message, and in two it would see half of the value", ErrRange, place.Size, most)}
	}
	if err := op.prove(c); err != nil {
		return err
	}
	if !op.job.Claim() {
		return &driver.Ended{Result: driver.ErrOvertaken}
	}
	params, data := writeBody(place, op.want)
	before := c.sent
	m, err := c.ask(pduJob, params, data)
	if err == nil {
		err = c.rejected(checkWrite(m))
	}
	op.at = time.Now()
	op.d.metrics.done(op.d.id, "write", err)
	switch {
	case err == nil:
		return op.confirmed(c)
	case c.sent == before:
		op.job.Unclaim()
		return err
	case intact(err):
		return &driver.Ended{Result: err}
	}
	op.why = err
	if !op.readable() {
		return op.unresolved(err)
	}
	op.stage, op.until = toFind, op.at.Add(op.d.settings.VerifyDelay+2*op.d.settings.Timeout+settleTime)
	return &driver.GoOn{After: max(op.d.settings.VerifyDelay, lookPause), Conn: err}
}

// prove makes sure that the connection works, and that the PLC has the room for a text. If it
// says that it has not, something else is there, or nothing has set the text up yet: what was
// written would be no text. A PLC that doesn't say is believed to have what the table says.
func (op *writeOp) prove(c *session) error {
	if op.pt.codec == nil || op.pt.codec.head() == 0 {
		return c.prove(op.check.Place)
	}
	head := op.pt.Place
	head.Size = op.pt.codec.head()
	data, err := c.read(head)
	if err != nil {
		return unlessIntact(err)
	}
	if room, n := unsigned(data), unsigned(op.want[:head.Size]); n > room {
		return &driver.Ended{Result: fmt.Errorf("%w: the text has %d characters, and the PLC says that it has room for %d there; compare the address with the block, and load the block's start values", ErrRange, n, room)}
	}
	return nil
}

// unsigned reads a number of one byte or two.
func unsigned(b []byte) (n int) {
	for _, x := range b {
		n = n<<8 | int(x)
	}
	return n
}

// prove makes sure that the connection works, if it was silent for a while: a PLC that
// was switched off and on does not know it any more.
func (c *session) prove(p Place) error {
	if t, ok := c.lease.(endpoint.Trust); ok {
		if err := t.Check(); err != nil {
			return linkError(err)
		}
	}
	if time.Since(c.heard) < restTime {
		return nil
	}
	if _, err := c.read(Place{Area: p.Area, DB: p.DB, Start: p.Start, Size: max(1, min(p.Size, 2)), Bit: -1}); !intact(err) {
		return err
	}
	return nil
}

// confirmed goes on after the PLC has confirmed the write.
func (op *writeOp) confirmed(c *session) error {
	if !op.d.settings.VerifyWrite {
		return nil
	}
	delay := op.d.settings.VerifyDelay
	op.stage, op.until = toVerify, op.at.Add(delay+settleTime)
	if delay > 0 {
		return &driver.GoOn{After: delay}
	}
	return op.confirm(c)
}

// confirm looks whether the PLC holds what it has confirmed.
func (op *writeOp) confirm(c *session) error {
	same, err := op.look(c)
	switch {
	case same:
		return nil
	case intact(err) && err != nil && !op.table.Variable(op.pt.index).Access.Readable():
		return nil // write-only, as the table says
	case time.Now().Before(op.until) && (err == nil || !intact(err)):
		return &driver.GoOn{After: lookPause, Conn: unlessIntact(err)}
	case err != nil:
		op.note = fmt.Sprintf("the PLC confirmed it, and it could not be read back: %v", err)
		return &driver.Ended{Conn: unlessIntact(err)}
	}
	return &driver.Ended{Result: fmt.Errorf("%w: wrote %s, read back %s", ErrVerify, op.engineering(op.raw), op.engineering(op.got))}
}

// unlessIntact returns err if the connection can't be used after it.
func unlessIntact(err error) error {
	if intact(err) {
		return nil
	}
	return err
}

// find looks whether the PLC holds the value, until it does or time is up.
func (op *writeOp) find(c *session) error {
	same, err := op.look(c)
	switch {
	case same:
		op.note = fmt.Sprintf("confirmed by reading back (%v)", op.why)
		return nil
	case time.Now().Before(op.until) && (err == nil || !intact(err)):
		return &driver.GoOn{After: lookPause, Conn: unlessIntact(err)}
	}
	return op.unresolved(unlessIntact(err))
}

// unresolved ends a write of which nobody knows whether it was executed, or sends it again
// if the configuration allows that.
func (op *writeOp) unresolved(conn error) error {
	if op.resent >= op.d.settings.WriteRetry {
		return &driver.Ended{Result: op.unknown(op.why), Conn: conn}
	}
	op.resent++
	op.stage, op.looked, op.got = toSend, nil, frame.Value{}
	op.job.Unclaim()
	return &driver.GoOn{After: lookPause, Conn: conn}
}

// look reads what the PLC holds into op.got.
func (op *writeOp) look(c *session) (same bool, err error) {
	data, err := c.read(op.check.Place)
	if op.looked = err; err != nil {
		return false, err
	}
	op.at = time.Now()
	op.got, _ = op.check.decode(data)
	if op.pt.codec == nil && (op.pt.kind != kindBool || op.pt.count > 0) {
		return bytes.Equal(data, op.want), nil
	}
	return op.got == op.comparable(), nil
}

// comparable is what reading back gives for what was written.
func (op *writeOp) comparable() frame.Value {
	switch op.pt.kind {
	case kindBool:
		return frame.BoolValue(op.want[0] != 0)
	case kindChar:
		v, _ := op.pt.decode(op.want)
		return v
	}
	return op.raw
}

// unknown is the outcome of a write that was sent, in words.
func (op *writeOp) unknown(why error) error {
	text := "it was not read back"
	switch {
	case op.looked != nil:
		text = fmt.Sprintf("reading back failed: %v", op.looked)
	case !op.got.IsNone():
		text = fmt.Sprintf("the PLC holds %s, not %s", op.engineering(op.got), op.engineering(op.raw))
	case !op.readable():
		text = "it can't be read back"
	}
	return fmt.Errorf("%w: the PLC may have executed it: %w; %s", driver.ErrOutcomeUnknown, why, text)
}

// giveUp is what the caller is told when the job ends with err before it is done.
func (op *writeOp) giveUp(err error) error {
	switch op.stage {
	case toFind:
		return op.unknown(fmt.Errorf("%w, then %w", op.why, err))
	case toVerify:
		op.note = fmt.Sprintf("the PLC confirmed it, and it was not read back: %v", err)
		return nil
	}
	return fmt.Errorf("not sent: %w", err)
}

// overtaken is what a caller is told who does not wait for a write that is under way.
func (op *writeOp) overtaken(err error) error {
	return fmt.Errorf("%w: it was under way: %w", driver.ErrOutcomeUnknown, err)
}

// readable reports whether what was written may be read back.
func (op *writeOp) readable() bool {
	v := op.table.Variable(op.pt.index)
	return op.d.settings.VerifyWrite || v.Access.Readable() || v.VerifyAddress != nil
}

// engineering returns a raw value in engineering units.
func (op *writeOp) engineering(raw frame.Value) frame.Value {
	v, _ := op.table.Scale(op.pt.index, raw)
	return v
}

func (op *writeOp) result() driver.WriteResult {
	r := driver.WriteResult{TS: op.at.UnixNano(), Note: op.note}
	if !op.got.IsNone() {
		r.ReadBack = op.engineering(op.got)
	}
	return r
}
