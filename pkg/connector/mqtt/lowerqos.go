package mqtt

import (
	"errors"
	"fmt"
	"slices"
)

// Some brokers take no message with QoS 2 and say so only by hanging up at it (Azure IoT
// Hub), which can have many other reasons. So after some connections that a server has
// ended at messages with QoS 2, without having taken a single one, QoS 1 is tried, if
// lower_qos allows that, and told otherwise. What is taken then shows that it was the
// QoS; another connection that ends so shows that it was not.

// lowered is what is known of a server's taking QoS 1 at most.
type lowered byte

const (
	notLowered lowered = iota
	lowerTried         // nothing speaks against it yet
	lowerSure          // it said so, or has taken QoS 1 where it took no QoS 2
)

const (
	// diedAtQoS2 is after how many connections the QoS is suspected.
	diedAtQoS2 = 3
	// innocentFor is how many connections more it takes when it was not the QoS.
	innocentFor = 8
)

// noteQoS takes notice of how a connection ended, on which s was the sender.
func (t *terms) noteQoS(s *sender, err error) {
	var r *refusal
	ended := hungUp(err) && !s.heard
	has := func(qos byte) bool {
		return slices.ContainsFunc(s.unanswered(), func(m *message) bool { return m.record.QoS == qos })
	}
	switch {
	case s.took2:
		t.takes2, t.lost2, t.lowered = true, 0, notLowered
	case t.takes2:
	case errors.As(err, &r) && r.code == codeNoQoS:
		t.lost2, t.lowered = 0, lowerSure
	case t.lowered == lowerTried && s.heard:
		t.lowered = lowerSure
	case t.lowered == lowerTried && ended && has(1):
		t.lost2, t.lowered = diedAtQoS2-innocentFor, notLowered
	case ended && has(2):
		if t.lost2++; t.lost2 >= diedAtQoS2 {
			t.lowered = lowerTried
		}
	}
}

// settleQoS puts the QoS that is delivered with into l, the limits of a connection, and
// tells if it is less than qos asks for, or fails if that is not allowed.
func (c *Connector) settleQoS(on *link, l *limits) error {
	cfg, t := c.config(), c.terms[on.server]
	if slices.ContainsFunc(c.session.inflight, func(m *message) bool { return m.phase.released() }) {
		t.takes2 = true // it has taken that
	}
	why := "it said so"
	if cfg.Lower && t.lowered != notLowered && l.maxQoS > 1 {
		l.maxQoS, l.noRelease = 1, true
		if t.lost2 > 0 {
			why = fmt.Sprintf("it has ended %d connections at messages with QoS 2 and taken none", t.lost2)
		}
	}
	c.warn(partQoS, nil)
	if cfg.QoS <= l.maxQoS {
		return nil
	}
	if !cfg.Lower {
		return &refusal{code: codeNoQoS, own: true, why: fmt.Sprintf("it takes QoS %d at most; lower_qos: true goes on with that", l.maxQoS)}
	}
	c.warn(partQoS, fmt.Errorf("the broker takes QoS %d at most (%s): %s; set qos: %d to make that permanent", l.maxQoS, why, promise(l.maxQoS), l.maxQoS))
	return nil
}

// promise says what a QoS below 2 means.
func promise(qos byte) string {
	if qos == 0 {
		return "what is lost on the way is missing"
	}
	return "after a lost connection messages may arrive twice"
}

// suspectQoS adds to err that the QoS may be what a server does not take.
func (t *terms) suspectQoS(err error) error {
	if t.takes2 || t.lost2 < diedAtQoS2 {
		return err
	}
	return fmt.Errorf("%w; it has taken no message with QoS 2 yet, so it may take QoS 1 at most, as Azure IoT Hub does: set qos: 1, or lower_qos: true", err)
}
