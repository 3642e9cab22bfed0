package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
)

// sender is the one goroutine that stores and writes messages on a connection.
// It works in turns: take all answers that have come and all messages that may
// go, store what both change in one commit, with one sync, then write.
type sender struct {
	session *session
	conn    *conn
	make    *maker
	windows <-chan *window // from the reader
	limits  limits
	options senderOptions
	stats   *stats
	log     *slog.Logger

	server string
	keeps  func(topic string) bool // whether the broker is to keep its last message; nil: none

	aliases map[string]uint16
	expiry  uint32  // of messages, in seconds; 0: none
	current *window // whose parts are being sent
	retryAt time.Time
	retries int // refusals in a row

	parkedLike selector // the topic, and the code as a template, of the message that was parked last
	parkedDue  bool     // parked messages may be there to be sent
	faulted    bool     // it was told that messages are refused
	suspicion  *suspicion
	heard      bool // the broker has answered a message on this connection
	took2      bool // it has taken one with QoS 2
	honesty    honesty
	probe      uint16 // the identifier that was asked for
	probedAt   time.Time
	config     *Config // as it was when messages were made last

	waitsFor   *message // the one whose answer has a time; see unanswered.go
	answerTime time.Duration
	steps      uint64 // packets that the broker is to answer, so far

	header, props []byte // reused
}

// senderOptions are what the connector decides.
type senderOptions struct {
	present      func() present // what new messages are made with
	payloadLimit func() int     // of a payload before compression
	warn         func(what string, err error)
	config       func() *Config
	describe     func(*messageRecord, *payload) []userProperty
	paused       func() bool
	backoff      func(attempt int) time.Duration
	fault        func(error)          // the broker refuses messages; nil when it does not any more
	settled      func()               // a message has arrived
	answerTime   func() time.Duration // that the broker has for each step of an exchange
}

// turn is what one turn stores and writes.
type turn struct {
	commit bus.Commit // before the writes
	after  bus.Commit // after the writes: QoS 0
	pubrel []pubrel   // to write, before the messages
	send   []*message // to write, in this order
	qos0   []*message // of send, those that are done when written
	more   bool       // the next turn has something to do
}

type pubrel struct {
	id   uint16
	code byte
}

// run sends until the connection ends (ctx), an error makes it unusable, or,
// after stop is closed, nothing is in flight any more.
func (s *sender) run(ctx context.Context, stop <-chan struct{}) error {
	stopping := false
	for {
		more, err := s.turn(!stopping)
		if err != nil {
			return err
		}
		if stopping && len(s.session.inflight) == 0 {
			return nil
		}
		if more {
			continue
		}
		windows := s.windows
		if stopping || !s.hasRoom() || s.current != nil {
			windows = nil
		}
		retry, cancel := s.retryTimer()
		late, end := s.answerTimer()
		select {
		case <-ctx.Done():
			cancel()
			end()
			return nil
		case <-stop:
			stopping, stop = true, nil
		case <-s.session.wake:
		case w := <-windows:
			s.current = w
		case <-retry:
		case <-s.session.source.ParkedChanged():
			s.parkedDue = true
		case <-late:
			err = s.overdue()
		}
		cancel()
		end()
		if err != nil {
			return err
		}
	}
}

// retryTimer fires when refused messages are due again.
func (s *sender) retryTimer() (<-chan time.Time, func()) {
	at := s.retryAt
	if s.honesty == asked {
		at = s.probedAt.Add(s.options.answerTime() + time.Millisecond)
	}
	if at.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(at))
	return t.C, func() { t.Stop() }
}

// turn does what can be done now; more reports whether there is more to do.
func (s *sender) turn(admit bool) (more bool, err error) {
	var t turn
	if now := s.options.config(); now != s.config { // what is refused may go now
		s.config, s.retryAt, s.retries = now, time.Time{}, 0
		s.suspicion.learned.Store(0)
	}
	if s.suspicion.grow(time.Now(), int(s.config.MaxBytes)) {
		s.options.warn("message size", s.suspicion.words)
	}
	if s.parkedDue {
		if err := s.takeParked(&t); err != nil {
			return false, err
		}
	}
	for _, a := range s.session.takeAcks() {
		if err := s.settle(&t, a); err != nil {
			return false, err
		}
	}
	waiting, stuck := s.again(&t) // what else there is to do is done first
	if admit && !waiting {
		if err := s.admit(&t); err != nil {
			return false, err
		}
	}
	if err := s.noteRetained(&t); err != nil {
		return false, err
	}
	if err := s.commit(&t.commit); err != nil {
		return false, err
	}
	if err := s.write(&t); err != nil {
		return false, err
	}
	if err := s.commit(&t.after); err != nil {
		return false, err
	}
	s.stats.inflight(len(s.session.inflight))
	return len(t.send) > 0 || t.more, stuck
}

// commit stores a change of state. It is durable before anything is written that
// depends on it: records before their packets. What only forgets may be lost in a
// crash: the handshake is then finished once more.
func (s *sender) commit(c *bus.Commit) error {
	if len(c.Put) == 0 && len(c.Delete) == 0 && len(c.Ack) == 0 && len(c.Gaps) == 0 {
		return nil
	}
	c.Sync = len(c.Put) > 0
	if err := s.session.source.Commit(*c); err != nil {
		return fmt.Errorf("store messages in flight: %w", err)
	}
	return nil
}

// settle takes one answer of the broker.
func (s *sender) settle(t *turn, a ack) error {
	m := s.session.byID[a.id]
	s.worked(m)
	s.heard = s.heard || m != nil && a.kind != packets.PUBCOMP
	switch {
	case m == nil && s.probed(a):
		t.more = true
		return nil
	case m == nil:
		if a.kind == packets.PUBREC && a.code < 0x80 {
			t.pubrel = append(t.pubrel, pubrel{a.id, codeNotFound})
		}
		return nil // an answer to what was settled already
	}
	e, ok := s.meaning(m, a)
	if ok && e == evRefused && a.code == codeNoQoS && !m.phase.released() && s.options.config().Lower {
		return &refusal{code: a.code, text: a.text} // the next connection goes without
	}
	do, err := doProtest, error(nil)
	if ok {
		do, err = m.on(e)
	}
	switch do {
	case doRelease:
		return s.received(t, m, e)
	case doRepeat:
		t.pubrel = append(t.pubrel, pubrel{id: m.record.ID})
		return nil
	case doFinish:
		return s.done(t, m)
	case doRefuse:
		return s.refuse(t, m, &refusal{code: a.code, text: a.text})
	case doRenumber:
		return s.renumber(t, m)
	case doAnew:
		return s.anew(t, m)
	case doRemake, doRemakeTold:
		return s.notHeld(t, m, do == doRemakeTold)
	}
	return errors.Join(fmt.Errorf("protocol error: packet of type %d for message %d, which does not expect it", a.kind, a.id), err)
}

// meaning returns what an answer says of m; ok is false if it has nothing to do with the
// message's QoS.
func (s *sender) meaning(m *message, a ack) (e event, ok bool) {
	refused := a.code >= 0x80
	switch {
	case a.kind == packets.PUBREC && a.code == codeInUse:
		return evInUse, m.record.QoS == 2
	case a.kind == packets.PUBREC && refused:
		return evRefused, m.record.QoS == 2
	case a.kind == packets.PUBREC:
		return evTaken, m.record.QoS == 2
	case a.kind == packets.PUBACK && refused:
		return evNacked, m.record.QoS == 1
	case a.kind == packets.PUBACK:
		return evAcked, m.record.QoS == 1
	case a.code == codeNotFound:
		return evNotFound, true
	case !refused && s.honesty == honest:
		return evCompleted, true
	}
	return evUnproved, true
}

// received takes note that the broker has a message, and completes the exchange.
func (s *sender) received(t *turn, m *message, e event) error {
	s.took2 = true
	s.accepted(t, m, m.remade && e == evInUse)
	m.refused, m.refusals, m.record.Waited = false, 0, false
	if s.parkedLike.Topic == m.record.Topic {
		s.parkedLike = selector{}
	}
	return s.release(t, m)
}

// release stores the phase of a message, and then sends PUBREL.
func (s *sender) release(t *turn, m *message) error {
	s.stepped(m)
	t.pubrel = append(t.pubrel, pubrel{id: m.record.ID})
	return t.store(m)
}

// done forgets a message that has arrived. With the last one of its window the
// window is acknowledged, in the same commit.
func (s *sender) done(t *turn, m *message) error {
	s.stats.settled(m)
	s.options.settled()
	s.accepted(t, m, false)
	s.session.forget(m)
	t.commit.Delete = append(t.commit.Delete, m.record.key())
	s.windowDone(&t.commit, m.window)
	if s.faulted && !s.session.anyRefused() {
		s.retries, s.retryAt, s.faulted = 0, time.Time{}, false
		s.options.fault(nil)
	}
	return nil
}

func (s *sender) windowDone(c *bus.Commit, w *window) {
	w.pending--
	if w.pending > 0 {
		return
	}
	if w.again {
		return
	}
	c.Ack = append(c.Ack, w.rng())
	if w.multiple() {
		c.Delete = append(c.Delete, w.record.key())
	}
}

// renumber gives a message another identifier: the broker holds an exchange under
// this one that is not ours.
func (s *sender) renumber(t *turn, m *message) error {
	t.commit.Delete = append(t.commit.Delete, m.record.key())
	delete(s.session.byID, m.record.ID) // the identifier stays in use until the connection ends
	id, err := s.session.takeID()
	if err != nil {
		return err
	}
	m.record.ID = id
	s.session.byID[id] = m
	return t.store(m)
}

// again queues what was sent on an earlier connection, in order, and reports
// whether some of it has to wait. PUBRELs wait for nothing.
func (s *sender) again(t *turn) (waiting bool, err error) {
	onWire := 0
	for _, m := range s.session.inflight {
		if m.phase.onWire() {
			onWire++
		}
	}
	alone := s.alone()
	due := !time.Now().Before(s.retryAt)
	for i := 0; i < len(s.session.inflight); i++ { // which prepare may change at m and behind it
		m := s.session.inflight[i]
		switch {
		case m.phase.onWire():
			waiting = waiting || m.phase.comesBack()
		case m.phase == phaseAsked && s.honesty == notAsked:
			waiting = true
			if err := s.askHonesty(t); err != nil {
				return true, err
			}
		case m.phase == phaseAsked && s.honesty == asked:
			waiting = true
		case m.phase.released():
			if _, err := m.on(evRelease); err != nil {
				return true, err
			}
			onWire++
			s.stepped(m)
			s.stats.resent()
			t.pubrel = append(t.pubrel, pubrel{id: m.record.ID})
			alone = alone || s.careful()
			waiting = waiting || m.phase.comesBack()
		case waiting || alone || onWire >= s.limits.inflight || len(t.send) >= resendAtOnce || m.refused && !due || m.after != nil:
			waiting = true
		default:
			ready, err := s.prepare(t, m)
			if err != nil {
				return true, err
			}
			if !ready {
				waiting = true
				t.more = t.more || m.phase != phaseUnsure && m.phase != phaseAsking
				continue
			}
			if m.refused {
				s.retryAt = time.Time{} // until it is refused once more
			}
			if _, err := m.on(evWrite); err != nil {
				return true, err
			}
			onWire++
			alone = s.suspicion.careful && !s.heard
			s.stats.resent()
			t.send = append(t.send, m)
			if m.record.QoS == 0 {
				t.qos0 = append(t.qos0, m)
			}
		}
	}
	return waiting, nil
}

// resendAtOnce bounds the payloads that are made again in one turn.
const resendAtOnce = 4

// store stores the record of a message, which pins its window.
func (t *turn) store(m *message) error {
	m.note()
	return t.put(m.record.key(), m.record, m.window.rng())
}

func (t *turn) put(key string, v any, pin bus.Range) error {
	r, err := put(key, v, pin)
	t.commit.Put = append(t.commit.Put, r)
	return err
}

// write writes the packets of a turn, in as few system calls as their sizes
// allow.
func (s *sender) write(t *turn) error {
	if len(t.pubrel) == 0 && len(t.send) == 0 {
		return nil
	}
	s.conn.Lock()
	defer s.conn.Unlock()
	for _, p := range t.pubrel {
		s.header = appendPubrel(s.header[:0], p.id, p.code)
		if err := s.conn.buffer(s.header); err != nil {
			return err
		}
	}
	for _, m := range t.send {
		if err := s.writeMessage(m); err != nil {
			return err
		}
	}
	if err := s.conn.flush(); err != nil {
		return err
	}
	for _, m := range t.qos0 {
		s.stats.settled(m)
		s.windowDone(&t.after, m.window)
		if m.record.ID != 0 { // it had another QoS before
			s.accepted(t, m, false)
			s.session.forget(m)
			t.after.Delete = append(t.after.Delete, m.record.key())
		}
	}
	return nil
}

func (s *sender) writeMessage(m *message) error {
	h := s.describe(m)
	s.header, s.props = appendPublish(s.header[:0], &h, len(m.made.body), s.props)
	m.sentAt = time.Now()
	s.stepped(m)
	if err := s.conn.buffer(s.header); err != nil {
		return err
	}
	err := s.conn.buffer(m.made.body)
	s.make.recycle(m.made.body)
	m.made.body = nil
	return err
}

// describe returns the header of a message.
func (s *sender) describe(m *message) publishHeader {
	h := s.header0(&m.record, &m.made)
	h.dup = m.phase == phaseRepeated && m.record.QoS > 0
	s.alias(&h)
	return h
}

// header0 returns the header of a message as it is sent first, without an alias.
func (s *sender) header0(r *messageRecord, p *payload) publishHeader {
	return publishHeader{id: r.ID, qos: r.QoS, retain: s.retains(r.Topic), topic: r.Topic, contentType: r.contentType(), expiry: s.expiry,
		user: s.options.describe(r, p)}
}

// retains reports whether the broker is to keep the last message of a topic.
func (s *sender) retains(topic string) bool {
	return s.keeps != nil && !s.limits.noRetain && s.keeps(topic)
}

// noteRetained stores which topics the broker holds a message of, or may hold one.
func (s *sender) noteRetained(t *turn) error {
	for _, m := range t.send {
		if !s.retains(m.record.Topic) {
			continue // as most
		}
		r, fresh, err := s.session.willKeep(retainedAt{s.server, m.record.Topic})
		if err != nil {
			return err
		}
		if fresh {
			t.commit.Put = append(t.commit.Put, r)
		}
	}
	return nil
}

// alias replaces the topic by a number where the broker knows it already.
func (s *sender) alias(h *publishHeader) {
	if a, ok := s.aliases[h.topic]; ok {
		h.topic, h.alias = "", a
		return
	}
	if len(s.aliases) < int(s.limits.aliases) {
		h.alias = uint16(len(s.aliases) + 1)
		s.aliases[h.topic] = h.alias
	}
}
