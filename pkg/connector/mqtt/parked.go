package mqtt

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// With on_refused: park a message that the broker refuses again and again is put aside:
// one synced commit puts it into a record of its own, which pins its frames, notes the
// gap that it leaves, of which a sys.gap frame tells, and takes it out of flight. So a
// crash finds it in flight or parked, never both or neither. An operator has it sent
// again (edge-bus parked retry), with the configuration of then, or drops it. The next
// message of its chain names it as sent before: a consumer sees that it misses, and when
// it comes after all, that it fills the gap.

// parks reports whether a refused message is put aside now: when it was refused so often
// that it does not look like a passing fault, or for the reason of the one before it.
func (s *sender) parks(m *message, code byte) bool {
	if s.options.config().OnRefused != refusedParks || s.differs(m) {
		return false
	}
	return m.refusals >= lasting || s.parkedLike == likeness(m, code)
}

func likeness(m *message, code byte) selector { return selector{reasonLabel(code), m.record.Topic} }

// park puts a message aside.
func (s *sender) park(t *turn, m *message, reason *refusal) error {
	s.parkedLike = likeness(m, reason.code)
	s.session.order++
	message, err := json.Marshal(m.record)
	if err != nil {
		return err
	}
	first, last := m.span()
	p := bus.Parked{ID: s.session.order, First: first, Last: last, Frames: m.frames, Topic: m.record.Topic,
		Reason: reason.Error(), Time: time.Now().UnixMilli(), Message: message}
	r, err := p.Record()
	if err != nil {
		return err
	}
	t.commit.Put = append(t.commit.Put, r)
	tells, err := s.make.onlyGaps(&m.record)
	if err != nil {
		return err
	}
	if !tells { // or each sys.gap frame that is refused would bring another one
		t.commit.Gaps = append(t.commit.Gaps, bus.Gap{Range: bus.Range{First: p.First, Last: p.Last}, Consumer: s.session.source.Name(),
			Reason: bus.ReasonRefused, Time: p.Time, Topic: p.Topic, Parked: p.ID})
	}
	s.stats.parked()
	s.log.Error("message put aside: the broker does not take it; 'edge-bus parked' shows it, sends it again or drops it", "topic", p.Topic,
		"first_seq", p.First, "last_seq", p.Last, "parked", p.ID, "error", reason)
	s.parkedDue, t.more = true, true // to count them
	m.refused, m.record.Waited, s.retryAt = false, false, time.Time{}
	s.accepted(t, m, false)
	m.frames, m.size = 0, 0     // of it nothing is delivered
	if m.phase == phaseUnsure { // its exchange may be open at the broker
		if _, err := m.on(evGone); err != nil {
			return err
		}
		m.record.Refused = 0
		return s.release(t, m)
	}
	s.session.forget(m)
	t.commit.Delete = append(t.commit.Delete, m.record.key())
	s.windowDone(&t.commit, m.window)
	if s.faulted && !s.session.anyRefused() {
		s.retries, s.faulted = 0, false
		s.options.fault(nil)
	}
	return nil
}

// onlyGaps reports whether a message holds nothing but sys.gap frames.
func (k *maker) onlyGaps(r *messageRecord) (bool, error) {
	from, to := r.First, r.Last
	if r.From != 0 {
		from, to = r.From, r.To
	}
	batches, err := k.fetch(from, to)
	if err != nil && !isGone(err) {
		return false, err
	}
	own := append([]selector{{r.Template, r.Topic}}, r.Of...)
	for _, b := range chosen(batches, own) {
		for i := range b.Frames {
			if b.Kind == frame.Data && b.Set.Tags[b.Frames[i].Tag].Name != "sys.gap" {
				return false, nil
			}
		}
	}
	return true, nil
}

// takeParked has the parked messages sent that somebody has asked for, and tells how many
// there are otherwise.
func (s *sender) takeParked(t *turn) error {
	s.parkedDue = false
	records, err := s.session.source.Records()
	if err != nil {
		return err
	}
	left := 0
	for _, r := range records {
		if !bus.IsParked(r) {
			continue
		}
		p, err := bus.ParseParked(r)
		if err != nil {
			return err
		}
		if !p.Retry {
			left++
			continue
		}
		if err := s.unpark(t, &p); err != nil {
			return err
		}
	}
	if left == 0 {
		s.options.warn("parked", nil)
		return nil
	}
	s.options.warn("parked", fmt.Errorf("%d messages that the broker refused are put aside; see 'edge-bus parked list'", left))
	return nil
}

// unpark puts a parked message into flight, as one that was refused.
func (s *sender) unpark(t *turn, p *bus.Parked) error {
	m := new(message)
	if err := json.Unmarshal(p.Message, &m.record); err != nil {
		return fmt.Errorf("parked message %d: %w", p.ID, err)
	}
	id, err := s.session.takeID()
	if err != nil {
		return err
	}
	s.session.order++
	m.record.ID, m.record.Order, m.record.Refused = id, s.session.order, max(m.record.Refused, notSent)
	m.record.First, m.record.Last, m.record.From, m.record.To = p.First, p.Last, p.First, p.Last
	m.refused = true
	m.window = &window{record: windowRecord{First: p.First, Last: p.Last, Next: 1, Total: 1}, pending: 1, again: true}
	s.session.byID[id] = m
	s.session.inflight = append(s.session.inflight, m)
	t.commit.Delete = append(t.commit.Delete, p.Key())
	s.log.Info("a message that was put aside is sent again", "parked", p.ID, "topic", p.Topic, "first_seq", p.First, "last_seq", p.Last)
	return t.store(m)
}
