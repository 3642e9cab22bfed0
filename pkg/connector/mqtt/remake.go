package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
)

// A message in flight is sent again as it was, with the bytes that it had. Three
// things can make that impossible, and would hold up all that comes after it for
// ever:
//
//   - The broker has lowered its Maximum Packet Size below the message. It is cut
//     into pieces of the same frames. The first piece keeps the identifier: a
//     broker that has the whole says so (0x91), which then counts, and the other
//     pieces are not sent; one that compares the content puts the piece in the
//     whole's place; one that does neither delivers the whole, and then the other
//     pieces bring frames a second time. In no case is one missing.
//   - The broker has lowered its Maximum QoS below the message's. Its exchange is
//     ended with PUBREL, and then it is sent anew with the QoS that is configured
//     now. Brokers answer PUBREL alike whether they had the message or not, so
//     that it may arrive twice; below QoS 2 nothing else is promised.
//   - Frames of it are gone: the log was damaged and repaired. What is left of
//     them is sent under the same identifier; if nothing is, PUBREL lets the
//     broker deliver what it may have.

// Why a message was remade, as a label.
const (
	remadeSize  = "packet_size"
	remadeQoS   = "qos"
	remadeGone  = "frames_gone"
	remadeDoubt = "in_doubt"
)

// prepare makes the payload of a message that is to be sent again. It reports
// false if the message cannot be sent now, since it cannot be sent as it was.
func (s *sender) prepare(t *turn, m *message) (ready bool, err error) {
	if m.record.QoS > s.limits.maxQoS {
		s.tellRemade(m, remadeQoS)
		return false, s.lowerQoS(t, m)
	}
	switch {
	case m.phase == phaseUnsure:
		return false, s.resolve(t, m)
	case m.record.Refused != 0:
		if ready, err := s.retry(t, m); !ready {
			return false, err
		}
	case s.suspicion.strikes >= diedTwice && s.suspicion.about(m):
		return false, s.convicted(t, m)
	case s.suspicion.corrected && s.differs(m):
		return false, s.replace(t, m)
	}
	made, err := s.make.again(&m.record)
	gone := isGone(err)
	if err != nil && !gone {
		return false, fmt.Errorf("make message %d again: %w", m.record.ID, err)
	}
	if gone {
		s.log.Error("a message in flight has lost frames: they were damaged", "topic", m.record.Topic, "left", made.frames, "error", err)
		s.stats.remade(remadeGone)
		if made.frames == 0 {
			return false, s.abandon(t, m)
		}
	}
	if made.frames > 1 && made.plain > s.options.payloadLimit() && s.suspicion.learned.Load() > 0 {
		s.make.recycle(made.body)
		return false, s.replace(t, m)
	}
	if s.fits(&m.record, &made) {
		m.take(made)
		return true, nil
	}
	pieces, err := s.pieces(m, made)
	if err != nil {
		return false, err
	}
	if m.phase == phaseHeld {
		s.tellRemade(m, remadeSize)
	}
	return true, s.cut(t, m, pieces)
}

// take puts a payload into m.
func (m *message) take(p payload) {
	m.made, m.size, m.frames, m.plain = p, len(p.body), p.frames, p.plain
}

func (s *sender) tellRemade(m *message, why string) {
	s.stats.remade(why)
	s.log.Warn("a message in flight cannot be sent again as it was; its frames may arrive twice", "reason", why, "topic", m.record.Topic,
		"first_seq", max(m.record.First, m.record.From), "last_seq", m.lastMeant(), "qos", m.record.QoS)
}

func (m *message) lastMeant() uint64 {
	if m.record.To != 0 {
		return m.record.To
	}
	return m.record.Last
}

// pieces makes payloads that the broker takes of what the log has of m, whole,
// which it does not take, by halving.
func (s *sender) pieces(m *message, whole payload) ([]payload, error) {
	if whole.frames == 1 {
		return nil, s.tooLarge(&m.record, whole)
	}
	s.make.recycle(whole.body)
	middle := whole.first + (whole.last-whole.first)/2
	var out []payload
	for _, half := range []bus.Range{{First: whole.first, Last: middle}, {First: middle + 1, Last: whole.last}} {
		p, err := s.make.make(&m.record, half.First, half.Last)
		switch {
		case errors.Is(err, errNothingLeft) || isGone(err) && p.frames == 0:
		case err != nil && !isGone(err):
			return nil, fmt.Errorf("make message %d again: %w", m.record.ID, err)
		case s.fits(&m.record, &p):
			out = append(out, p)
		default:
			more, err := s.pieces(m, p)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
	}
	return out, nil
}

// cut puts pieces in the place of m, which becomes the first of them.
func (s *sender) cut(t *turn, m *message, pieces []payload) error {
	whole := m.record
	ids := make([]uint16, len(pieces)-1) // before anything is changed: half a cut would lose the rest
	for i := range pieces[1:] {
		id, err := s.session.takeID()
		if err != nil {
			for _, id := range ids[:i] {
				s.session.freeID(id)
			}
			return fmt.Errorf("cut message %d into %d pieces: %w", whole.ID, len(pieces), err)
		}
		ids[i] = id
	}
	m.remade = m.phase == phaseHeld && whole.QoS == 2
	m.take(pieces[0])
	m.record.From, m.record.To = pieces[0].first, pieces[0].last
	if err := t.store(m); err != nil {
		return err
	}
	at := slices.Index(s.session.inflight, m) + 1
	for i, p := range pieces[1:] {
		x := &message{record: whole, window: m.window, after: m, size: len(p.body), frames: p.frames, plain: p.plain}
		x.record.From, x.record.To, x.record.Prev = p.first, p.last, pieces[i].last
		x.record.ID = ids[i]
		s.session.byID[ids[i]] = x
		s.session.inflight = slices.Insert(s.session.inflight, at+i, x)
		m.window.pending++
		if err := t.store(x); err != nil {
			return err
		}
	}
	return nil
}

// followers returns the other pieces that wait for m.
func (s *sender) followers(m *message) []*message {
	var out []*message
	for _, x := range s.session.inflight {
		if x.after == m {
			out = append(out, x)
		}
	}
	return out
}

// accepted lets the pieces behind m go, which the broker has taken; or forgets
// them, if what it has is the whole.
func (s *sender) accepted(t *turn, m *message, whole bool) {
	for _, x := range s.followers(m) {
		x.after = nil
		if !whole {
			continue
		}
		m.frames, m.size = m.frames+x.frames, m.size+x.size
		s.session.forget(x)
		t.commit.Delete = append(t.commit.Delete, x.record.key())
		s.windowDone(&t.commit, x.window)
	}
	m.remade = false
}

// abandon ends a message of which no frame is left in the log.
func (s *sender) abandon(t *turn, m *message) error {
	if m.record.QoS < 2 {
		return s.done(t, m)
	}
	if _, err := m.on(evGone); err != nil {
		return err
	}
	return s.release(t, m)
}

// lowerQoS ends the exchange of a message whose QoS the broker does not take any
// more; when it has ended the message is sent anew.
func (s *sender) lowerQoS(t *turn, m *message) error {
	e := evEnd
	if m.record.QoS < 2 || s.limits.noRelease {
		e = evRenew
	}
	do, err := m.on(e)
	switch {
	case err != nil:
		return err
	case do == doRelease:
		return s.release(t, m)
	}
	return s.anew(t, m)
}

// anew makes m a message that was never sent, in its old place, with the QoS that
// is configured now.
func (s *sender) anew(t *turn, m *message) error {
	id, err := s.session.takeID()
	if err != nil {
		return err
	}
	t.commit.Delete = append(t.commit.Delete, m.record.key())
	delete(s.session.byID, m.record.ID)
	s.session.freeID(m.record.ID)
	m.record.ID, m.record.QoS, m.sentAt = id, s.options.present().qos, time.Time{}
	s.session.byID[id] = m
	t.more = true
	return t.store(m)
}
