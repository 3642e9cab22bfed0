package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	gomodbus "github.com/goburrow/modbus"
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
	noMask  bool // the device does not know function 0x16
	suspect bool // an answer may still be on its way on a framing that could not tell
}

// flight is a request that waits for its answer.
type flight struct {
	tx   uint16
	req  *request
	sent time.Time
}

// errStray is an answer to no request in flight: dropped, and waiting goes on.
var errStray = errors.New("answer belongs to no request in flight")

// How long nothing must arrive before a request: on a serial line, where noise
// is common, and after a failure.
const (
	serialSilence = 500 * time.Microsecond
	lateSilence   = 50 * time.Millisecond
)

func newLink(s *Settings, m *driverMetrics) *link {
	l := &link{
		settings: s,
		packager: s.Framing.packager(s.UnitID),
		metrics:  m,
		buf:      make([]byte, 4096),
		tx:       uint16(time.Now().UnixNano()), // drivers that share a connection should not count alike
		flights:  make([]flight, 0, s.MaxInflight),
	}
	return l
}

// attach begins a lease.
func (l *link) attach(ctx context.Context, conn net.Conn) {
	l.ctx, l.conn, l.until, l.r, l.w = ctx, conn, time.Time{}, 0, 0
	l.out, l.flights = l.out[:0], l.flights[:0]
}

// detach ends a lease. It returns an error if the connection must not be used
// again: something arrived that nobody asked for.
func (l *link) detach() error {
	l.conn = nil
	if l.r == l.w {
		return nil
	}
	l.metrics.reject("trailing")
	return rejectf("trailing", "%d bytes after the answer", l.w-l.r)
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
	if err := l.settle(); err != nil {
		return err
	}
	now := time.Now()
	for i := range l.flights {
		if l.flights[i].sent.IsZero() {
			l.flights[i].sent = now
		}
	}
	defer func() { l.out = l.out[:0] }()
	if err := l.setDeadline(now.Add(l.settings.Timeout)); err != nil {
		return err
	}
	if !l.settings.datagram || l.settings.Framing != FramingTCP {
		return l.write(l.out)
	}
	for rest := l.out; len(rest) > 0; {
		n := mbapHeader - 1 + int(binary.BigEndian.Uint16(rest[4:]))
		if err := l.write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (l *link) write(p []byte) error {
	if _, err := l.conn.Write(p); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
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
	if last := time.Now().Add(answerGrace); err == nil && l.ctx.Err() != nil && last.Before(t) {
		err = l.conn.SetDeadline(last)
	}
	if err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	return nil
}

// settle drops what has arrived before a request, on a framing without
// transaction ids: it can be no answer to what is not asked yet. After a failure,
// when an answer may be late, it waits for silence. (The pause of 3.5 characters
// that a serial line needs between frames is the endpoint's.)
func (l *link) settle() error {
	var pause time.Duration
	switch {
	case l.settings.Framing == FramingTCP:
		return nil
	case l.suspect:
		pause = min(l.settings.Timeout, lateSilence)
	case l.settings.Serial:
		pause = serialSilence
	default:
		return nil
	}
	if l.r != l.w {
		l.metrics.reject("trailing")
	}
	l.r, l.w = 0, 0
	end := time.Now().Add(l.settings.Timeout)
	for {
		if err := l.setDeadline(time.Now().Add(pause)); err != nil {
			return err
		}
		n, err := l.conn.Read(l.buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.suspect = false
			return nil
		case err != nil:
			return fmt.Errorf("wait for a silent line: %w", err)
		case n > 0:
			l.metrics.reject("trailing")
		}
		if time.Now().After(end) {
			return rejectf("trailing", "the line is never silent; another master may be on it")
		}
	}
}

// receive waits for one whole ADU until deadline. It lies in l's buffer until
// the next call.
func (l *link) receive(deadline time.Time) ([]byte, error) {
	for {
		n, err := l.settings.Framing.scan(l.buf[l.r:l.w])
		if err != nil {
			return nil, err
		}
		if n > 0 {
			adu := l.buf[l.r : l.r+n]
			l.r += n
			return adu, nil
		}
		if l.r > 0 {
			l.w = copy(l.buf, l.buf[l.r:l.w])
			l.r = 0
		}
		if err := l.setDeadline(deadline); err != nil {
			return nil, err
		}
		got, err := l.conn.Read(l.buf[l.w:])
		l.w += got
		switch {
		case got > 0:
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("wait for the answer: device closed the connection: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return nil, fmt.Errorf("wait for the answer: %w", err)
		case !time.Now().Before(deadline):
			return nil, fmt.Errorf("wait for the answer: %w", os.ErrDeadlineExceeded)
		}
	}
}

// next waits for an answer to one of the requests in flight and takes that one
// out. The time that an answer may take counts from the one before, if that came
// later than the request was sent: a device that works off its requests one by
// one is not late. Answers to none are dropped and counted. err is a transport's failure or a
// [*Rejection]; an exception is a PDU like others here.
func (l *link) next() (fl flight, pdu []byte, err error) {
	deadline := later(l.flights[0].sent, l.heard).Add(l.settings.Timeout)
	for {
		adu, err := l.receive(deadline)
		if err != nil {
			return flight{}, nil, err
		}
		i, pdu, err := l.match(adu)
		if errors.Is(err, errStray) {
			l.metrics.reject("transaction")
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

// match finds the request in flight that adu answers.
func (l *link) match(adu []byte) (i int, pdu []byte, err error) {
	if l.settings.Framing != FramingTCP {
		pdu, err := l.unpack(adu)
		return 0, pdu, err
	}
	tx := binary.BigEndian.Uint16(adu)
	for i = range l.flights {
		if l.flights[i].tx == tx {
			pdu, err := l.unpack(adu)
			return i, pdu, err
		}
	}
	return 0, nil, errStray
}

// unpack checks the unit and the checksum of adu, which scan has accepted.
func (l *link) unpack(adu []byte) ([]byte, error) {
	switch l.settings.Framing {
	case FramingTCP:
		if unit := adu[mbapHeader-1]; unit != l.settings.UnitID {
			return nil, rejectf("unit", "answer is from unit %d, expected %d", unit, l.settings.UnitID)
		}
		return adu[mbapHeader:], nil
	case FramingRTU:
		pdu, err := l.packager.Decode(adu)
		if err != nil {
			return nil, rejectf("checksum", "%v", err)
		}
		if adu[0] != l.settings.UnitID {
			return nil, rejectf("unit", "answer is from unit %d, expected %d", adu[0], l.settings.UnitID)
		}
		return l.alone(adu[1 : 2+len(pdu.Data)])
	}
	if len(adu)%2 != 1 {
		return nil, rejectf("length", "ASCII answer has half a byte")
	}
	pdu, err := l.packager.Decode(adu)
	if err != nil {
		return nil, rejectf("checksum", "%v", err)
	}
	var unit [1]byte
	if err := decodeHex(unit[:], adu[1:3]); err != nil || unit[0] != l.settings.UnitID {
		return nil, rejectf("unit", "answer is from unit %s, expected %02X", adu[1:3], l.settings.UnitID)
	}
	return l.alone(append([]byte{pdu.FunctionCode}, pdu.Data...))
}

// alone refuses an answer that has more behind it, where only one can be due.
func (l *link) alone(pdu []byte) ([]byte, error) {
	if n := l.w - l.r; n > 0 {
		l.r = l.w
		return nil, rejectf("trailing", "%d bytes after the answer", n)
	}
	return pdu, nil
}
