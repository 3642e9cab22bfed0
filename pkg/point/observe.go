package point

import (
	"fmt"
	"math"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Begin starts a batch for one answer of the device, with room for n frames. The
// table is locked until End: decode between the two, but do not wait.
func (t *Table) Begin(n int) *frame.Batch {
	t.lock.Lock()
	t.lock.open = true
	t.lock.answer++
	if b := t.spare; b != nil && cap(b.Frames) >= n {
		t.spare = nil
		return b
	}
	return &frame.Batch{Kind: frame.Data, Set: t.set, Frames: make([]frame.Frame, 0, n)}
}

// Observe takes a raw value of point i, read at ts (Unix nanoseconds), and
// appends a frame to b if the variable's rules ask for one. It does not allocate
// (but for scales that are not linear) as long as b has room.
func (t *Table) Observe(b *frame.Batch, i int, raw frame.Value, q frame.Quality, ts int64) {
	p := &t.points[i]
	v, q := p.engineering(raw, q)
	if old := p.state.last.Value.TextBytes(); (v.TextBytes() > longText || old > longText) && p.factor < 0 {
		reason := t.reason
		v, q = t.long(v, q, old)
		t.settle(b, i, v, q, ts)
		t.reason = reason
		return
	}
	if p.factor >= 0 && q != frame.Bad {
		if t.points[p.factor].state.answer != t.lock.answer { // it may come with a later register
			t.waiting = append(t.waiting, waiting{i, v, q, ts, t.reason})
			return
		}
		v, q = t.applyFactor(p, v, q)
	}
	t.settle(b, i, v, q, ts)
	if p.isFactor {
		p.state.answer = t.lock.answer
	}
}

// The bounds of texts, in bytes. The last value of each tag stays in memory, and devices
// decide how long it is.
const (
	longText  = 4 << 10   // shorter ones are not counted
	mostText  = 1 << 20   // of one value
	mostTexts = 128 << 20 // of all that are long, of one driver
)

// long counts a text that takes the place of one with old bytes. One for which there is
// no room is bad.
func (t *Table) long(v frame.Value, q frame.Quality, old int) (frame.Value, frame.Quality) {
	if old > longText {
		t.lock.texts -= old
	}
	switch n := v.TextBytes(); {
	case n <= longText:
		return v, q
	case n > mostText:
		t.reason = fmt.Sprintf("a text of %d bytes, longer than %d", n, mostText)
	case t.lock.texts+n > mostTexts:
		t.reason = fmt.Sprintf("the driver's texts are longer than %d bytes together", mostTexts)
	default:
		t.lock.texts += n
		return v, q
	}
	return frame.Value{}, frame.Bad
}

// ObserveStatus is [Table.Observe] with the device's own reason for q, which the frame
// has where q isn't good.
func (t *Table) ObserveStatus(b *frame.Batch, i int, raw frame.Value, q frame.Quality, ts int64, status string) {
	t.reason = status
	t.Observe(b, i, raw, q, ts)
	t.reason = ""
}

// settle remembers a value and appends a frame to b if the rules ask for one. Its
// arguments fit the processor's registers: this is the hottest call there is.
func (t *Table) settle(b *frame.Batch, i int, v frame.Value, q frame.Quality, ts int64) {
	p := &t.points[i]
	st := p.state
	due := p.onChange && (p.differs(v, q) || q != frame.Good && t.reason != st.status || p.heartbeatDue(ts))
	st.last.Value, st.last.Quality, st.last.TS, st.last.Known = v, q, ts, true
	st.last.Lost = false
	if q != frame.Bad {
		st.lost = false
	}
	switch {
	case due:
		st.report(b, i, v, q, ts)
	case !p.onChange:
		st.reported = false // what was reported last is not remembered: half the memory to touch
		st.append(b, i, v, q, ts)
	}
	if q != frame.Good {
		st.status = t.reason
		if due || !p.onChange {
			st.explain(b)
		}
	}
}

// Lost takes note that point i could not be read at ts (Unix nanoseconds) and
// appends a bad frame without a value, once, until the next Observe of a value
// that is not bad.
func (t *Table) Lost(b *frame.Batch, i int, ts int64) { t.LostStatus(b, i, ts, "") }

// LostStatus is [Table.Lost] with the device's own reason. Another one than the last
// frame's gives a frame too.
func (t *Table) LostStatus(b *frame.Batch, i int, ts int64, status string) {
	st := t.points[i].state
	if st.lost && (status == "" || status == st.status) {
		return
	}
	st.lost, st.status = true, status
	if old := st.last.Value.TextBytes(); old > longText {
		t.lock.texts -= old
	}
	st.last.Value, st.last.Quality, st.last.TS, st.last.Known, st.last.Lost = frame.Value{}, frame.Bad, ts, true, true
	st.report(b, i, frame.Value{}, frame.Bad, ts)
	st.explain(b)
}

// End unlocks the table and returns b, which is now the caller's to publish, or
// nil if it holds no frame.
func (t *Table) End(b *frame.Batch) *frame.Batch {
	defer func() {
		t.lock.open = false
		t.lock.Unlock()
	}()
	t.settleWaiting(b)
	n := len(b.Frames)
	switch {
	case n == 0:
		t.spare = b
		return nil
	case n <= cap(b.Frames)/2 && cap(b.Frames) > 16:
		// Few of many points had news. Batches stay in memory for a while after
		// they were published: hand out one of the right size, keep the large.
		small := *b
		small.Frames = append(make([]frame.Frame, 0, n), b.Frames...)
		clear(b.Frames)
		b.Frames, b.Statuses = b.Frames[:0], nil
		t.spare = b
		return &small
	}
	return b
}

// ReportAll forgets what was reported, so that the next observation of each point
// becomes a frame whatever its rule says. A driver that begins anew needs it: the
// one before may have ended with frames that it could not publish. Last values
// stay.
func (t *Table) ReportAll() {
	t.lock.Lock()
	defer t.lock.Unlock()
	for i := range t.points {
		st := t.points[i].state
		st.reported, st.lost, st.sentTS = false, false, 0
	}
}

// Abandon unlocks the table after a panic between Begin and End. It may be called
// only when no goroutine decodes with the table, or one of its lineage, any more,
// and [Table.ReportAll] should follow.
func (t *Table) Abandon() {
	if t.lock.open {
		t.waiting, t.reason = t.waiting[:0], ""
		t.lock.open = false
		t.lock.Unlock()
	}
}

// Scale turns a raw value of point i into engineering units; nothing is
// remembered. It is for values that are read on demand.
func (t *Table) Scale(i int, raw frame.Value) (frame.Value, frame.Quality) {
	p := &t.points[i]
	v, q := p.engineering(raw, frame.Good)
	if p.factor < 0 || q == frame.Bad {
		return v, q
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.applyFactor(p, v, q)
}

// engineering scales raw and finds out what the value is worth.
func (p *point) engineering(raw frame.Value, q frame.Quality) (frame.Value, frame.Quality) {
	v := raw
	if p.na != nil {
		v = p.available(v)
	}
	if p.scale != nil && !v.IsNone() {
		v, q = p.scaled(v, q)
	}
	switch v.Kind() {
	case frame.KindNone:
		return v, frame.Bad
	case frame.KindFloat:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return frame.Value{}, frame.Bad
		}
	}
	return v, q
}

// available returns raw without what the device calls not available: no value, or an
// array with nulls.
func (p *point) available(raw frame.Value) frame.Value {
	if slices.Contains(p.na, raw) {
		return frame.Value{}
	}
	v, _ := raw.MapNumbers(func(n frame.Value) (frame.Value, bool) {
		if slices.Contains(p.na, n) {
			n = frame.Value{} // null
		}
		return n, true
	})
	return v
}

// scaled runs the scale. What was rounded because no 64 bits hold it is uncertain.
// An array is scaled element by element.
func (p *point) scaled(raw frame.Value, q frame.Quality) (frame.Value, frame.Quality) {
	if raw.Kind() == frame.KindArray {
		v, ok := raw.MapNumbers(func(n frame.Value) (frame.Value, bool) {
			v, worth := p.scaled(n, frame.Good)
			q = max(q, worth)
			return v, !v.IsNone()
		})
		if !ok {
			return frame.Value{}, frame.Bad
		}
		return v, q
	}
	if p.integer {
		if v, ok := p.scale.EvalInteger(raw); ok {
			return v, q
		}
		if q == frame.Good {
			q = frame.Uncertain
		}
	}
	n, ok := raw.Number()
	if !ok {
		return raw, q
	}
	f, err := p.scale.Eval(n)
	if err != nil {
		return frame.Value{}, frame.Bad
	}
	return frame.FloatValue(f), q
}

// differs reports whether v and q are news after the last frame.
func (p *point) differs(v frame.Value, q frame.Quality) bool {
	st := p.state
	if !st.reported || q != st.sentQ {
		return true
	}
	if v == st.sent {
		return false
	}
	if p.deadband > 0 {
		if within, ok := v.Within(st.sent, p.deadband); ok {
			return !within
		}
	}
	return true
}

// heartbeatDue reports whether this poll is nearer to the heartbeat than the
// next will be. A clock that was set back makes it due.
func (p *point) heartbeatDue(ts int64) bool {
	if p.heartbeat == 0 {
		return false
	}
	st := p.state
	since, sincePoll := ts-st.sentTS, ts-st.last.TS
	return since < 0 || since+sincePoll/2 >= p.heartbeat
}

// report appends a frame of point i to b and remembers it.
func (st *state) report(b *frame.Batch, i int, v frame.Value, q frame.Quality, ts int64) {
	st.sent, st.sentQ, st.sentTS, st.reported = v, q, ts, true
	st.append(b, i, v, q, ts)
}

// append appends a frame of point i to b.
func (st *state) append(b *frame.Batch, i int, v frame.Value, q frame.Quality, ts int64) {
	st.last.Frames++
	b.Frames = append(b.Frames, frame.Frame{Value: v, TS: ts, Tag: uint32(i), Quality: q})
}

// explain gives b's last frame the reason that it isn't good.
func (st *state) explain(b *frame.Batch) {
	b.Frames[len(b.Frames)-1].Status = b.AddStatus(st.status)
}
