package modbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// hearing is what arrives while an answer is waited for, and is not it.
type hearing struct {
	late, double, noise int
	echoed              bool
	odd                 bool // an answer to nothing that is known
	foreign             [4]struct {
		unit uint8
		n    int
	}
	guess    error     // why the first bytes are no frame
	verdict  error     // of a frame that may have been the answer
	patience time.Time // how long another is waited for after such a one
	doubt    []byte    // an exception that may be the answer
}

// oddGrace is how long the right answer is waited for after a wrong one.
const oddGrace = 100 * time.Millisecond

// await waits for the answer to t on a framing that can't tell answers apart.
// Everything that arrives is judged and booked. It ends early once over holds.
// The answer lies in l's buffers until the next call; it may be an exception.
func (l *link) await(t *turn, deadline time.Time, over func() bool) ([]byte, error) {
	l.hears = hearing{}
	h := &l.hears
	for {
		unit, pdu, err := l.frame(t)
		if err != nil {
			return nil, err
		}
		if pdu == nil {
			until := deadline
			if !h.patience.IsZero() && h.patience.Before(until) {
				until = h.patience
			}
			if err := l.fill(until); err != nil {
				if h.doubt != nil && isTimeout(err) {
					return h.doubt, errUncertain
				}
				return nil, l.unheard(t, err)
			}
			continue
		}
		switch v := l.line.judge(t, unit, pdu); v {
		case own:
			if t.spot.fn.reads() && l.settings.Echo == EchoAuto {
				l.line.learnEcho(h.echoed)
			}
			return pdu, nil
		case twin:
			l.metrics.reject("duplicate")
			return nil, errTwin
		default:
			if answer := l.note(t, v, unit, pdu); answer != nil {
				return answer, nil
			}
		}
		if over != nil && over() {
			return nil, nil
		}
	}
}

var (
	// errUncertain comes with an exception that an older request may have caused.
	errUncertain = errors.New("the exception may answer an older request")
	// errTwin: the answer repeats the one to another request.
	errTwin = &Rejection{Reason: "duplicate", counted: true,
		Detail: "it repeats the answer to another request; the line may double answers"}
)

// note takes down an answer that is not t's for sure. It returns the PDU if it is
// t's all the same: of a device that repeats a write in a way of its own.
func (l *link) note(t *turn, v verdict, unit uint8, pdu []byte) []byte {
	h := &l.hears
	switch v {
	case late:
		h.late++
		l.metrics.reject("late")
		l.tellLate()
	case double:
		h.double++
		l.metrics.reject("duplicate")
	case foreign:
		l.metrics.reject("unit")
		for i := range h.foreign {
			if f := &h.foreign[i]; f.n == 0 || f.unit == unit {
				f.unit = unit
				f.n++
				break
			}
		}
	case odd:
		if f := Func(pdu[0]); f == t.shape.fn && !f.reads() {
			return pdu
		}
		h.odd = true
		err := lengthOrFunction(t, pdu)
		l.metrics.reject(err.Reason)
		h.conclude(err)
	case uncertain:
		h.doubt = bytes.Clone(pdu)
		h.conclude(errUncertain)
	}
	return nil
}

// conclude notes why there may be no answer any more, and waits a little longer.
func (h *hearing) conclude(err error) {
	if h.verdict == nil {
		h.verdict, h.patience = err, time.Now().Add(oddGrace)
	}
}

func lengthOrFunction(t *turn, pdu []byte) *Rejection {
	err := checkFunc(pdu, t.shape.fn)
	if err == nil {
		err = lengthError(pdu, t.shape.fn, int(t.shape.key))
	}
	r, ok := errors.AsType[*Rejection](err)
	if !ok {
		r = &Rejection{Reason: "function", Detail: err.Error()}
	}
	r.counted = true
	return r
}

// unheard says why there is no answer.
func (l *link) unheard(t *turn, err error) error {
	h := &l.hears
	if !isTimeout(err) {
		return err
	}
	if h.verdict != nil {
		return h.verdict
	}
	var b strings.Builder
	for _, f := range h.foreign {
		if f.n > 0 {
			fmt.Fprintf(&b, ", %d foreign answers from unit %d", f.n, f.unit)
		}
	}
	r := &Rejection{Reason: "unit", Err: err, counted: true}
	if b.Len() == 0 {
		r = nil
	}
	for _, c := range []struct {
		n    int
		what string
	}{{h.late, "late answers to older requests"}, {h.double, "answers for the second time"}, {h.noise, "stray bytes"}} {
		if c.n > 0 {
			fmt.Fprintf(&b, ", %d %s", c.n, c.what)
		}
	}
	switch {
	case r != nil:
		r.Detail = fmt.Sprintf("no answer from unit %d within %v; meanwhile came %s", l.settings.UnitID, l.settings.Timeout, b.String()[2:])
		if h.foreign[1].n == 0 {
			r.Detail += fmt.Sprintf("; if unit %d always answers as %d, set answer_unit: %d", l.settings.UnitID, h.foreign[0].unit, h.foreign[0].unit)
		}
		return r
	case h.guess != nil:
		return h.guess
	case b.Len() > 0:
		return fmt.Errorf("%w; meanwhile came %s%s", err, b.String()[2:], l.lateness())
	}
	return l.withLateness(err)
}

// fill waits until something arrives.
func (l *link) fill(deadline time.Time) error {
	if l.r > 0 {
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	}
	if l.w == len(l.buf) { // of noise, since a frame is much shorter
		l.skip(l.w)
		l.r, l.w = 0, 0
	}
	if err := l.setDeadline(deadline); err != nil {
		return err
	}
	got, err := l.conn.Read(l.buf[l.w:])
	l.w += got
	switch {
	case got > 0:
		l.state.heard()
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("wait for the answer: device closed the connection: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("wait for the answer: %w", err)
	case !time.Now().Before(deadline):
		return fmt.Errorf("wait for the answer: %w", os.ErrDeadlineExceeded)
	}
	return nil
}

// skip drops n bytes that are no part of a frame.
func (l *link) skip(n int) {
	if n > 0 {
		l.r += n
		l.hears.noise += n
		l.metrics.reject("noise")
	}
}

// frame takes the next whole answer out of the buffer, nil if there is none yet.
// Stray bytes and repeated requests are dropped. The error is of a stream that
// can't be followed any more. t is what is waited for, nil for nothing.
func (l *link) frame(t *turn) (unit uint8, pdu []byte, err error) {
	switch l.settings.Framing {
	case FramingRTU:
		unit, pdu = l.frameRTU(t)
		return unit, pdu, nil
	case FramingASCII:
		unit, pdu = l.frameASCII(t)
		return unit, pdu, nil
	}
	n, err := scanTCP(l.buf[l.r:l.w])
	if n == 0 || err != nil {
		return 0, nil, err
	}
	adu := l.buf[l.r : l.r+n]
	l.r += n
	return adu[mbapHeader-1], adu[mbapHeader:], nil
}

// frameRTU looks for a frame behind stray bytes: at each place, a length that the
// function gives and a checksum that is right. While a frame that began is not
// complete, only one that is waited for may overtake it.
func (l *link) frameRTU(t *turn) (uint8, []byte) {
	began := -1
	for i := l.r; i < l.w; i++ {
		b := l.buf[i:l.w]
		if whole, partly := l.repeats(t, b); whole {
			l.echoed(i)
			began, i = -1, l.r-1
			continue
		} else if partly {
			began = first(began, i)
			continue
		}
		n, err := rtuLength(b)
		if err != nil && i == l.r && t != nil && t.account.accepts(b[0]) && l.hears.guess == nil {
			l.hears.guess = err
		}
		switch {
		case err != nil:
			continue
		case n == 0 || n > len(b):
			began = first(began, i)
			continue
		}
		awaited := t != nil && t.account.accepts(b[0]) && t.like(b[1:n-2])
		switch sum := binary.LittleEndian.Uint16(b[n-2:]); {
		case sum == crc16(b[:n-2]) && (began < 0 || awaited):
			l.skip(i - l.r)
			l.r += n
			return b[0], b[1 : n-2]
		case awaited && began < 0 && l.hears.verdict == nil:
			l.hears.conclude(checksumError(b[:n-2], sum))
			l.metrics.reject("checksum")
		}
	}
	if began < 0 {
		began = l.w
	}
	l.skip(began - l.r)
	return 0, nil
}

func first(began, i int) int {
	if began >= 0 {
		return began
	}
	return i
}

// checksumError says what is wrong with a checksum.
func checksumError(body []byte, sum uint16) error {
	want := crc16(body)
	r := &Rejection{Reason: "checksum", counted: true, Detail: fmt.Sprintf("checksum is %04X, expected %04X", sum, want)}
	if sum == want<<8|want>>8 {
		r.Detail = "the two bytes of the checksum are swapped: the device or an adapter does not keep to the standard, and there is no setting for it"
	}
	return r
}

// like reports whether pdu looks like the answer to t, or like an exception.
func (t *turn) like(pdu []byte) bool {
	if Func(pdu[0])&exceptionFlag != 0 {
		return Func(pdu[0])&^exceptionFlag == t.shape.fn
	}
	return seen(pdu) == t.shape
}

// repeats reports whether b begins with the request that was just sent, or is the
// beginning of it. A write is repeated by the device too: there, only a line that
// is known for it counts.
func (l *link) repeats(t *turn, b []byte) (whole, partly bool) {
	if t == nil || len(l.sent) == 0 || l.settings.Echo == EchoNone || b[0] != l.sent[0] {
		return false, false
	}
	n := min(len(b), len(l.sent))
	if !bytes.Equal(b[:n], l.sent[:n]) {
		return false, false
	}
	if t.shape.fn.echoed() > 0 {
		yes, _ := l.line.echoes()
		if l.hears.echoed || !yes && l.settings.Echo != EchoDrop {
			return false, false
		}
	}
	return n == len(l.sent), n < len(l.sent)
}

// echoed drops the request that the line repeated at place i.
func (l *link) echoed(i int) {
	l.skip(i - l.r)
	l.r += len(l.sent)
	if l.hears.echoed = true; l.settings.Echo == EchoAuto {
		l.line.learnEcho(true)
	}
	l.metrics.reject("echo")
}

// frameASCII looks for a line that begins with a colon.
func (l *link) frameASCII(t *turn) (uint8, []byte) {
	for {
		b := l.buf[l.r:l.w]
		start := bytes.IndexByte(b, ':')
		if start < 0 {
			start = len(b)
		}
		if start > 0 {
			if l.hears.guess == nil && t != nil {
				l.hears.guess = &Rejection{Reason: "protocol", counted: true,
					Detail: fmt.Sprintf("ASCII answer begins with byte 0x%02X, expected ':'", b[0])}
			}
			l.skip(start)
			continue
		}
		if len(b) == 0 {
			return 0, nil
		}
		if whole, partly := l.repeats(t, b); whole {
			l.echoed(l.r)
			continue
		} else if partly {
			return 0, nil
		}
		end := bytes.Index(b, []byte("\r\n"))
		if again := bytes.LastIndexByte(b[:max(end, 0)], ':'); again > 0 {
			l.skip(again)
			continue
		}
		if end < 0 && len(b) <= maxASCIIADU {
			return 0, nil
		}
		if end < 0 {
			l.guessed("length", "ASCII answer is longer than %d characters", maxASCIIADU)
			l.skip(1)
			continue
		}
		unit, pdu := l.unhex(b[1:end])
		l.r += end + 2
		if pdu != nil {
			return unit, pdu
		}
		l.hears.noise += end + 2
	}
}

// unhex reads one ASCII frame; what is wrong with it is noted.
func (l *link) unhex(text []byte) (uint8, []byte) {
	if len(text) < 6 || len(text)%2 != 0 || len(text) > maxASCIIADU {
		l.guessed("length", "ASCII answer has %d characters between ':' and the end of the line", len(text))
		return 0, nil
	}
	l.plain = l.plain[:len(text)/2]
	if err := decodeHex(l.plain, text); err != nil {
		l.guessed("protocol", "ASCII answer: %v", err)
		return 0, nil
	}
	var sum byte
	for _, c := range l.plain {
		sum += c
	}
	if sum != 0 {
		l.guessed("checksum", "checksum of the ASCII answer is wrong by %d", sum)
		return 0, nil
	}
	return l.plain[0], l.plain[1 : len(l.plain)-1]
}

// guessed notes an answer that is broken.
func (l *link) guessed(reason, format string, args ...any) {
	l.metrics.reject(reason)
	l.hears.conclude(&Rejection{Reason: reason, counted: true, Detail: fmt.Sprintf(format, args...)})
}
