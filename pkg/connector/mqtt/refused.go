package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// A refusal (PUBREC or PUBACK with 0x80 or more) ends the exchange: the broker has not
// taken the message, and its identifier is free (MQTT 5, 4.3.3). That is stored with the
// message, and so the message is not bound to what it was: the next attempt is made with
// the configuration of then, its topic, payload and sizes. If nothing has changed it is
// the same message again, after a back-off.
//
// A repeat that is refused says less: the attempt before may have been taken, and brokers
// look at rights before they look for repeats. Such a message is in doubt (doubt.go).

// selector names the frames that a template gave to a topic.
type selector struct {
	Template string `json:"template"`
	Topic    string `json:"topic"`
}

// refusedError says that the broker refuses a message.
type refusedError struct {
	topic       string
	first, last uint64
	bytes       int
	times       int // in a row
	reason      error
}

// Error says what is refused, why, and the ways out.
func (e *refusedError) Error() string {
	s := fmt.Sprintf("message on %s with the frames %d to %d", e.topic, e.first, e.last)
	if e.bytes > 0 {
		s += fmt.Sprintf(" (%d bytes)", e.bytes)
	}
	s += fmt.Sprintf(" refused: %v; it is kept and tried again, at once when the configuration changes, and what comes after it waits", e.reason)
	if e.times > 1 {
		s += fmt.Sprintf(" (refused %d times)", e.times)
	}
	return s + "; on_refused: park goes on without it"
}

// Unwrap returns the broker's answer.
func (e *refusedError) Unwrap() error { return e.reason }

// lasting is after how many refusals in a row one that may go away by itself is taken
// for one that does not, and a message is parked.
const lasting = 3

// refuse keeps a message that the broker has refused for a later attempt, or parks it.
// Nothing is skipped: all that comes after it waits.
func (s *sender) refuse(t *turn, m *message, reason *refusal) error {
	m.record.Refused, m.record.Waited = reason.code, false
	m.refused, m.remade = true, m.remade && m.phase == phaseHeld
	m.refusals++
	s.stats.refused(reason.code)
	if s.parks(m, reason.code) {
		do, err := m.on(evDoubt)
		switch {
		case err != nil:
			return err
		case do != doAsk:
			return s.park(t, m, reason)
		}
		m.aside, s.retryAt, t.more = reason, time.Now(), true
	}
	if s.retryAt.IsZero() {
		s.retryAt = time.Now()
		if !s.differs(m) {
			s.retryAt = s.retryAt.Add(s.options.backoff(s.retries))
			s.retries++
		}
	}
	first, last := m.span()
	err := &refusedError{topic: m.record.Topic, first: first, last: last, bytes: m.size, times: m.refusals, reason: reason}
	s.log.Warn("message refused; it is kept and tried again", "topic", m.record.Topic, "first_seq", err.first, "code", reason.code, "error", err)
	s.faulted = true
	if !slices.ContainsFunc(s.session.inflight, func(x *message) bool { return x.refused && x != m && x.record.Order < m.record.Order }) {
		s.options.fault(err) // the first of them is the one that is in the way
	}
	return t.store(m)
}

func (m *message) firstMeant() uint64 { return max(m.record.First, m.record.From) }

// span returns the first and the last of the frames that m holds, as far as known.
func (m *message) span() (first, last uint64) {
	if m.made.frames > 0 {
		return m.made.first, m.made.last
	}
	return m.firstMeant(), m.lastMeant()
}

// differs reports whether the message would be another one if it were made now.
func (s *sender) differs(m *message) bool {
	now := s.options.present()
	return m.record.Template != now.Template || m.record.encoding != now.encoding || m.record.QoS != min(now.qos, s.limits.maxQoS) ||
		m.frames > 1 && (m.plain > s.options.payloadLimit() || m.record.Refused == codeTooLarge)
}

// retry makes the next attempt at a message that the broker has refused. It reports
// whether m can be sent as it is.
func (s *sender) retry(t *turn, m *message) (ready bool, err error) {
	if m.frames == 0 { // it was refused before a restart
		made, err := s.make.again(&m.record)
		if err != nil && !isGone(err) {
			return false, fmt.Errorf("make message %d again: %w", m.record.ID, err)
		}
		if made.frames == 0 {
			return false, s.done(t, m) // nothing of it is left, and the broker has nothing
		}
		m.take(made)
		s.make.recycle(m.made.body)
		m.made.body = nil
	}
	if s.differs(m) {
		if m.record.Refused == codeTooLarge && m.frames > 1 {
			s.tooMuch(m)
		}
		return false, s.replace(t, m)
	}
	m.record.Refused, m.record.Waited = 0, true // from now on the broker may have it
	return true, t.store(m)
}

// present is what new messages are made with.
type present struct {
	windowRecord // template and encoding
	qos          byte
}

// remadePart is a message that takes the place of another one, or of a part of it.
type remadePart struct {
	topic string
	prev  uint64 // in its chain
	payload
}

// remake puts messages of the present configuration in the place of m: the same frames,
// with the topics, the payload and the sizes of now. With held, the broker may hold m:
// the first of them keeps its identifier, as a repeat, and the others wait for the answer,
// as the pieces of a message that is cut do (remake.go). Otherwise it does not, and all of
// them are new.
func (s *sender) remake(t *turn, m *message, held bool) error {
	now := s.options.present()
	of := m.record.Of
	if r := newRouter(m.record.Template); !r.fixed {
		of = append(slices.Clone(of), selector{m.record.Template, m.record.Topic})
	}
	parts, err := s.make.parts(of, now.windowRecord, m.firstMeant(), m.lastMeant(), s.options.payloadLimit())
	if err != nil && !isGone(err) {
		return fmt.Errorf("make message %d anew: %w", m.record.ID, err)
	}
	if len(parts) == 0 {
		return s.abandon(t, m)
	}
	ids, err := s.takeIDs(len(parts))
	if err != nil {
		return fmt.Errorf("make message %d anew in %d parts: %w", m.record.ID, len(parts), err)
	}
	was, e := m.record, evRenew
	if held {
		e = evReplace
	}
	if _, err := m.on(e); err != nil {
		return err
	}
	if held {
		s.session.freeID(ids[0])
		ids[0] = was.ID
	} else {
		t.commit.Delete = append(t.commit.Delete, was.key())
		delete(s.session.byID, was.ID)
		s.session.freeID(was.ID)
	}
	s.log.Info("a message is made anew with the present configuration", "was", was.Topic, "first_seq", m.firstMeant(), "last_seq", m.lastMeant(), "messages", len(parts))
	chains := s.rechain(&was, parts)
	at := slices.Index(s.session.inflight, m)
	for i, p := range parts {
		x := m
		if i > 0 {
			x = &message{window: m.window}
			if held {
				x.after = m
			}
			m.window.pending++
			s.session.inflight = slices.Insert(s.session.inflight, at+i, x)
		}
		x.record = messageRecord{ID: ids[i], Order: was.Order, QoS: min(now.qos, s.limits.maxQoS), Topic: p.topic, Stream: was.Stream, Prev: p.prev,
			First: was.First, Last: was.Last, Template: now.Template, encoding: now.encoding, From: p.first, To: p.last, Of: of}
		if held {
			x.record.QoS = 2
		}
		x.refusals, x.remade = 0, held && i == 0
		if x.refused = !held || i > 0; x.refused { // so that a change before it is written finds it free
			x.record.Refused = notSent
		}
		x.take(p.payload)
		s.make.recycle(x.made.body) // made again when it is sent: there may be many
		x.made.body = nil
		s.session.byID[ids[i]] = x
		if err := t.store(x); err != nil {
			return err
		}
	}
	for ch, last := range chains {
		s.session.chains[ch] = last
		if err := t.put(ch.key(), chainRecord{ch.topic, ch.stream, last}, bus.Range{}); err != nil {
			return err
		}
	}
	s.retryAt, t.more = time.Time{}, true
	return nil
}

// notSent stands for a refusal in the record of a message that was never written.
const notSent = 1

func (s *sender) takeIDs(n int) ([]uint16, error) {
	ids := make([]uint16, n)
	for i := range ids {
		id, err := s.session.takeID()
		if err != nil {
			for _, id := range ids[:i] {
				s.session.freeID(id)
			}
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}

// rechain gives the parts of a message their places in their chains and returns the
// chains that have another end then. On the message's own topic they take its place; on
// others they come last.
func (s *sender) rechain(was *messageRecord, parts []remadePart) map[chain]uint64 {
	own := chain{was.Topic, was.Stream}
	ends := map[chain]uint64{}
	end := was.Prev // of its own chain, without it
	for i := range parts {
		p := &parts[i]
		ch := chain{p.topic, was.Stream}
		if ch == own {
			p.prev, end = end, p.last
			continue
		}
		prev, ok := ends[ch]
		if !ok {
			prev = s.session.chains[ch]
		}
		if prev >= p.first { // the chain is ahead: what is sent late vouches for itself alone
			p.prev, ends[ch] = p.first-1, prev
			continue
		}
		p.prev, ends[ch] = prev, p.last
	}
	if tail := s.session.chains[own]; tail != end && was.lastOf(tail) {
		ends[own] = end // else messages behind it name the old end
	}
	return ends
}

// lastOf reports whether a chain that ends with seq ends with the message.
func (r *messageRecord) lastOf(seq uint64) bool {
	last := r.Last
	if r.To != 0 {
		last = r.To
	}
	return seq >= max(r.First, r.From) && seq <= last
}

// parts makes messages of the frames from…to that all of the selectors name, with the
// topics of now, none of which is larger than limit before compression, unless it holds
// one frame alone.
func (k *maker) parts(of []selector, now windowRecord, from, to uint64, limit int) ([]remadePart, error) {
	c, err := k.codec(now.encoding)
	if err != nil {
		return nil, err
	}
	batches, gone := k.fetch(from, to)
	if gone != nil && !isGone(gone) {
		return nil, gone
	}
	b := newBuilder(c, newRouter(now.Template))
	b.limit = limit
	var out []remadePart
	flush := func() {
		for _, p := range b.parts {
			out = append(out, remadePart{topic: p.topic, payload: k.finish(c, p)})
		}
		b.reset()
	}
	for _, batch := range chosen(batches, of) {
		for batch != nil {
			n := b.add(batch)
			if n == len(batch.Frames) {
				break
			}
			flush()
			batch = batch.Slice(batch.FirstSeq+uint64(n), batch.LastSeq())
		}
	}
	flush()
	return out, gone
}

// chosen returns the frames that all of the selectors name.
func chosen(batches []*frame.Batch, of []selector) []*frame.Batch {
	for _, sel := range of {
		r := newRouter(sel.Template)
		var out []*frame.Batch
		for _, b := range batches {
			out = append(out, matching(b, func(i int) bool {
				topic, ok := r.uniform(b.Set)
				if !ok {
					topic = r.topic(b.Set, b.Frames[i].Tag)
				}
				return topic == sel.Topic
			})...)
		}
		batches = out
	}
	return batches
}

// matching returns the runs of frames of b for which keep holds.
func matching(b *frame.Batch, keep func(i int) bool) []*frame.Batch {
	var out []*frame.Batch
	for i := 0; i < len(b.Frames); i++ {
		if !keep(i) {
			continue
		}
		j := i
		for j+1 < len(b.Frames) && keep(j+1) {
			j++
		}
		out = append(out, b.Slice(b.FirstSeq+uint64(i), b.FirstSeq+uint64(j)))
		i = j
	}
	return out
}

// asRefusal returns the broker's answer in err, or stands in for one.
func asRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return &refusal{code: 0x80, why: err.Error()}
}
