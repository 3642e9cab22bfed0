package modbus

import (
	"slices"
	"time"
)

// adopt takes over the newest plan.
func (p *poller) adopt() {
	next := p.d.newest()
	if next == p.plan {
		return
	}
	now := time.Now()
	for _, c := range next.classes {
		c.phase = phaseOf(p.d.id, c.interval)
		if old := p.classOf(c.interval); old != nil {
			c.resume(old, p.redo, p.plan, next)
		} else {
			c.restart(now)
		}
	}
	p.plan, p.redo, p.doubt = next, nil, false
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
		done := i < old.pos && !slices.Contains(redo, r)
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
