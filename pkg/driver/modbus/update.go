package modbus

import (
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// adopt takes over the newest plan.
func (p *poller) adopt() {
	next := p.d.plans.Newest()
	if next == p.plan {
		return
	}
	now := time.Now()
	p.inherit(next)
	for _, c := range next.classes {
		c.phase = phaseOf(p.d.id, c.interval)
		if old := p.classOf(c.interval); old != nil {
			c.resume(old, p.redo, p.plan, next)
		} else {
			c.restart(now)
		}
	}
	p.plan, p.redo, p.accused, p.proof, p.hunts = next, nil, nil, nil, nil
	p.allowance.set(next)
	p.link.plan = next
	p.setCounters()
	switch {
	case len(next.classes) == 0: // nothing to poll, only to write
		p.alive(now)
	case p.fault:
		p.loseAll()
	}
}

func (p *poller) classOf(interval time.Duration) *class {
	if p.plan == nil {
		return nil
	}
	for _, c := range p.plan.classes {
		if c.interval == interval {
			return c
		}
	}
	return nil
}

// resume continues old's cycle with c's requests. Those with a point that was
// due and not asked for in this cycle are left to be asked, and those of new
// points alone; the others come first, as done. So no sample of a point that
// stays is lost, and a new point waits for the next cycle where it shares a
// request with others.
func (c *class) resume(old *class, redo []*request, was, is *plan) {
	asked := map[string]bool{} // by tag: false if it was not yet
	for i, r := range old.requests {
		done := i < old.pos && !slices.Contains(redo, r) && !r.pending
		for j := range r.points {
			asked[was.table.Variable(r.points[j].index).Tag] = done
		}
	}
	pending := func(r *request) bool {
		stays := false
		for i := range r.points {
			done, known := asked[is.table.Variable(r.points[i].index).Tag]
			if known && !done {
				return true
			}
			stays = stays || known
		}
		return !stays
	}
	var done, todo []*request
	for _, r := range c.requests {
		if pending(r) {
			todo = append(todo, r)
		} else {
			done = append(done, r)
		}
	}
	c.requests = append(done, todo...)
	c.schedule = old.schedule
	c.pos = len(done)
	if old.pos < len(old.requests) {
		c.notBefore = old.due(old.interval, len(old.requests))
	}
}

// setCounters connects the plan's points with their counters.
func (p *poller) setCounters() {
	var names []string
	for _, c := range p.plan.classes {
		for _, r := range c.requests {
			for i := range r.points {
				names = append(names, p.plan.table.Variable(r.points[i].index).Tag)
			}
		}
	}
	p.metrics.setTags(names)
	for _, c := range p.plan.classes {
		for _, r := range c.requests {
			for i := range r.points {
				r.points[i].read = p.metrics.tags[p.plan.table.Variable(r.points[i].index).Tag]
			}
		}
	}
}

// place is where a point is in the device.
type place struct {
	fn          Func
	addr, count uint16
}

func (p *Point) place() place { return place{p.Func, p.Addr, p.Count} }

// lessons are what a plan learned of its device, by place.
type lessons struct {
	bad  map[place]*request // what asks for it alone
	mute map[place]*request // what asks for it and others, none of which is answered
	cuts map[[2]place]seam  // between two of them
}

func (l *lessons) of(p *plan) {
	*l = lessons{map[place]*request{}, map[place]*request{}, map[[2]place]seam{}}
	if p == nil {
		return
	}
	for _, c := range p.classes {
		for _, r := range c.requests {
			for i := range r.points {
				switch {
				case r.why == nil:
				case len(r.points) == 1 && !r.root.whole():
					l.bad[r.points[0].place()] = r
				default:
					l.mute[r.points[i].place()] = r
				}
			}
		}
		for _, t := range c.roots {
			for i, s := range t.cuts {
				l.cuts[[2]place{t.points[i-1].place(), t.points[i].place()}] = s
			}
		}
	}
}

// inherit takes what was learned of the device over into another plan.
func (p *poller) inherit(next *plan) {
	var l lessons
	l.of(p.plan)
	reasons := map[string]driver.Reason{}
	if len(l.bad)+len(l.mute)+len(l.cuts) > 0 {
		for _, c := range next.classes {
			for _, t := range c.roots {
				p.teach(t, &l)
			}
			for _, r := range c.requests {
				for i := 0; i < len(r.points) && r.why != nil; i++ {
					reason := explain(r.why)
					reason.Since = r.since
					reasons[next.table.Variable(r.points[i].index).Tag] = reason
				}
			}
		}
	}
	p.d.SetReasons(reasons)
}

// teach gives t what is known of its points.
func (p *poller) teach(t *root, l *lessons) {
	for i := range t.points {
		if l.bad[t.points[i].place()] != nil && !t.whole() {
			t.setBad(i, true)
		}
		if i == 0 {
			continue
		}
		if s, ok := l.cuts[[2]place{t.points[i-1].place(), t.points[i].place()}]; ok {
			if t.cuts == nil {
				t.cuts = map[int]seam{}
			}
			t.cuts[i] = s
		}
	}
	if len(t.bad)+len(t.cuts)+len(l.mute) == 0 {
		return
	}
	var list []*request
	for _, run := range t.runs(0, len(t.points)) {
		r, err := t.request(run[0], run[1])
		if err != nil {
			p.d.log().Error("make a request of a part of another", "error", err)
			return
		}
		first := t.points[run[0]].place()
		was := l.bad[first]
		if was == nil {
			was = l.mute[first]
		}
		for i := run[0]; i < run[1] && was != nil; i++ {
			if pl := t.points[i].place(); l.mute[pl] != was && l.bad[pl] != was {
				was = nil
			}
		}
		if was != nil {
			r.why, r.since, r.hold, r.penalty = was.why, was.since, was.hold, was.penalty
		}
		list = append(list, r)
	}
	t.torn = len(list) > 1
	t.class.replace(t.leaves(0, len(t.points)), list)
}
