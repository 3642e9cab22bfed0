package opcua

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// The bounds of what is read from a server's history.
const (
	perHistoryRead = 100              // nodes in a request
	perHistoryNode = 1000             // values of a node in an answer
	mostBackfilled = 1_000_000        // values in one gap
	mostHistory    = 256 << 20        // bytes of values that wait to be published, which a server may swell
	mostFilling    = 10 * time.Minute // for one gap: newer values wait behind it
	sameStart      = 5 * time.Second  // nodes are asked for together whose last values are that near
)

// miss takes note that values of an item are lost after its last one.
func (it *item) miss() {
	if it.missed == 0 {
		it.missed = it.last
	}
}

// noteOverflows takes note, with backfill, of values that the server's queues threw away
// before the first values of a message. What is lost between values of one message, as with
// discard: newest, is told only: filling it would change their order.
func (r *runner) noteOverflows(s *subscription, fresh []*ua.MonitoredItemNotification) {
	if !r.s.Backfill || !slices.ContainsFunc(fresh, func(n *ua.MonitoredItemNotification) bool { return n.Value != nil && overflowed(n.Value.Status) }) {
		return
	}
	seen := make(map[uint32]bool, len(fresh))
	g := gap{why: queueFull, full: true}
	for _, n := range fresh {
		it := r.handles[n.ClientHandle]
		if seen[n.ClientHandle] || it == nil || n.Value == nil {
			continue
		}
		seen[n.ClientHandle] = true
		if !it.queued(n.Value) || it.last == 0 || it.missed != 0 {
			continue
		}
		it.miss()
		if at := time.Unix(0, it.missed); g.nodes == 0 || at.Before(g.from) {
			g.from = at
		}
		g.nodes++
	}
	if g.nodes > 0 && s.gap == nil {
		s.gap = &g
	}
}

// settleGaps settles what is lost before a message of s: with backfill, of all
// subscriptions, so that no item has newer values before its older ones.
func (r *runner) settleGaps(ctx context.Context, s *subscription, until time.Time, fresh []*ua.MonitoredItemNotification) error {
	for _, o := range r.subs {
		if o.gap == nil || o != s && !r.s.Backfill {
			continue
		}
		o.gap.tries++
		if err := r.settleGap(ctx, *o.gap, until, fresh); err != nil {
			return err
		}
		o.gap = nil
	}
	return nil
}

// mostTries is how often filling a gap may cost the connection, as with a server that is
// too slow for its history.
const mostTries = 2

// settleGap fills a gap that ends at until from the server's history, as far as it can,
// and tells of the rest. fresh is what the server sent first after it: it isn't observed
// yet, so that the values come in order.
func (r *runner) settleGap(ctx context.Context, g gap, until time.Time, fresh []*ua.MonitoredItemNotification) error {
	todo := r.lacking(until, fresh)
	if !r.s.Backfill || len(todo) == 0 || g.tries > mostTries {
		for _, it := range todo {
			it.missed = 0
		}
		r.tellRest(g, until)
		return nil
	}
	f := filling{gap: g, until: until, left: mostBackfilled, room: mostHistory, end: time.Now().Add(mostFilling), ask: r.askHistory}
	for len(todo) > 0 {
		n := 1
		for n < min(len(todo), perHistoryRead) && time.Duration(todo[n].missed-todo[0].missed) < sameStart {
			n++
		}
		if err := r.fillSome(ctx, &f, todo[:n]); err != nil {
			return err
		}
		todo = todo[n:]
	}
	if f.failed > 0 {
		g.nodes, g.why = f.failed, g.why+", and the server's history does not have it: "+f.why
		r.tellRest(g, until)
	}
	return nil
}

// tellRest tells what of a gap is lost for good. Of full queues that is told later, of many
// messages together.
func (r *runner) tellRest(g gap, until time.Time) {
	if !g.full {
		r.tellGap(g, until)
	}
}

// filling is a gap that is being filled.
type filling struct {
	gap    gap
	until  time.Time
	from   int64     // of the part that is being read, Unix nanoseconds
	left   int       // values that may still be read
	room   int       // bytes, about, that the values of a part may take
	kept   int       // bytes, about, of those that were read
	end    time.Time // of the time for all
	failed int       // nodes whose history does not have all
	why    string    // of the first of them

	ask func(context.Context, ua.Request) (ua.Response, error)
}

// spent says which of the bounds is reached; "": none.
func (f *filling) spent() string {
	switch {
	case f.left <= 0:
		return fmt.Sprintf("it is more than %d values", mostBackfilled)
	case f.kept > f.room:
		return fmt.Sprintf("its values take more than %d MiB", f.room>>20)
	case time.Now().After(f.end):
		return "reading it takes longer than " + mostFilling.String()
	}
	return ""
}

func (f *filling) fail(why string) {
	if f.failed++; f.failed == 1 {
		f.why = why
	}
}

// lacking returns the items that miss values, by the time of their last one, with the
// end of what they miss.
func (r *runner) lacking(until time.Time, fresh []*ua.MonitoredItemNotification) (todo []*item) {
	first := map[uint32]int64{}
	for _, n := range fresh {
		if n.Value != nil && first[n.ClientHandle] == 0 {
			first[n.ClientHandle] = sourceTime(n.Value, until)
		}
	}
	for _, it := range r.handles {
		if it.missed == 0 || it.id == nil || it.index < 0 {
			continue
		}
		if it.missedTo = first[it.handle]; it.missedTo == 0 {
			it.missedTo = until.UnixNano() + 1
		}
		todo = append(todo, it)
	}
	slices.SortFunc(todo, func(a, b *item) int { return cmp.Or(cmp.Compare(a.missed, b.missed), cmp.Compare(a.handle, b.handle)) })
	return todo
}

// old is a value of the past.
type old struct {
	it *item
	dv *ua.DataValue
	ts int64
}

// fillSome reads the history of items that miss values from about the same time on, and
// publishes it, in the order of its time, behind a frame that marks it.
func (r *runner) fillSome(ctx context.Context, f *filling, part []*item) error {
	var values []old
	f.from, f.kept = part[0].missed, 0
	for _, it := range part {
		it.known = false
	}
	failed, err := f.read(ctx, part, func(it *item, dv *ua.DataValue) {
		ts := sourceTime(dv, time.Time{})
		it.known = it.known || ts <= it.missed // it reaches back to what we have
		if ts > it.missed && ts < it.missedTo {
			values, f.kept = append(values, old{it, dv, ts}), f.kept+weightOf(dv)
		}
	})
	if err != nil {
		return err // the link is gone: they are asked for again after the next one
	}
	for _, it := range part {
		switch {
		case failed[it] != "":
			f.fail(failed[it])
		case !it.known:
			f.fail("it begins later than the last value that came")
		default:
			it.whole = true
		}
		it.missed = 0
	}
	if len(values) == 0 {
		return nil
	}
	for _, v := range values {
		if err := r.types.unfold(ctx, r.ask, v.dv.Value); err != nil {
			return err
		}
	}
	slices.SortStableFunc(values, func(a, b old) int { return cmp.Compare(a.ts, b.ts) })
	r.d.metrics.backfilled.WithLabelValues(r.d.id).Add(float64(len(values)))
	r.mark(f, part, len(values))
	now := time.Now()
	for part := range inParts(values) {
		b := r.plan.table.Begin(len(part))
		for _, v := range part {
			r.observeOne(b, v.it, v.dv, now)
		}
		r.emit(r.plan.table.End(b))
	}
	for _, v := range values {
		v.it.filled = v.ts
	}
	return nil
}

func (r *runner) askHistory(ctx context.Context, req ua.Request) (ua.Response, error) {
	began := time.Now()
	resp, err := r.ask(ctx, req)
	r.d.requested("history", time.Since(began), err)
	return resp, err
}

// partWeight bounds the values of one batch, in bytes, about: the log and those who read it
// handle a batch as a whole.
const partWeight = 4 << 20

// inParts cuts values into what goes into one batch each.
func inParts(values []old) iter.Seq[[]old] {
	return func(yield func([]old) bool) {
		from, size := 0, 0
		for i := range values {
			if size += weightOf(values[i].dv); size >= partWeight || i == len(values)-1 {
				if !yield(values[from : i+1]) {
					return
				}
				from, size = i+1, 0
			}
		}
	}
}

// read hands all raw values of items from the earliest that one misses to the gap's end
// to take, those of an item in the order of their time. failed says why an item's are
// not all.
func (f *filling) read(ctx context.Context, part []*item, take func(*item, *ua.DataValue)) (failed map[*item]string, err error) {
	failed = map[*item]string{}
	failAll := func(why string) (map[*item]string, error) {
		for _, it := range part {
			failed[it] = why
		}
		return failed, nil
	}
	nodes := make([]*ua.HistoryReadValueID, len(part))
	for i, it := range part {
		nodes[i] = &ua.HistoryReadValueID{NodeID: it.id, DataEncoding: &ua.QualifiedName{}}
	}
	details := ua.NewExtensionObject(&ua.ReadRawModifiedDetails{
		StartTime: time.Unix(0, part[0].missed).UTC(), EndTime: f.until.Add(time.Millisecond).UTC(), NumValuesPerNode: perHistoryNode,
	})
	for empty := 0; len(part) > 0; {
		if time.Now().After(f.end) {
			return failAll(f.spent())
		}
		resp, err := f.ask(ctx, &ua.HistoryReadRequest{HistoryReadDetails: details, TimestampsToReturn: ua.TimestampsToReturnBoth, NodesToRead: nodes})
		if _, answered := errors.AsType[*serviceError](err); err != nil && !answered {
			return failed, err
		}
		got, _ := resp.(*ua.HistoryReadResponse)
		if err == nil && (got == nil || len(got.Results) != len(part)) {
			err = unexpected(resp)
		}
		if err != nil {
			return failAll(err.Error())
		}
		empty++
		var rest []*item
		var more []*ua.HistoryReadValueID
		for i, res := range got.Results {
			it := part[i]
			why, n := takeHistory(res, it, take)
			if f.left -= n; n > 0 {
				empty = 0
			}
			if why == "" && len(res.ContinuationPoint) > 0 {
				nodes[i].ContinuationPoint = res.ContinuationPoint
				rest, more = append(rest, it), append(more, nodes[i])
			} else if why != "" {
				failed[it] = why
			}
		}
		part, nodes = rest, more
		switch why := f.spent(); {
		case why != "":
			return failAll(why) // of those that have more
		case empty > mostEmpty:
			return failAll(fmt.Sprintf("%d answers in a row promise more and bring no value", mostEmpty))
		}
	}
	return failed, nil
}

// takeHistory hands the values of a result on and returns their number.
func takeHistory(res *ua.HistoryReadResult, it *item, take func(*item, *ua.DataValue)) (why string, n int) {
	if res == nil {
		return "the server tells nothing", 0
	}
	if isBad(res.StatusCode) {
		return StatusText(res.StatusCode), 0
	}
	if res.HistoryData == nil {
		return "", 0
	}
	data, ok := res.HistoryData.Value.(*ua.HistoryData)
	if !ok {
		if res.HistoryData.Value == nil {
			return "", 0 // GoodNoData
		}
		return fmt.Sprintf("the server sends a %T", res.HistoryData.Value), 0
	}
	for _, dv := range data.DataValues {
		if dv != nil {
			take(it, dv)
		}
	}
	return "", len(data.DataValues)
}

// weightOf is about what a value takes in memory.
func weightOf(dv *ua.DataValue) int {
	if dv.Value == nil {
		return 200
	}
	return 200 + reach(reflect.ValueOf(dv.Value.Value()), 0)
}

// reach is about how many bytes v leads to. What is deeper than an answer may be (see
// [maxNested]) counts nothing.
func reach(v reflect.Value, depth int) (n int) {
	if depth > 4*maxNested {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		return 16 + v.Len()
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return 24 + v.Len()
		}
		for i := range v.Len() {
			n += reach(v.Index(i), depth+1)
		}
		return 24 + n
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 16
		}
		return 16 + reach(v.Elem(), depth+1)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return 24
		}
		for i := range v.NumField() {
			n += reach(v.Field(i), depth+1)
		}
		return n
	}
	return 8
}

// mark publishes a frame that says which of the following values come from the server's
// history.
func (r *runner) mark(f *filling, part []*item, values int) {
	from := f.from
	text, err := json.Marshal(map[string]any{
		"driver": r.d.id, "reason": f.gap.why, "nodes": len(part), "values": values,
		"from_time": time.Unix(0, from).UTC().Format(time.RFC3339Nano), "to_time": f.until.UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		return // of text and numbers there is no error
	}
	level := slog.LevelInfo
	if f.gap.full { // it may be in every message
		level = slog.LevelDebug
	}
	r.d.deps.Log.Log(r.ctx, level, "values were read from the server's history", "values", values, "nodes", len(part), "from", time.Unix(0, from), "to", f.until)
	v := frame.Frame{Value: frame.ObjectValue(string(text)), TS: time.Now().UnixNano()}
	r.emit(frame.Single(frame.Data, r.d.id, frame.Tag{Name: frame.SysPrefix + "backfill"}, v))
}
