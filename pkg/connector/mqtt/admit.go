package mqtt

import (
	"fmt"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
)

// admitAtOnce bounds the new messages of one turn: the broker starts on them
// while the next ones are stored.
const admitAtOnce = 16

// hasRoom reports whether another message may be sent.
func (s *sender) hasRoom() bool {
	return len(s.session.inflight) < s.limits.inflight && !s.session.anyRefused() && !s.options.paused() && !s.alone()
}

// careful reports whether one packet is sent at a time, to see at which connections die.
func (s *sender) careful() bool { return s.suspicion.careful && !s.heard }

// alone reports whether something is on the wire that no message is to be sent beside.
func (s *sender) alone() bool {
	return s.careful() && slices.ContainsFunc(s.session.inflight, func(m *message) bool { return m.phase.onWire() })
}

// admits reports whether a turn takes one more new message.
func (s *sender) admits(t *turn) bool {
	return s.hasRoom() && len(t.send) < admitAtOnce && !t.more
}

// admit takes new messages.
func (s *sender) admit(t *turn) error {
	for s.admits(t) {
		if s.current == nil {
			select {
			case s.current = <-s.windows:
			default:
				return nil
			}
		}
		if err := s.admitFrom(t, s.current); err != nil {
			return err
		}
		if len(s.current.parts) == 0 {
			s.current = nil
		}
	}
	return nil
}

// admitFrom takes the next parts of a window.
func (s *sender) admitFrom(t *turn, w *window) error {
	t.commit.Ack = append(t.commit.Ack, w.gaps...)
	w.gaps = nil
	for ; w.lost > 0; w.lost-- {
		s.windowDone(&t.commit, w)
	}
	if w.record.Total == 0 { // nothing in it concerns the broker
		t.commit.Ack = append(t.commit.Ack, w.rng())
		return nil
	}
	took := false
	for len(w.parts) > 0 && s.admits(t) {
		if err := s.register(t, w.parts[0]); err != nil {
			return err
		}
		w.parts = w.parts[1:]
		w.record.Next++
		took = true
	}
	if !took || !w.multiple() || s.options.present().qos == 0 {
		return nil // with QoS 0 a window that a crash cuts short is sent again
	}
	return t.put(w.record.key(), w.record, w.rng())
}

// fits reports whether the broker takes a message of r with the given payload.
func (s *sender) fits(r *messageRecord, p *payload) bool {
	return s.limits.packetSize >= maxPacketSize || s.packetSize(r, p) <= s.limits.packetSize
}

// packetSize returns the size of the PUBLISH of a message, in bytes. Its topic is
// counted even where an alias may stand for it.
func (s *sender) packetSize(r *messageRecord, p *payload) int {
	h := s.header0(r, p)
	s.header, s.props = appendPublish(s.header[:0], &h, len(p.body), s.props)
	return len(s.header) + aliasRoom + len(p.body)
}

// aliasRoom is what a topic alias adds to a packet, and more than its length adds to
// the lengths before it, in bytes.
const aliasRoom = 8

// tooLarge is why a message of r that cannot be made smaller is not sent.
func (s *sender) tooLarge(r *messageRecord, p payload) error {
	return &refusal{code: codeTooLarge, own: true, why: fmt.Sprintf("frame %d on %s makes a packet of %d bytes, the broker takes %d",
		p.first, r.Topic, s.packetSize(r, &p), s.limits.packetSize)}
}

// register gives a new message its place in its chain and in the order of
// sending, and stores it.
func (s *sender) register(t *turn, m *message) error {
	ch := chain{m.record.Topic, m.record.Stream}
	m.record.Prev = s.session.chains[ch]
	if m.record.Prev >= m.made.first { // the position was set back: what is sent anew vouches for itself alone
		m.record.Prev = m.made.first - 1
	}
	s.session.chains[ch] = m.made.last
	if err := s.make.seal(&m.record, &m.made); err != nil {
		return err
	}
	m.size, m.frames, m.plain = len(m.made.body), m.made.frames, m.made.plain
	s.stats.batch(m.frames)
	fits := s.fits(&m.record, &m.made)
	if fits {
		if _, err := m.on(evWrite); err != nil {
			return err
		}
		t.send = append(t.send, m)
	} else { // of a window that was begun under another limit: it is remade in the next turn
		s.make.recycle(m.made.body)
		m.made.body, t.more = nil, true
	}
	if m.record.QoS == 0 && fits {
		r, err := put(ch.key(), chainRecord{ch.topic, ch.stream, m.made.last}, bus.Range{})
		t.after.Put = append(t.after.Put, r)
		t.qos0 = append(t.qos0, m)
		return err
	}
	id, err := s.session.takeID()
	if err != nil {
		return err
	}
	s.session.order++
	m.record.ID, m.record.Order = id, s.session.order
	s.session.byID[id] = m
	s.session.inflight = append(s.session.inflight, m)
	if err := t.store(m); err != nil {
		return err
	}
	return t.put(ch.key(), chainRecord{ch.topic, ch.stream, m.made.last}, bus.Range{})
}
