package opcua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// item is a variable at the server.
type item struct {
	tag    string
	target target
	index  int    // in the plan's table; -1: removed
	handle uint32 // by which the server names it

	id        *ua.NodeID    // nil: not resolved
	sub       *subscription // nil: not watched
	monitored uint32        // the server's number of it
	bad       bool          // a reason is noted
	refused   bool          // to be tried again
	last      int64         // source time of the last value
	due       bool          // its value is to be read now
	missed    int64         // values after this time did not come; 0: none
	missedTo  int64         // and up to, not including, this time
	known     bool          // the history has the last value that came
	whole     bool          // what is missing before its next value came from the history
	filled    int64         // source time of the last value from the history
	asked     bool          // for names
	names     map[int64]string
}

// apply makes what the server does for us follow the newest plan. What the plan leaves
// as it was is not touched.
func (r *runner) apply(ctx context.Context) error {
	p, old := r.d.plans.Newest(), r.plan
	var gone, fresh []*item
	kept := make(map[string]bool, len(p.points))
	for i := range p.points {
		v, t := p.table.Variable(i), p.points[i]
		kept[v.Tag] = true
		it := r.items[v.Tag]
		if it != nil && it.target.node.String() == t.node.String() && it.target.watch == t.watch && it.target.read == t.read {
			if old != nil && !sameMeaning(old.table.Variable(it.index), v) {
				it.asked = false
				fresh = append(fresh, it)
			}
			it.index = i
			continue
		}
		if it != nil {
			gone = append(gone, it)
		}
		r.handle++
		it = &item{tag: v.Tag, target: t, index: i, handle: r.handle}
		r.items[v.Tag], r.handles[it.handle] = it, it
	}
	for tag, it := range r.items {
		if !kept[tag] {
			gone = append(gone, it)
			delete(r.items, tag)
		}
	}
	r.plan = p
	for _, it := range gone {
		it.index = -1
		delete(r.handles, it.handle)
		r.d.Forget(it.tag)
	}
	r.regroup()
	if err := r.unwatch(ctx, gone); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if len(fresh) > 0 && r.s.Mode == ModeSubscribe {
		return r.readItems(ctx, fresh)
	}
	return nil
}

// sameMeaning reports whether a value that was observed for a holds for b.
func sameMeaning(a, b *config.Variable) bool {
	return a.Datatype == b.Datatype && a.Address.Index == b.Address.Index && a.Scale == b.Scale && a.ScaleFrom == b.ScaleFrom && a.NA == b.NA && a.Unit == b.Unit
}

// unwatch tells the server that nobody wants these any more.
func (r *runner) unwatch(ctx context.Context, gone []*item) error {
	of := map[*subscription][]uint32{}
	for _, it := range gone {
		if it.sub != nil {
			of[it.sub] = append(of[it.sub], it.monitored)
			it.sub.nodes--
		}
	}
	for s, ids := range of {
		for part := range slices.Chunk(ids, r.caps.monitor) {
			_, err := r.ask(ctx, &ua.DeleteMonitoredItemsRequest{SubscriptionID: s.id, MonitoredItemIDs: part})
			if _, answered := errors.AsType[*serviceError](err); err != nil && !answered {
				return err
			}
		}
	}
	r.gauges()
	return nil
}

// settle resolves and watches what is not yet, and notes when to try again.
func (r *runner) settle(ctx context.Context) error {
	r.retryAt = time.Time{}
	var todo []*item
	for _, it := range r.handles {
		if it.id == nil {
			todo = append(todo, it)
		}
	}
	slices.SortFunc(todo, func(a, b *item) int { return int(a.handle) - int(b.handle) })
	err := r.resolve(ctx, todo)
	if len(todo) > 0 {
		r.c.step("resolve", err)
	}
	if err != nil {
		return err
	}
	if err := r.nameEnums(ctx); err != nil {
		return err
	}
	if r.s.Mode == ModeSubscribe {
		todo = todo[:0]
		for _, it := range r.handles {
			if it.id != nil && it.sub == nil && it.target.read {
				todo = append(todo, it)
			}
		}
		slices.SortFunc(todo, func(a, b *item) int { return int(a.handle) - int(b.handle) })
		if err := r.watchAll(ctx, todo); err != nil {
			return err
		}
	}
	for _, it := range r.handles {
		if it.refused {
			r.retryAt = time.Now().Add(r.s.Retry)
			break
		}
	}
	r.gauges()
	return nil
}

// resolve finds the node ids of items under the server's namespaces of now.
func (r *runner) resolve(ctx context.Context, todo []*item) error {
	var paths []*item
	for _, it := range todo {
		if it.target.node.isPath() {
			paths = append(paths, it)
			continue
		}
		id, err := it.target.node.id(r.namespaces)
		if err != nil {
			r.refuse(it, 0, err.Error(), "cfg says nsu=URI: compare it with edge-ctl browse, which shows the server's namespaces")
			continue
		}
		it.id = id
		r.d.resolved(it)
	}
	for part := range slices.Chunk(paths, r.caps.translate) {
		req := &ua.TranslateBrowsePathsToNodeIDsRequest{}
		for _, it := range part {
			req.BrowsePaths = append(req.BrowsePaths, it.target.node.browsePath())
		}
		resp, err := r.ask(ctx, req)
		if _, answered := errors.AsType[*serviceError](err); err != nil && !answered {
			return err
		}
		found, _ := resp.(*ua.TranslateBrowsePathsToNodeIDsResponse)
		for i, it := range part {
			r.translated(it, found, i, err)
		}
	}
	return nil
}

// translated takes result i of a question for paths.
func (r *runner) translated(it *item, found *ua.TranslateBrowsePathsToNodeIDsResponse, i int, err error) {
	const hint = "check the path with edge-ctl browse"
	switch {
	case err != nil:
		r.refuse(it, statusOf(err), "the server does not resolve the path: "+StatusText(statusOf(err)), hint)
	case found == nil || i >= len(found.Results):
		r.refuse(it, 0, "the server does not resolve the path", hint)
	case isBad(found.Results[i].StatusCode):
		r.refuse(it, found.Results[i].StatusCode, "refused: "+StatusText(found.Results[i].StatusCode), hint)
	case len(found.Results[i].Targets) != 1 || found.Results[i].Targets[0].TargetID == nil:
		r.refuse(it, 0, fmt.Sprintf("the path leads to %d nodes", len(found.Results[i].Targets)), hint)
	default:
		it.id = ua.NewNodeIDFromExpandedNodeID(found.Results[i].Targets[0].TargetID)
		r.d.resolved(it)
	}
}

// watchAll has the server watch items, in batches that it takes.
func (r *runner) watchAll(ctx context.Context, todo []*item) error {
	told := time.Now()
	for done := 0; done < len(todo); {
		s, err := r.room(ctx)
		if err != nil {
			return err
		}
		n := min(len(todo)-done, r.caps.monitor, perSubscription-s.nodes)
		if err := r.watchSome(ctx, s, todo[done:done+n]); err != nil {
			return err
		}
		done += n
		if time.Since(told) > 2*time.Second && done < len(todo) {
			told = time.Now()
			r.d.deps.Log.Info("nodes are being subscribed", "done", done, "of", len(todo))
		}
		if err := r.meanwhile(ctx); err != nil {
			return err
		}
	}
	return nil
}

// meanwhile takes what the server published while nodes are still being subscribed.
func (r *runner) meanwhile(ctx context.Context) error {
	for {
		r.fill()
		select {
		case rep := <-r.pubs:
			if rep.err != nil {
				r.outstanding--
				continue // if it matters, the next request fails alike
			}
			if err := r.published(ctx, rep); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// room returns a subscription that can take more nodes, making it where there is none.
func (r *runner) room(ctx context.Context) (*subscription, error) {
	for _, s := range r.subs {
		if s.nodes < perSubscription {
			return s, nil
		}
	}
	alive := max(1, uint32(r.s.Keepalive/r.s.Publishing))
	resp, err := r.ask(ctx, &ua.CreateSubscriptionRequest{
		RequestedPublishingInterval: milliseconds(r.s.Publishing), RequestedMaxKeepAliveCount: alive,
		RequestedLifetimeCount:     max(3*alive, uint32(min(r.s.SessionTimeout/r.s.Publishing, 1<<31))),
		MaxNotificationsPerPublish: perPublish, PublishingEnabled: true,
	})
	r.c.step("subscribe", err)
	if err != nil {
		return nil, err
	}
	made, ok := resp.(*ua.CreateSubscriptionResponse)
	if !ok {
		return nil, unexpected(resp)
	}
	s := &subscription{id: made.SubscriptionID, next: 0, heard: time.Now(), gap: r.gap}
	r.gap = nil
	s.keepalive = max(fromMilliseconds(made.RevisedPublishingInterval)*time.Duration(made.RevisedMaxKeepAliveCount), minKeepalive)
	r.subs = append(r.subs, s)
	return s, nil
}

// watchSome has the server watch items in one request.
func (r *runner) watchSome(ctx context.Context, s *subscription, part []*item) error {
	req := &ua.CreateMonitoredItemsRequest{SubscriptionID: s.id, TimestampsToReturn: ua.TimestampsToReturnBoth}
	for _, it := range part {
		w := &it.target.watch
		req.ItemsToCreate = append(req.ItemsToCreate, &ua.MonitoredItemCreateRequest{
			ItemToMonitor: valueOf(it.id), MonitoringMode: ua.MonitoringModeReporting,
			RequestedParameters: &ua.MonitoringParameters{
				ClientHandle: it.handle, SamplingInterval: milliseconds(w.sample), QueueSize: w.queue, DiscardOldest: !w.newest, Filter: w.filter(),
			},
		})
	}
	resp, err := r.ask(ctx, req)
	r.c.step("monitor", err)
	if err != nil {
		if _, answered := errors.AsType[*serviceError](err); answered && len(part) > 1 && statusOf(err) == ua.StatusBadTooManyOperations {
			r.caps.monitor = max(1, len(part)/2) // the server told a higher limit, or none
			if err := r.watchSome(ctx, s, part[:r.caps.monitor]); err != nil {
				return err
			}
			return r.watchSome(ctx, s, part[len(part)/2:])
		}
		return err
	}
	made, ok := resp.(*ua.CreateMonitoredItemsResponse)
	if !ok || len(made.Results) != len(part) {
		return unexpected(resp)
	}
	for i, res := range made.Results {
		it := part[i]
		if isBad(res.StatusCode) {
			r.refuse(it, res.StatusCode, "refused: "+StatusText(res.StatusCode), hintOf(res.StatusCode))
			continue
		}
		it.refused = false
		it.sub, it.monitored = s, res.MonitoredItemID
		s.nodes++
		if got := fromMilliseconds(res.RevisedSamplingInterval); got > it.target.watch.sample*3/2 && !r.slow {
			r.slow = true
			r.d.deps.Log.Warn("the server samples more slowly than asked for", "tag", it.tag, "asked", it.target.watch.sample, "got", got)
		}
	}
	return nil
}

// refuse notes why an item can't be had; code is the server's own reason, 0 if it gave
// none.
func (r *runner) refuse(it *item, code ua.StatusCode, text, hint string) {
	it.refused = true
	r.explain(it, text, hint)
	if it.target.read && it.index >= 0 {
		b := r.plan.table.Begin(1)
		r.plan.table.LostStatus(b, it.index, time.Now().UnixNano(), ownReason(code))
		r.emit(r.plan.table.End(b))
	}
}

// ownReason is the status of a frame.
func ownReason(code ua.StatusCode) string {
	if quality(code) == frame.Good {
		return ""
	}
	return StatusText(code)
}

// explain notes why a tag is bad, and logs it where that is new.
func (r *runner) explain(it *item, text, hint string) {
	it.bad = true
	if r.d.Note(it.tag, driver.Reason{Text: text, Hint: hint}) {
		r.d.deps.Log.Warn("tag cannot be read", "tag", it.tag, "node", it.target.node.String(), "reason", text)
	}
}

// observe hands the values of a message to the points.
func (r *runner) observe(list []*ua.MonitoredItemNotification) {
	now := time.Now()
	r.d.metrics.values.WithLabelValues(r.d.id).Add(float64(len(list)))
	r.lost = false
	table := r.plan.table
	b := table.Begin(len(list))
	for _, n := range list {
		if it := r.handles[n.ClientHandle]; it != nil && it.index >= 0 && n.Value != nil {
			r.observeOne(b, it, n.Value, now)
			it.whole = false
		}
	}
	r.emit(table.End(b))
}

// queued reports whether the server's queue has lost values before this one.
func (it *item) queued(dv *ua.DataValue) bool {
	return it.target.watch.queue > 1 && overflowed(dv.Status)
}

// observeOne hands one value to its point.
func (r *runner) observeOne(b *frame.Batch, it *item, dv *ua.DataValue, now time.Time) {
	table := r.plan.table
	ts := sourceTime(dv, now)
	filled := it.filled
	if it.filled = 0; filled != 0 && ts <= filled {
		return // it came from the history
	}
	if it.queued(dv) {
		r.overflowed(it, ts)
	}
	q := quality(dv.Status)
	own := table.Variable(it.index)
	v, err := (&meaning{own.Datatype, own.Address.Index, it.names}).value(dv.Value)
	switch {
	case q == frame.Bad:
		r.explain(it, "refused: "+StatusText(dv.Status), hintOf(dv.Status))
	case err != nil:
		v, q = frame.Value{}, frame.Bad
		r.explain(it, err.Error(), "set the variable's datatype to what the server has")
	case it.bad:
		it.bad = false
		r.d.Forget(it.tag)
	}
	it.last = ts
	table.ObserveStatus(b, it.index, v, q, ts, ownReason(dv.Status))
}

// gauges counts what the server has for us.
func (r *runner) gauges() {
	nodes := 0
	for _, s := range r.subs {
		nodes += s.nodes
	}
	r.d.metrics.subscriptions.WithLabelValues(r.d.id).Set(float64(len(r.subs)))
	r.d.metrics.items.WithLabelValues(r.d.id).Set(float64(nodes))
}
