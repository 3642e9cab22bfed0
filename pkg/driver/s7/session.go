package s7

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// session is a connection to a PLC: one lease, kept as long as it works, because the
// PLC knows it by its TSAPs and has agreed to a size of messages. It belongs to one
// goroutine. Requests are built with the plan and get their references when they are
// sent; answers are parsed where they lie in the buffer, so that polling allocates
// nothing for a point.
type session struct {
	lease   endpoint.Lease
	ctx     context.Context // once it ends, answers get a last while
	timeout time.Duration
	reject  func(reason string) // counts what was not believed; nil: nobody does

	pdu  int // bytes of a message
	jobs int // requests at the same time

	ref    uint16
	until  time.Time // the connection's deadline
	buf    []byte    // buf[r:w] has arrived and was not consumed
	r, w   int
	joined []byte    // a PDU that came in several TPDUs
	heard  time.Time // when the last message came
	sent   int       // packets that were handed over, whole or in part
}

// connect takes a connection and agrees with the PLC on how to speak.
func connect(ctx context.Context, ep endpoint.Acquirer, s *Settings, reject func(string)) (*session, error) {
	dialing, cancel := context.WithTimeout(ctx, s.Timeout+dialGrace)
	defer cancel()
	lease, err := ep.Acquire(dialing)
	if err != nil {
		return nil, err
	}
	c := newSession(ctx, lease, s, reject)
	if err := c.agree(s); err != nil {
		lease.Release(err)
		return nil, err
	}
	return c, nil
}

func newSession(ctx context.Context, lease endpoint.Lease, s *Settings, reject func(string)) *session {
	return &session{lease: lease, ctx: ctx, timeout: s.Timeout, reject: reject, buf: make([]byte, mostPacket), heard: time.Now()}
}

// dialGrace is how much longer than an answer a connection may take to come about: the
// endpoint may be dialling, and has limits of its own.
const dialGrace = 3 * time.Second

// agree connects the TSAPs and negotiates the size of messages.
func (c *session) agree(s *Settings) error {
	deadline := time.Now().Add(s.Timeout)
	if err := c.write(connectRequest(s.LocalTSAP, s.RemoteTSAP), deadline); err != nil {
		return err
	}
	packet, err := c.packet(deadline)
	if err != nil {
		return fmt.Errorf("connect to TSAP %s: %w", s.RemoteTSAP, err)
	}
	t, err := parseTPDU(packet)
	if err == nil {
		err = checkConfirm(t)
	}
	if err != nil {
		return fmt.Errorf("connect to TSAP %s: %w", s.RemoteTSAP, c.rejected(err))
	}
	m, err := c.ask(pduJob, setupParams(s.PDU, s.MaxJobs), nil)
	if err != nil {
		return fmt.Errorf("negotiate the size of messages: %w", err)
	}
	if c.pdu, c.jobs, err = parseSetup(m, s.PDU, s.MaxJobs); err != nil {
		return fmt.Errorf("negotiate the size of messages: %w", c.rejected(err))
	}
	return nil
}

// close gives the connection back. It is never used again, whoever had it: err says
// why, nil that it is nobody's failure.
func (c *session) close(err error) {
	if err == nil {
		err = endpoint.ErrStale
	}
	c.lease.Release(err)
}

// rejected counts err, if it is a [Rejection].
func (c *session) rejected(err error) error {
	if r, ok := err.(*Rejection); ok && c.reject != nil { //nolint:errorlint // they are made here and not wrapped
		c.reject(r.Reason)
	}
	return err
}

// refStep is from one reference to the next. It is odd, so that all references have
// their turn, and large: a PLC that counts wrongly hits none that is in flight.
const refStep = 0x9E37

// nextRef returns the reference of the next request.
func (c *session) nextRef() uint16 {
	if c.ref += refStep; c.ref == 0 {
		c.ref += refStep
	}
	return c.ref
}

// setDeadline sets the connection's deadline to t, sooner if the driver is to stop.
// Looking at ctx afterwards means that whoever comes second, this or the driver's
// abort, sets the sooner one.
func (c *session) setDeadline(t time.Time) error {
	if t.Equal(c.until) {
		return nil
	}
	c.until = t
	err := c.lease.SetDeadline(t)
	if last := time.Now().Add(driver.Grace); err == nil && c.ctx.Err() != nil && last.Before(t) {
		err = c.lease.SetDeadline(last)
	}
	if err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	return nil
}

// write sends packets.
func (c *session) write(packets []byte, deadline time.Time) error {
	if err := c.setDeadline(deadline); err != nil {
		return err
	}
	n, err := c.lease.Write(packets)
	if n > 0 || err == nil {
		c.sent++
	}
	return linkError(err)
}

// linkError tells the failures of a connection apart.
func linkError(err error) error {
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	case hungUp(err):
		return fmt.Errorf("%w: %w", errHungUp, err)
	}
	return err
}

// packet waits for one whole packet. It lies in c's buffer until the next call.
func (c *session) packet(deadline time.Time) ([]byte, error) {
	for {
		n, err := scanPacket(c.buf[c.r:c.w])
		if err != nil {
			return nil, c.rejected(err)
		}
		if n > 0 {
			p := c.buf[c.r : c.r+n]
			c.r += n
			c.heard = time.Now()
			return p, nil
		}
		if c.r > 0 {
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		}
		if err := c.setDeadline(deadline); err != nil {
			return nil, err
		}
		n, err = c.lease.Read(c.buf[c.w:])
		c.w += n
		if err != nil && n == 0 {
			return nil, linkError(err)
		}
	}
}

// receive waits for one whole message, in one TPDU or several.
func (c *session) receive(deadline time.Time) (message, error) {
	c.joined = c.joined[:0]
	for {
		packet, err := c.packet(deadline)
		if err != nil {
			return message{}, err
		}
		t, err := parseTPDU(packet)
		switch {
		case err != nil:
			return message{}, c.rejected(err)
		case t.code == tpduDisconnect:
			return message{}, errHungUp
		case t.code != tpduData:
			return message{}, c.rejected(rejectf("tpdu", "TPDU %02X came, expected data", t.code))
		}
		pdu := t.data
		if !t.last || len(c.joined) > 0 {
			if len(c.joined)+len(pdu) > max(c.pdu, leastPDU) {
				return message{}, c.rejected(rejectf("length", "an answer in parts has more than %d bytes", c.pdu))
			}
			c.joined = append(c.joined, pdu...)
			pdu = c.joined
		}
		if !t.last {
			continue
		}
		m, err := parseMessage(pdu)
		return m, c.rejected(err)
	}
}

// ask sends one request and waits for its answer. Nothing may be in flight.
func (c *session) ask(kind byte, params, data []byte) (message, error) {
	ref := c.nextRef()
	deadline := time.Now().Add(c.timeout)
	if err := c.write(appendMessage(nil, kind, ref, params, data), deadline); err != nil {
		return message{}, err
	}
	want := byte(pduAckData)
	if kind == pduUserData {
		want = pduUserData
	}
	for {
		m, err := c.receive(deadline)
		if err != nil {
			return m, err
		}
		if m.ref != ref { // late, or doubled
			c.stray()
			continue
		}
		if m.kind != want && (m.kind != pduAck || m.refusal() == nil) {
			return m, c.rejected(rejectf("header", "an answer of kind %d came, expected %d", m.kind, want))
		}
		return m, nil
	}
}

// stray counts an answer to nothing that is in flight. It is dropped.
func (c *session) stray() {
	if c.reject != nil {
		c.reject("reference")
	}
}

// read reads one place, in as many requests as it needs.
func (c *session) read(p Place) ([]byte, error) {
	out := make([]byte, 0, p.Size)
	most := c.mostData()
	for len(out) < p.Size {
		part := p
		part.Size, part.Start = min(most, p.Size-len(out)), p.Start+uint32(len(out))
		m, err := c.ask(pduJob, readParams([]Place{part}), nil)
		if err != nil {
			return nil, err
		}
		if err := m.refusal(); err != nil {
			return nil, err
		}
		items, err := readAnswer(m, 1)
		if err != nil {
			return nil, c.rejected(err)
		}
		data, code, err := items.next(part.Size)
		if err != nil {
			return nil, c.rejected(err)
		}
		if code != codeGood {
			return nil, &Refusal{Code: code}
		}
		out = append(out, data...)
	}
	return out, nil
}

// mostData is how many bytes one item of a read can have.
func (c *session) mostData() int { return mostData(c.pdu) }

// mostData is how many bytes one item of a read can have in PDUs of that size.
func mostData(pdu int) int { return (pdu - ackHead - 2 - answerBytes) &^ 1 }

// mostWrite is how many bytes one write can have.
func (c *session) mostWrite() int { return (c.pdu - jobHead - 2 - itemBytes - answerBytes) &^ 1 }
