package mqtt

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// A message is in doubt when the broker may hold it, and yet it cannot be sent again as
// it is: it was refused as a repeat and the configuration has changed since, or each
// connection dies at it (its packet may be over a limit that the broker does not
// announce, or its topic one for which the broker hangs up). To publish its frames under
// another identifier, or in pieces, would deliver them twice if the broker has them.
//
// PUBREL asks: a broker that holds the message completes it and answers 0x00, one that
// does not answers 0x92, not found. Some (Mosquitto) answer 0x00 in both cases. So the
// first question on a connection is about an identifier that is not in use, which shows
// what a broker's answers are worth.
//
//	it answers 0x92 there: its answer about the message counts. 0x00: delivered, once.
//	  0x92: the broker does not have it, and it is made anew.
//	it answers 0x00, or not at all: PUBREL says nothing. What takes the message's place
//	  goes out under its identifier, as a repeat. Mosquitto compares, and puts the new
//	  content in the place of the old one, which it has not delivered before PUBREL; a
//	  broker that says 0x91 has the whole, which counts then. One that drops the repeat
//	  without a word delivers what it had, and frames that follow come a second time.
//
// Only that last broker, and a crash between PUBREL and its answer, let frames arrive
// twice; in no case is one missing. It is counted and told (mqtt_remade_total).

// honesty is what a broker's answers to PUBREL are worth.
type honesty int

const (
	notAsked honesty = iota
	asked
	honest
	dishonest
)

// resolve finds out whether the broker holds a message that is in doubt, and has it made
// anew if it does not.
func (s *sender) resolve(t *turn, m *message) error {
	switch s.honesty {
	case notAsked:
		return s.askHonesty(t)
	case asked:
		if time.Since(s.probedAt) > s.options.answerTime() {
			s.honesty, t.more = dishonest, true
		}
	case honest:
		if _, err := m.on(evAsk); err != nil {
			return err
		}
		return s.release(t, m)
	case dishonest:
		if m.aside != nil {
			return s.park(t, m, m.aside)
		}
		s.tellRemade(m, remadeDoubt)
		return s.remake(t, m, true)
	}
	return nil
}

// askHonesty asks for an identifier that is not in use.
func (s *sender) askHonesty(t *turn) error {
	id, err := s.session.takeID()
	if err != nil {
		return err
	}
	s.honesty, s.probe, s.probedAt = asked, id, time.Now()
	t.pubrel = append(t.pubrel, pubrel{id: id})
	return nil
}

// probed takes the answer about the identifier that is not in use.
func (s *sender) probed(a ack) bool {
	if s.honesty != asked || a.kind != packets.PUBCOMP || a.id != s.probe {
		return false
	}
	s.honesty = dishonest
	if a.code == codeNotFound {
		s.honesty = honest
	}
	s.session.freeID(s.probe)
	return true
}

// notHeld deals with a message in doubt that the broker does not hold, as it says; or that
// it may have completed (told).
func (s *sender) notHeld(t *turn, m *message, told bool) error {
	if told {
		s.tellRemade(m, remadeDoubt)
	}
	if m.aside != nil {
		return s.park(t, m, m.aside)
	}
	return s.remake(t, m, false)
}

// suspicion is what is known, over connections, of a message at which they die.
type suspicion struct {
	careful   bool   // the next connection sends one message alone
	first     uint64 // of the message that was alone when a connection died
	last      uint64
	topic     string
	strikes   int          // connections that died at it, in a row
	corrected bool         // it was of an earlier configuration: what else is of it is not sent as it was
	halving   bool         // the message is a part of one at which they died
	learned   atomic.Int64 // payloads up to this size are made, in bytes before compression; 0: no limit is known
	words     error        // what is told of that
	learnedAt time.Time
	patience  time.Duration // after which a larger size is tried
	excused   int           // connections that died at it, or at something else of ours
	silent    bool          // a connection died at the question for an identifier that is not in use
	lastWord  error
}

// diedTwice is after how many connections a message is taken for the reason.
// The connection before them, on which others were on the wire or might have been, does
// not count.
const diedTwice = 2

func (u *suspicion) about(m *message) bool {
	return u.strikes > 0 && u.topic == m.record.Topic && u.first == m.firstMeant() && u.last == m.lastMeant()
}

// note takes notice of how a connection ended.
func (u *suspicion) note(s *sender, err error) {
	if s.honesty == asked {
		u.silent = true
	}
	open := s.unanswered()
	if !hungUp(err) || len(open) == 0 || s.heard {
		if s.heard {
			u.careful, u.strikes, u.halving, u.excused = false, 0, false, 0
		}
		return
	}
	alone := u.careful && len(open) == 1
	u.careful = true
	if !alone {
		return // it may be the network; if not, which one it is shows on the next connection
	}
	if s.session.asking() && u.excused < maxExcused { // it may be that
		u.excused++
		return
	}
	if m := open[0]; u.about(m) {
		u.strikes++
	} else {
		u.strikes, u.topic, u.first, u.last = 1, m.record.Topic, m.firstMeant(), m.lastMeant()
		if u.halving { // it is a piece of one that was large: one connection says enough
			u.strikes = diedTwice
		}
	}
	u.lastWord = err
}

// unanswered returns the messages that were written on this connection and have no
// answer.
func (s *sender) unanswered() []*message {
	var open []*message
	for _, m := range s.session.inflight {
		if m.phase.onWire() && !m.phase.released() && !m.sentAt.IsZero() {
			open = append(open, m)
		}
	}
	return open
}

// maxExcused bounds how often a message is not blamed because a SUBSCRIBE or a status
// message of ours had no answer either.
const maxExcused = 2

const (
	// leastPatience is how long a size that was found out holds at first, before a
	// larger one is tried: the reason may have been another one, or be gone.
	leastPatience = time.Hour
	maxPatience   = 24 * time.Hour
)

// grow lets messages be twice as large, when that was not tried for long. It reports
// whether it did.
func (u *suspicion) grow(now time.Time, most int) bool {
	n := int(u.learned.Load())
	if n == 0 || now.Sub(u.learnedAt) < u.patience {
		return false
	}
	u.learnedAt = now
	if 2*n >= most {
		u.learned.Store(0)
		u.words = nil
		return true
	}
	u.learned.Store(int64(2 * n))
	u.words = fmt.Errorf("the broker has not taken a larger message and announces no such limit; payloads of up to %d bytes before compression are tried: "+
		"set max_bytes to what it takes, or raise its limit", 2*n)
	return true
}

// forget drops all suspicions.
func (u *suspicion) forget() {
	u.patience, u.excused = 0, 0
	u.careful, u.strikes, u.halving, u.corrected, u.silent, u.words = false, 0, false, false, false, nil
	u.learned.Store(0)
}

// hungUp reports whether a connection ended because the broker wanted it, for a reason
// that may lie in what was sent.
func hungUp(err error) bool {
	var r *refusal
	if errors.As(err, &r) {
		switch r.code {
		case 0x00, 0x88, 0x89, 0x8B, 0x8D, codeTakenOver, 0x98, 0x9C, 0x9D, 0x9F, 0xA0:
			return false
		}
		return true
	}
	if isTimeout(err) || errors.Is(err, net.ErrClosed) {
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errkind.Reset(err)
}

// convicted deals with a message at which connections die: it is made anew with the
// configuration of now if that differs, else smaller, and if it cannot be smaller it
// counts as refused.
func (s *sender) convicted(t *turn, m *message) error {
	u := s.suspicion
	if m.frames == 0 {
		made, err := s.make.again(&m.record)
		if err != nil && !isGone(err) {
			return fmt.Errorf("make message %d again: %w", m.record.ID, err)
		}
		m.take(made)
		s.make.recycle(m.made.body)
		m.made.body = nil
	}
	switch {
	case s.differs(m):
		u.corrected = true
	case m.frames > 1 && !namesNoSize(u.lastWord):
		s.tooMuch(m)
	default:
		u.learned.Store(0) // its size is not the reason
		u.strikes, u.halving, u.words = 0, false, nil
		m.refusals = max(m.refusals, lasting-1)
		e := evNacked
		if m.record.QoS == 2 {
			e = evRefused
		}
		if _, err := m.on(e); err != nil {
			return err
		}
		return s.refuse(t, m, &refusal{code: asRefusal(u.lastWord).code,
			why: fmt.Sprintf("it ended %d connections or more at this message without an answer, the last one with: %v; check the topic, the user's rights and the broker's log", diedTwice, u.lastWord)})
	}
	return s.replace(t, m)
}

// namesNoSize reports whether the broker's last word says itself why it hung up, and that
// is not the size: to send less would change nothing.
func namesNoSize(err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	switch r.code {
	case codeNotAuthorized, 0x90, 0x99, codeNoRetain, codeNoQoS: // 0x90: topic name, 0x99: payload format
		return true
	}
	return false
}

// replace has a message made anew, that the broker may hold.
func (s *sender) replace(t *turn, m *message) error {
	if m.record.QoS < 2 {
		return s.remake(t, m, false)
	}
	do, err := m.on(evDoubt)
	switch {
	case err != nil:
		return err
	case do == doAsk:
		return s.resolve(t, m)
	}
	return s.remake(t, m, false)
}

// tooMuch has messages be half as large as m from now on.
func (s *sender) tooMuch(m *message) {
	u := s.suspicion
	half := max(m.plain/2, 1)
	if known := int(u.learned.Load()); known > 0 {
		half = min(half, known)
	}
	u.learned.Store(int64(half))
	u.learnedAt, u.patience = time.Now(), min(max(2*u.patience, leastPatience), maxPatience)
	u.strikes, u.halving = 0, true
	u.words = fmt.Errorf("the broker does not take a message of %d bytes and announces no such limit; payloads of up to %d bytes before compression are tried: "+
		"set max_bytes to what it takes, or raise its limit", m.size, half)
	s.log.Warn("a message is too large for the broker, it seems; smaller ones are tried", "topic", m.record.Topic, "bytes", m.size, "next_before_compression", half)
	s.options.warn("message size", u.words)
}
