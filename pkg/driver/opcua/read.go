package opcua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// limits are how many nodes a request may have: the server's where it tells them, ours
// otherwise.
type limits struct{ read, monitor, translate, browse int }

// valueOf asks for a node's value.
func valueOf(id *ua.NodeID) *ua.ReadValueID { return attributeOf(id, ua.AttributeIDValue) }

func attributeOf(id *ua.NodeID, a ua.AttributeID) *ua.ReadValueID {
	return &ua.ReadValueID{NodeID: id, AttributeID: a, DataEncoding: &ua.QualifiedName{}}
}

// learn reads the server's namespaces and limits. Under other namespaces than before,
// nothing of before holds.
func (r *runner) learn(ctx context.Context) error {
	namespaces, caps, err := learn(ctx, r.ask, r.s.MaxPerRequest)
	if err != nil {
		return err
	}
	if r.namespaces != nil && !slices.Equal(r.namespaces, namespaces) {
		r.d.deps.Log.Warn("the server's namespaces are others than before", "namespaces", namespaces)
		for _, s := range slices.Clone(r.subs) {
			r.lose(s, "the server has other namespaces than before")
		}
	}
	r.enums, r.types = map[string]map[int64]string{}, newStructTypes()
	for _, it := range r.handles { // a path may lead elsewhere now
		it.asked = false
		if it.sub == nil {
			it.id = nil
		}
	}
	r.namespaces, r.caps = namespaces, caps
	return nil
}

// asker sends a request of a session and waits for its answer.
type asker func(context.Context, ua.Request) (ua.Response, error)

func learn(ctx context.Context, ask asker, most int) ([]string, limits, error) {
	ids := []uint32{idNamespaceArray, idMaxNodesPerRead, idMaxMonitoredItemsPerCall, idMaxNodesPerTranslate, idMaxNodesPerBrowse}
	nodes := make([]*ua.ReadValueID, len(ids))
	for i, id := range ids {
		nodes[i] = valueOf(ua.NewNumericNodeID(0, id))
	}
	values, err := readNodes(ctx, ask, nodes, 1) // that much every server takes
	if err != nil {
		return nil, limits{}, err
	}
	namespaces, _ := values[0].Value.Value().([]string)
	if len(namespaces) == 0 {
		return nil, limits{}, errors.New("the server tells no namespaces")
	}
	limit := func(i int) int {
		n, _ := values[i].Value.Value().(uint32)
		if n == 0 || isBad(values[i].Status) {
			return most
		}
		return min(int(min(n, 1<<30)), most)
	}
	return namespaces, limits{limit(1), limit(2), limit(3), limit(4)}, nil
}

// readNodes reads attributes, limit of them in one request.
func readNodes(ctx context.Context, ask asker, nodes []*ua.ReadValueID, limit int) ([]*ua.DataValue, error) {
	out := make([]*ua.DataValue, 0, len(nodes))
	for part := range slices.Chunk(nodes, max(1, limit)) {
		resp, err := ask(ctx, &ua.ReadRequest{TimestampsToReturn: ua.TimestampsToReturnBoth, NodesToRead: part})
		if err != nil {
			return nil, err
		}
		got, ok := resp.(*ua.ReadResponse)
		if !ok || len(got.Results) != len(part) || slices.Contains(got.Results, nil) {
			return nil, fmt.Errorf("the server answers %d of %d reads", countOf(got), len(part))
		}
		for _, dv := range got.Results {
			if dv.Value == nil {
				dv.Value = new(ua.Variant)
			}
		}
		out = append(out, got.Results...)
	}
	return out, nil
}

func countOf(r *ua.ReadResponse) int {
	if r == nil {
		return 0
	}
	return len(r.Results)
}

// readNodes reads attributes over the session, and counts that.
func (r *runner) readNodes(ctx context.Context, nodes []*ua.ReadValueID) ([]*ua.DataValue, error) {
	began := time.Now()
	values, err := readNodes(ctx, r.ask, nodes, r.caps.read)
	r.d.requested("read", time.Since(began), err)
	return values, err
}

// readItems reads the values of items now.
func (r *runner) readItems(ctx context.Context, items []*item) error {
	items = slices.DeleteFunc(items, func(it *item) bool { return it.id == nil || it.index < 0 || !it.target.read })
	if len(items) == 0 {
		return nil
	}
	nodes := make([]*ua.ReadValueID, len(items))
	for i, it := range items {
		nodes[i] = valueOf(it.id)
	}
	began := time.Now()
	values, err := r.readNodes(ctx, nodes)
	if err == nil {
		err = r.types.unfoldAll(ctx, r.ask, values)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	r.d.metrics.values.WithLabelValues(r.d.id).Add(float64(len(values)))
	r.lost = false
	b := r.plan.table.Begin(len(items))
	for i, it := range items {
		r.observeOne(b, it, values[i], now)
	}
	r.emit(r.plan.table.End(b))
	r.good(now, now.Sub(began))
	return nil
}

// refresh reads what was told bad while the server was away: what did not change
// meanwhile is not sent again.
func (r *runner) refresh(ctx context.Context) error {
	var stale []*item
	for _, it := range r.handles {
		if it.target.read && it.sub != nil && r.plan.table.Last(it.index).Value.IsNone() {
			stale = append(stale, it)
		}
	}
	return r.readItems(ctx, stale)
}

// group are the items that are read together, in mode poll.
type group struct {
	interval time.Duration
	next     time.Time
	items    []*item
}

// regroup sorts the items by their intervals. The phase of each interval stays.
func (r *runner) regroup() {
	if r.s.Mode != ModePoll {
		return
	}
	old := map[time.Duration]time.Time{}
	for _, g := range r.groups {
		old[g.interval] = g.next
	}
	of := map[time.Duration]*group{}
	r.groups = nil
	for _, it := range r.handles {
		if !it.target.read {
			continue
		}
		every := it.target.watch.sample
		g := of[every]
		if g == nil {
			g = &group{interval: every, next: old[every]}
			of[every] = g
			r.groups = append(r.groups, g)
		}
		it.due = it.due || it.last == 0
		g.items = append(g.items, it)
	}
}

// poll reads what is due, and returns how long nothing is.
func (r *runner) poll(ctx context.Context, now time.Time) (next time.Duration, err error) {
	var due []*item
	cycle, skipped := false, 0
	for _, g := range r.groups {
		whole := !now.Before(g.next)
		if whole {
			cycle = true
			if late := now.Sub(g.next); !g.next.IsZero() && late > g.interval {
				skipped += int(late / g.interval)
			}
			if g.next.IsZero() || now.Sub(g.next) > g.interval {
				g.next = now
			}
			g.next = g.next.Add(g.interval)
		}
		for _, it := range g.items {
			if whole || it.due {
				due = append(due, it)
				it.due = it.id == nil
			}
		}
	}
	if cycle {
		r.d.Cycled(now, skipped)
	}
	if err := r.readItems(ctx, due); err != nil {
		return 0, err
	}
	wait := time.Hour
	for _, g := range r.groups {
		wait = min(wait, time.Until(g.next))
	}
	return max(wait, 0), nil
}

// use returns the session in use, for people's own questions.
func (d *opcuaDriver) use() (*live, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.running:
		return nil, driver.ErrNotRunning
	case d.live == nil:
		if fault := d.Fault(); fault != "" {
			return nil, fmt.Errorf("no session with the server: %s", fault)
		}
		return nil, errors.New("no session with the server yet")
	}
	return d.live, nil
}

// ask sends a request over the session.
func (l *live) ask(ctx context.Context, req ua.Request) (ua.Response, error) {
	return l.ch.call(ctx, l.auth, req)
}

// askLong is ask for what may take a server longer than the driver's requests do.
func (l *live) askLong(ctx context.Context, req ua.Request) (ua.Response, error) {
	return l.ch.callFor(ctx, l.auth, req, max(l.ch.timeout, browseTimeout))
}

// node returns where the point of a tag is at the server.
func (d *opcuaDriver) node(l *live, t *target) (*ua.NodeID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := l.ids[t.node.String()]
	if id == nil {
		return nil, fmt.Errorf("the server does not know %s", t.node)
	}
	return id, nil
}

// Read implements driver.Driver.
func (d *opcuaDriver) Read(ctx context.Context, tag string) (driver.Reading, error) {
	p := d.plans.Newest()
	i, err := driver.Readable(p.table, tag)
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	dv, err := d.readNow(ctx, &p.points[i])
	if err != nil {
		return driver.Reading{}, fmt.Errorf("tag %s: %w", tag, err)
	}
	if isBad(dv.Status) {
		return driver.Reading{}, fmt.Errorf("tag %s: %w", tag, &serviceError{"Read", dv.Status})
	}
	raw, err := encodeValue(dv.Value)
	if err != nil {
		return driver.Reading{}, fmt.Errorf("tag %s: %w", tag, err)
	}
	v, err := d.meaning(p, i).value(dv.Value)
	if err != nil {
		return driver.Reading{}, fmt.Errorf("tag %s: %w", tag, err)
	}
	out := driver.Reading{Raw: raw, TS: sourceTime(dv, time.Now())}
	if out.Value, out.Quality = p.table.Scale(i, v); out.Quality < quality(dv.Status) {
		out.Quality = quality(dv.Status)
	}
	return out, nil
}

// readNow reads one node over the session in use.
func (d *opcuaDriver) readNow(ctx context.Context, t *target) (*ua.DataValue, error) {
	l, err := d.use()
	if err != nil {
		return nil, err
	}
	id, err := d.node(l, t)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	values, err := readNodes(ctx, l.ask, []*ua.ReadValueID{valueOf(id)}, 1)
	d.requested("read", time.Since(began), err)
	if err == nil {
		err = l.types.unfoldAll(ctx, l.ask, values)
	}
	if err != nil {
		return nil, err
	}
	return values[0], nil
}
