package opcua

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

const (
	mostPublish     = 64     // publish requests at once
	spareRequests   = 2      // beyond one for each subscription
	perSubscription = 5000   // nodes
	perPublish      = 10_000 // values in one message
	mostMissing     = 1000   // messages that are asked for again
)

// subscription is one that the server has for us.
type subscription struct {
	id        uint32
	keepalive time.Duration // the longest silence that the server promised
	next      uint32        // sequence number of the next message; 0: any
	heard     time.Time
	doubted   time.Time // the server answered, and this was silent for too long; zero: it isn't
	published time.Time // by the server's clock: its last message
	nodes     int
	gap       *gap // to be told with the first values
}

// gap is a time whose values are lost.
type gap struct {
	from  time.Time
	why   string
	nodes int
	tries int  // to fill it
	full  bool // the server's queues were full, and nothing else is lost
}

// overflow is what the server's queues lost lately.
type overflow struct {
	from, to int64 // Unix nanoseconds
	tags     map[string]bool
	since    time.Time
}

// queueFull is why values are lost that the server had.
const queueFull = "the server's queue was full: raise queue_size, or publish more often"

// overflowEvery bounds how often lost values are told of.
const overflowEvery = 5 * time.Second

// fill sends publish requests, so that the server can always say something.
func (r *runner) fill() {
	if len(r.subs) == 0 {
		return
	}
	for want := min(len(r.subs)+spareRequests, r.most, mostPublish); r.outstanding < want; r.outstanding++ {
		acks := r.acks
		r.acks = nil
		if _, err := r.ch.send(r.sess.auth, &ua.PublishRequest{SubscriptionAcknowledgements: acks}, 0, r.pubs); err != nil {
			return // the channel has ended, or is about to
		}
	}
}

// published takes an answer to a publish request.
func (r *runner) published(ctx context.Context, rep reply) error {
	r.outstanding--
	if rep.err != nil {
		return r.unpublished(ctx, rep.err)
	}
	resp, ok := rep.resp.(*ua.PublishResponse)
	if !ok || resp.NotificationMessage == nil {
		return &linkError{"publish", unexpected(rep.resp)}
	}
	r.good(time.Now(), 0)
	i := slices.IndexFunc(r.subs, func(s *subscription) bool { return s.id == resp.SubscriptionID })
	if i < 0 {
		return nil // of a subscription that we have given up
	}
	return r.take(ctx, r.subs[i], resp.NotificationMessage, resp.ResponseHeader.Timestamp)
}

// unpublished takes a publish request that failed.
func (r *runner) unpublished(ctx context.Context, err error) error {
	switch statusOf(err) {
	case ua.StatusBadTooManyPublishRequests:
		r.most = max(1, min(r.most-1, r.outstanding))
		return nil
	case ua.StatusBadNoSubscription:
		for _, s := range slices.Clone(r.subs) {
			r.lose(s, "the server has deleted the subscription")
		}
		return r.settle(ctx)
	case ua.StatusBadTimeout, ua.StatusBadRequestTimeout:
		return nil
	}
	if sessionGone(err) {
		r.sess = nil
		return closedSession(err)
	}
	return &linkError{"publish", err}
}

// take processes a message of a subscription, which was answered at that time of the
// server, and those before it that did not come.
func (r *runner) take(ctx context.Context, s *subscription, m *ua.NotificationMessage, at time.Time) error {
	s.heard, s.doubted = time.Now(), time.Time{}
	alive := len(m.NotificationData) == 0
	if s.next != 0 && m.SequenceNumber != s.next {
		if before(m.SequenceNumber, s.next) {
			if !alive {
				r.ack(s, m.SequenceNumber) // it was sent again, and had been processed
			}
			return nil
		}
		if err := r.missing(ctx, s, m.SequenceNumber, laterOf(m.PublishTime, at)); err != nil {
			return err
		}
	}
	if alive {
		s.next = m.SequenceNumber
		s.published = laterOf(s.published, laterOf(m.PublishTime, at))
		r.d.metrics.notifications.WithLabelValues(r.d.id, "keepalive").Inc()
		return nil
	}
	return r.process(ctx, s, m, at)
}

// laterOf returns the later one of two times. Some servers leave their times out.
func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// newest returns the source time of the newest value of a message.
func newest(m *ua.NotificationMessage) (t time.Time) {
	for _, data := range m.NotificationData {
		if n, ok := data.Value.(*ua.DataChangeNotification); ok {
			for _, v := range n.MonitoredItems {
				if v.Value != nil {
					t = laterOf(t, v.Value.SourceTimestamp)
				}
			}
		}
	}
	return t
}

// before reports whether sequence number a comes before b; they begin again at 1.
func before(a, b uint32) bool { return int32(a-b) < 0 }

func following(n uint32) uint32 {
	if n++; n == 0 {
		n = 1
	}
	return n
}

func (r *runner) ack(s *subscription, n uint32) {
	r.acks = append(r.acks, &ua.SubscriptionAcknowledgement{SubscriptionID: s.id, SequenceNumber: n})
}

// process takes what a message says that came at that time of the server, the zero
// time if that is not known.
func (r *runner) process(ctx context.Context, s *subscription, m *ua.NotificationMessage, at time.Time) error {
	r.ack(s, m.SequenceNumber)
	s.next = following(m.SequenceNumber)
	last := s.published
	if s.published = m.PublishTime; s.published.IsZero() {
		s.published = laterOf(last, newest(m))
	}
	r.d.metrics.notifications.WithLabelValues(r.d.id, "data").Inc()
	for _, data := range m.NotificationData {
		switch n := data.Value.(type) {
		case *ua.DataChangeNotification:
			err := r.unfold(ctx, n.MonitoredItems)
			if err == nil {
				r.noteOverflows(s, n.MonitoredItems)
				err = r.settleGaps(ctx, s, laterOf(s.published, at), n.MonitoredItems)
			}
			if err != nil {
				s.next = m.SequenceNumber // it is asked for again
				return err
			}
			r.observe(n.MonitoredItems)
		case *ua.StatusChangeNotification:
			r.d.deps.Log.Warn("the server changes the subscription", "status", StatusText(n.Status))
			if isBad(n.Status) || n.Status == ua.StatusGoodSubscriptionTransferred {
				s.published = last
				r.lose(s, "the server ended the subscription: "+StatusText(n.Status))
				return r.settle(ctx)
			}
		}
	}
	return nil
}

// missing asks for the messages from s.next to, not including, end again. What the
// server has no more is a gap, up to the time of the message that came.
func (r *runner) missing(ctx context.Context, s *subscription, end uint32, until time.Time) error {
	from, lost := s.published, 0
	for n := s.next; n != end; n = following(n) {
		if end-s.next > mostMissing {
			lost = int(end - s.next)
			break
		}
		ok, err := r.republish(ctx, s, n)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		if lost++; r.s.Backfill { // before what comes after it
			r.note(s, gap{from: s.published, why: "a message of the server did not arrive, and it has it no more", nodes: s.nodes})
		}
	}
	if lost > 0 {
		if until.IsZero() {
			until = time.Now()
		}
		g := gap{from: from, why: fmt.Sprintf("%d messages of the server did not arrive, and it has them no more", lost), nodes: s.nodes}
		if r.s.Backfill {
			r.note(s, g)
		} else {
			r.tellGap(g, until)
		}
	}
	s.next = end
	return nil
}

// since returns from, or when the values that full queues lost begin, if that is earlier.
func (s *subscription) since(from time.Time) time.Time {
	if s.gap != nil && s.gap.full && s.gap.from.Before(from) {
		return s.gap.from
	}
	return from
}

// note takes note that values of a subscription are lost: what it sends next settles that.
func (r *runner) note(s *subscription, g gap) {
	if s.gap != nil && !s.gap.full {
		return
	}
	g.from = s.since(g.from)
	s.gap = &g
	for _, it := range r.handles {
		if it.sub == s {
			it.miss()
		}
	}
}

// republish asks for message n of a subscription and processes it. ok is false if the
// server does not have it.
func (r *runner) republish(ctx context.Context, s *subscription, n uint32) (ok bool, err error) {
	resp, err := r.ask(ctx, &ua.RepublishRequest{SubscriptionID: s.id, RetransmitSequenceNumber: n})
	if err != nil {
		if _, answered := errors.AsType[*serviceError](err); answered && statusOf(err) == ua.StatusBadMessageNotAvailable {
			return false, nil
		}
		return false, err
	}
	m, is := resp.(*ua.RepublishResponse)
	if !is || m.NotificationMessage == nil {
		return false, unexpected(resp)
	}
	r.d.metrics.republished.WithLabelValues(r.d.id).Inc()
	return true, r.process(ctx, s, m.NotificationMessage, time.Time{})
}

// transfer moves the subscriptions of before to the new session. Those that the server
// does not move are lost.
func (r *runner) transfer(ctx context.Context) error {
	if len(r.subs) == 0 {
		return nil
	}
	req := &ua.TransferSubscriptionsRequest{}
	for _, s := range r.subs {
		req.SubscriptionIDs = append(req.SubscriptionIDs, s.id)
	}
	resp, err := r.ask(ctx, req)
	r.c.step("transfer", err)
	if _, answered := errors.AsType[*serviceError](err); err != nil && !answered {
		return err
	}
	moved, _ := resp.(*ua.TransferSubscriptionsResponse)
	for i, s := range slices.Clone(r.subs) {
		if err != nil || moved == nil || i >= len(moved.Results) || isBad(moved.Results[i].StatusCode) {
			r.lose(s, "the session was lost, and with it the subscription")
		}
	}
	return nil
}

// resume asks for what the server sent while nobody listened.
func (r *runner) resume(ctx context.Context) error {
	lost := r.lost // what is sent again resets it
	for _, s := range slices.Clone(r.subs) {
		s.heard, s.doubted = time.Now(), time.Time{}
		for n := 0; s.next != 0 && n < mostMissing; n++ {
			ok, err := r.republish(ctx, s, s.next)
			if _, answered := errors.AsType[*serviceError](err); answered {
				r.lose(s, "the server has the subscription no more: "+StatusText(statusOf(err)))
				break
			}
			if err != nil {
				return err
			}
			if !ok {
				break
			}
		}
	}
	if len(r.subs) > 0 && lost {
		r.refreshAt = time.Now().Add(2 * r.s.Publishing) // after what the server has queued
	}
	r.c.step("resume", nil)
	return nil
}

// lose gives a subscription up. Its nodes will be watched by another one.
func (r *runner) lose(s *subscription, why string) {
	i := slices.Index(r.subs, s)
	if i < 0 {
		return
	}
	r.subs = slices.Delete(r.subs, i, i+1)
	for _, it := range r.handles {
		if it.sub == s {
			it.sub, it.monitored = nil, 0
			it.miss()
		}
	}
	r.d.deps.Log.Warn("a subscription is lost", "reason", why, "nodes", s.nodes)
	from := s.since(s.published)
	if s.gap != nil && !s.gap.full && r.gap == nil {
		r.gap = s.gap // it gave no value that this could be told with
		return
	}
	if from.IsZero() {
		return // it never gave a value
	}
	if r.gap == nil {
		r.gap = &gap{from: from, why: why}
	}
	if from.Before(r.gap.from) {
		r.gap.from = from
	}
	r.gap.nodes += s.nodes
}

// tellGap publishes a sys.gap frame: values of that time are lost.
func (r *runner) tellGap(g gap, to time.Time) {
	if to.Before(g.from) {
		to = time.Now()
	}
	r.d.metrics.gaps.WithLabelValues(r.d.id).Inc()
	r.d.deps.Log.Warn("values are lost", "reason", g.why, "from", g.from, "to", to, "nodes", g.nodes)
	text, err := json.Marshal(map[string]any{
		"driver": r.d.id, "reason": g.why, "nodes": g.nodes,
		"from_time": g.from.UTC().Format(time.RFC3339Nano), "to_time": to.UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		return // of text and numbers there is no error
	}
	f := frame.Frame{Value: frame.ObjectValue(string(text)), TS: time.Now().UnixNano()}
	r.emit(frame.Single(frame.Data, r.d.id, frame.Tag{Name: frame.SysPrefix + "gap"}, f))
}

// overflowed notes that the server threw values of a tag away.
func (r *runner) overflowed(it *item, ts int64) {
	r.d.metrics.overflows.WithLabelValues(r.d.id).Inc()
	if it.whole {
		return // they came from the history
	}
	o := &r.overflow
	if len(o.tags) == 0 {
		*o = overflow{from: ts, to: ts, tags: map[string]bool{}, since: time.Now()}
	}
	if it.last != 0 {
		o.from = min(o.from, it.last)
	}
	o.to = max(o.to, ts)
	o.tags[it.tag] = true
}

// tellOverflow tells of lost values once in a while.
func (r *runner) tellOverflow(now time.Time) {
	o := &r.overflow
	if len(o.tags) == 0 || now.Sub(o.since) < overflowEvery {
		return
	}
	r.tellGap(gap{from: time.Unix(0, o.from), why: queueFull, nodes: len(o.tags)}, time.Unix(0, o.to))
	o.tags = nil
}
