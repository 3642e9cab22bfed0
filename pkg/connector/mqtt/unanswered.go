package mqtt

import (
	"fmt"
	"time"
)

// A broker may answer pings and nothing else: an exchange then stays open for ever on
// a connection that looks well. So each step of an exchange has a time in which the
// broker must answer it. After that the connection is made anew, on which whatever has
// no answer is sent again, as after any loss of a connection.
//
// The time of a message runs while it is the oldest one on the wire. It begins anew with
// each answer to a packet that was written before, since brokers work in order, and while
// the system still holds bytes that it has not sent: on a slow link that may take minutes.

const (
	// answerTimes is how many round trips a step may take.
	answerTimes = 10
	// maxAnswerTime bounds that.
	maxAnswerTime = 10 * time.Minute
)

// unansweredError ends a connection on which the broker does not answer.
type unansweredError struct {
	topic       string
	first, last uint64
	missing     string // the packet that did not come
	waited      time.Duration
	times       int // in a row
}

// Error says what is missing and where to look.
func (e *unansweredError) Error() string {
	s := fmt.Sprintf("the broker has taken the message on %s with the frames %d to %d and sent no %s for %s, on a connection that is up: "+
		"it is sent again on a new one, and what comes after it waits; look at the broker's log, its disk and its limits, or restart it",
		e.topic, e.first, e.last, e.missing, e.waited.Round(time.Second/10))
	if e.times > 1 {
		s += fmt.Sprintf(" (%d times in a row)", e.times)
	}
	return s
}

// answerTime is how long the broker may take for one step of an exchange.
func (c *Connector) answerTime() time.Duration {
	return max(c.config().Keepalive.Std(), min(answerTimes*c.stats.roundTrip(), maxAnswerTime))
}

// oldest returns the first message that is on the wire.
func (s *sender) oldest() *message {
	for _, m := range s.session.inflight {
		if m.phase.onWire() {
			return m
		}
	}
	return nil
}

// answerTimer fires when the oldest message on the wire should have been answered.
func (s *sender) answerTimer() (<-chan time.Time, func()) {
	m := s.oldest()
	if m == nil {
		s.waitsFor = nil
		return nil, func() {}
	}
	if m != s.waitsFor {
		s.waitsFor, m.waits, s.answerTime = m, time.Now(), s.options.answerTime()
	}
	t := time.NewTimer(time.Until(m.waits.Add(s.answerTime)))
	return t.C, func() { t.Stop() }
}

// stepped notes that a packet goes out that the broker is to answer.
func (s *sender) stepped(m *message) {
	s.steps++
	m.step, m.waits = s.steps, time.Now()
}

// worked notes that the broker has answered m.
func (s *sender) worked(m *message) {
	if w := s.waitsFor; m != nil && w != nil && m.step < w.step {
		w.waits = time.Now()
	}
}

// overdue returns why the connection is given up, nil if there is still something to be
// sent or the answer has come by now.
func (s *sender) overdue() error {
	m := s.oldest()
	if m == nil || m != s.waitsFor || time.Since(m.waits) < s.answerTime || s.session.hasAcks() {
		return nil
	}
	if s.conn.unsent() > 0 {
		m.waits = time.Now()
		return nil
	}
	missing := "PUBACK"
	switch {
	case m.phase.released():
		missing = "PUBCOMP"
	case m.record.QoS == 2:
		missing = "PUBREC"
	}
	first, last := m.span()
	return &unansweredError{topic: m.record.Topic, first: first, last: last, missing: missing, waited: time.Since(m.waits)}
}
