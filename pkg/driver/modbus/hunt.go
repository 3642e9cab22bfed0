package modbus

import (
	"math"
	"slices"
	"time"
)

// hunt finds out what in a request the device refuses, or is silent about, while
// it answers others: it asks for parts of it, until each culprit stands alone. A
// culprit is a point, or a place between two points across which the device is not
// to be read. First some single points are asked for: if none of them is answered,
// nothing in the request is likely to be, which is a state of the device or of that
// part of it, and the request stays as it is.
//
// Parts that are answered are published and polled meanwhile; no point is bad
// before it was asked for alone.
type hunt struct {
	run     *request // what is taken apart
	err     error    // what the device said
	began   time.Time
	todo    []*request // to be asked, besides what is due
	samples int        // single points that are still to be tried before it is divided
	tree    *node
}

// node is a part of what a hunt takes apart.
type node struct {
	req     *request
	parent  *node
	bounds  []int // where it was divided
	open    int   // parts whose fate is not known
	guilty  bool  // one of them, or it itself, is a culprit
	confirm bool  // asked again: each of its parts was answered
}

const (
	samplesFirst = 3 // single points that are tried in a request that is refused
	samplesAgain = 1 // and in one that still is
	fewPoints    = 4 // so many are all asked for, without samples
	huntTries    = 2 // attempts to get an answer for a single point that got none
)

// suspect takes r apart, which the device refused with err while, as far as is
// known, it answers others.
func (p *poller) suspect(r *request, err error, now time.Time) {
	p.accused = nil
	if r.hunt != nil {
		return // it is being taken apart already
	}
	if !r.divisible() {
		p.exclude(r, err, now)
		return
	}
	sure := kindOfFailure(err) == refusal || r.why != nil || p.answeredSince(r.failedAt)
	h := &hunt{run: r, err: err, began: now, samples: samplesFirst}
	if r.why != nil {
		h.samples = samplesAgain
	}
	h.tree = &node{req: r}
	r.hunt, r.node, r.pending, r.tries = h, h.tree, true, 0
	p.hunts = append(p.hunts, h)
	if r.partly || sure && r.hi-r.lo <= fewPoints {
		h.samples = 0
		p.divide(h, h.tree)
		return
	}
	p.trySample(h)
}

// trySample asks for one point of what h takes apart.
func (p *poller) trySample(h *hunt) {
	h.samples--
	at := h.run.root.sample(h.run.lo, h.run.hi)
	if s := p.part(h.run.root, at, at+1); s != nil {
		s.hunt, s.alone = h, true
		h.todo = append(h.todo, s)
	}
}

// part makes a request for a part of a root. It fits, because the root did.
func (p *poller) part(t *root, lo, hi int) *request {
	r, err := t.request(lo, hi)
	if err != nil {
		p.d.log().Error("make a request of a part of another", "error", err)
		return nil
	}
	p.count(r)
	return r
}

// divide asks for the parts of n.
func (p *poller) divide(h *hunt, n *node) {
	t, lo, hi := n.req.root, n.req.lo, n.req.hi
	n.bounds = t.split(lo, hi, p.fanOut(h, hi-lo))
	edges := append(append([]int{lo}, n.bounds...), hi)
	var parts []*request
	for i := range len(edges) - 1 {
		r := p.part(t, edges[i], edges[i+1])
		if r == nil {
			continue
		}
		r.hunt, r.pending, r.alone = h, true, true
		r.node = &node{req: r, parent: n}
		parts = append(parts, r)
	}
	n.open = len(parts)
	t.class.replace([]*request{n.req}, parts)
	h.todo = append(slices.Clone(parts), h.todo...)
}

// fanOut returns in how many parts n points are divided: two where a refusal comes
// as quickly as an answer, more where each part that gets none costs a timeout.
func (p *poller) fanOut(h *hunt, n int) int {
	const each = 16 // so many are asked for one by one
	switch {
	case kindOfFailure(h.err) == refusal:
		return 2
	case n <= each:
		return n
	}
	return int(math.Ceil(math.Sqrt(float64(n))))
}

// trial returns what a hunt wants to be asked next, nil if there is nothing or the
// allowance is used up.
func (p *poller) trial(now time.Time) *request {
	for _, h := range p.hunts {
		if len(h.todo) > 0 && p.allow(now) {
			r := h.todo[0]
			h.todo = h.todo[1:]
			return r
		}
	}
	return nil
}

// trialAt returns when the next trial may be asked; ok is false if there is none.
func (p *poller) trialAt(now time.Time) (at time.Time, ok bool) {
	for _, h := range p.hunts {
		if len(h.todo) > 0 {
			return p.allowance.next(now), true
		}
	}
	return at, false
}

// hunted deals with the answer to r, which h asked for.
func (p *poller) hunted(r *request, now time.Time) {
	h, n := r.hunt, r.node
	switch {
	case n == nil: // a sample
		r.hunt = nil
		if h.tree.open == 0 && h.run.pending {
			h.run.pending = false
			p.divide(h, h.tree)
		}
	case n.confirm:
		n.confirm = false
		p.resolve(h, n, now)
	case r.pending:
		r.pending = false
		p.resolve(h, n, now)
	}
}

// missed deals with a trial that the device refused or did not answer.
func (p *poller) missed(r *request, err error, now time.Time) {
	h, n := r.hunt, r.node
	switch {
	case n == nil: // a sample
		r.hunt = nil
		if h.samples > 0 {
			p.trySample(h)
			return
		}
		p.stays(h, err, now)
	case n.confirm:
		n.confirm = false
		p.blame(n, now)
		p.resolve(h, n, now)
	case !r.pending: // it was answered before, and will be judged when the hunt is over
		r.tries = 0
	case r.hi-r.lo > 1:
		p.divide(h, n)
	case kindOfFailure(err) != refusal && r.tries < huntTries:
		h.todo = slices.Insert(h.todo, 0, r)
	default:
		n.guilty, r.pending = true, false
		r.root.setBad(r.lo, true)
		p.exclude(r, err, now)
		p.resolve(h, n, now)
	}
}

// blame cuts a run where it was divided: each part is answered, but not the whole.
// Where registers between the parts are read for nothing, these are the culprits.
func (p *poller) blame(n *node, now time.Time) {
	n.guilty = true
	t, cuts := n.req.root, 0
	for _, i := range n.bounds {
		if t.gap(n.req.lo, i) {
			t.cutAt(i, now)
			cuts++
		}
	}
	if cuts == 0 { // it is too long, then
		t.cutAt(n.bounds[len(n.bounds)/2], now)
	}
}

// resolve notes that n's fate is known, and with it perhaps that of what it is a
// part of.
func (p *poller) resolve(h *hunt, n *node, now time.Time) {
	for n.parent != nil {
		n.parent.guilty = n.parent.guilty || n.guilty
		n = n.parent
		if n.open--; n.open > 0 {
			return
		}
		if !n.guilty { // was it only for a moment?
			n.confirm = true
			n.req.hunt, n.req.node, n.req.alone = h, n, true
			h.todo = slices.Insert(h.todo, 0, n.req)
			return
		}
	}
	p.finish(h)
}

// finish puts in the run's place what can be read of it, in as few requests as the
// culprits allow.
func (p *poller) finish(h *hunt) {
	t, lo, hi := h.run.root, h.run.lo, h.run.hi
	good := false
	for i := lo; i < hi; i++ {
		good = good || !t.bad[i]
	}
	old := t.leaves(lo, hi)
	if !good {
		for i := lo; i < hi; i++ {
			t.setBad(i, false)
		}
		t.class.replace(old, []*request{h.run})
		p.stays(h, h.err, time.Now())
		return
	}
	p.drop(h)
	p.relay(t, lo, hi)
	t.torn = true
	p.d.log().Info("found what the device refuses; the rest is read without it", "request", h.run.String(), "requests", len(t.leaves(lo, hi)))
}

// relay reads the points at lo to hi-1 with the requests that follow from what is
// known, keeping those that are there.
func (p *poller) relay(t *root, lo, hi int) {
	old := t.leaves(lo, hi)
	var list []*request
	for _, run := range t.runs(lo, hi) {
		at := slices.IndexFunc(old, func(r *request) bool { return r.lo == run[0] && r.hi == run[1] })
		if at >= 0 {
			list = append(list, old[at])
		} else if r := p.part(t, run[0], run[1]); r != nil {
			r.heard = true // each of its points was, or is known not to be
			list = append(list, r)
		}
	}
	t.class.replace(old, list)
	p.redo = slices.DeleteFunc(p.redo, func(r *request) bool { return slices.Contains(old, r) && !slices.Contains(list, r) })
}

// stays ends a hunt that found nothing that is answered: the run stays as it is,
// and all its points are bad.
func (p *poller) stays(h *hunt, err error, now time.Time) {
	p.drop(h)
	if kindOfFailure(err) != refusal && h.run.why == nil && !p.answeredSince(h.began) {
		p.enterFault(err)
		return
	}
	p.exclude(h.run, err, now)
}

// drop forgets a hunt.
func (p *poller) drop(h *hunt) {
	p.hunts = slices.DeleteFunc(p.hunts, func(x *hunt) bool { return x == h })
	h.run.hunt, h.run.node, h.run.pending, h.run.alone = nil, nil, false, false
	for _, r := range h.run.root.leaves(h.run.lo, h.run.hi) {
		r.hunt, r.node, r.pending = nil, nil, false
	}
}

// abandonHunts puts what is being taken apart together again: it was the device.
func (p *poller) abandonHunts() {
	for len(p.hunts) > 0 {
		h := p.hunts[0]
		p.drop(h)
		p.relay(h.run.root, h.run.lo, h.run.hi)
	}
}

// heal tries, at the beginning of c's cycle, to read across one place again.
func (p *poller) heal(c *class, now time.Time) {
	for _, t := range c.roots {
		if len(t.cuts) == 0 && !t.torn {
			continue
		}
		if p.join(t, now) {
			return
		}
	}
}

// join makes one request of two neighbours of t that may be one.
func (p *poller) join(t *root, now time.Time) bool {
	torn := false
	leaves := t.leaves(0, len(t.points))
	slices.SortFunc(leaves, func(a, b *request) int { return a.lo - b.lo })
	for i := 1; i < len(leaves); i++ {
		a, b := leaves[i-1], leaves[i]
		torn = true
		cut := t.cuts[b.lo]
		if a.tries+b.tries > 0 || a == p.accused || b == p.accused || a.why != nil || b.why != nil || a.hunt != nil || b.hunt != nil || a.parts != nil || b.parts != nil ||
			now.Before(cut.until) || !p.allow(now) {
			continue
		}
		u := p.part(t, a.lo, b.hi)
		if u == nil {
			continue
		}
		u.parts, u.alone = []*request{a, b}, true
		t.class.replace([]*request{a, b}, []*request{u})
		return true
	}
	t.torn = torn
	return false
}

// joined notes that the device answers a request that was put together again.
func (p *poller) joined(r *request) {
	delete(r.root.cuts, r.parts[1].lo)
	r.parts = nil
}

// separate undoes a join that the device did not take, and asks for the parts.
func (p *poller) separate(r *request, now time.Time) {
	parts := r.parts
	r.root.cutAt(parts[1].lo, now)
	r.parts = nil
	r.class.replace([]*request{r}, parts)
	p.redo = append(slices.Clone(parts), p.redo...)
}

// allowance bounds the requests that hunts and joins add to those of the plan: a
// burst, then so many a second.
type allowance struct {
	left  float64
	at    time.Time
	rate  float64 // a second
	burst float64
}

const (
	trialRate  = 2   // a second: 120 a minute
	trialBurst = 240 // at once
)

// set adapts the allowance to a plan: a hunt may ask as much as the plan does.
func (a *allowance) set(p *plan) {
	rate, n := 0.0, 0
	for _, c := range p.classes {
		n += len(c.roots)
		rate += float64(len(c.roots)) / c.interval.Seconds()
	}
	a.rate, a.burst = max(trialRate, rate), float64(trialBurst+2*n)
	if a.at.IsZero() {
		a.left = a.burst
	}
}

func (a *allowance) fill(now time.Time) {
	a.left = min(a.burst, a.left+a.rate*now.Sub(a.at).Seconds())
	a.at = now
}

// next returns when one more request is allowed.
func (a *allowance) next(now time.Time) time.Time {
	if a.fill(now); a.left >= 1 {
		return now
	}
	return now.Add(time.Duration((1 - a.left) / a.rate * float64(time.Second)))
}

// allow takes one request from the allowance.
func (p *poller) allow(now time.Time) bool {
	if p.allowance.next(now).After(now) {
		return false
	}
	p.allowance.left--
	return true
}

// count connects a request's points with their counters.
func (p *poller) count(r *request) {
	for i := range r.points {
		r.points[i].read = p.metrics.tags[p.plan.table.Variable(r.points[i].index).Tag]
	}
}
