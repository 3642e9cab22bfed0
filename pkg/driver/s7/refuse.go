package s7

import (
	"errors"
	"time"
)

// What a PLC refuses is bad alone. A range of several variables that is refused is
// divided until each that the PLC refuses stands alone; the others are read on without
// it. What is refused is asked for again now and then, for somebody may load the block
// or change the setting.

// settle deals with the items of an answer that were refused, and with those that were
// asked for besides.
func (p *poller) settle(r *request, m message, now time.Time) {
	items, _ := readAnswer(m, len(r.items)) // checked
	for i := range r.items {
		it := &r.items[i]
		_, code, _ := items.next(it.place.Size) // checked
		if code != codeGood {
			p.refusedItem(it, &Refusal{Code: code}, now)
			continue
		}
		for j := range it.points {
			p.readAgain(it.class, &it.points[j])
		}
	}
}

// refusedItem divides what was refused, if it has several points.
func (p *poller) refusedItem(it *item, err error, now time.Time) {
	if len(it.points) == 1 {
		p.refuse(it.class, &it.points[0], err, now)
		return
	}
	a, b := it.halves()
	it.class.cuts[b.points[0].index] = true
	p.askPart(a)
	p.askPart(b)
}

// askPart asks for a part of what was refused. The cycle leaves it out meanwhile.
func (p *poller) askPart(it item) {
	for i := range it.points {
		it.class.held[it.points[i].index] = true
	}
	it.class.stale = true
	p.items = append(p.items, it)
}

// refusedWhole deals with a request that was refused, or is never answered. What is in
// it is asked for again alone; what stands alone is divided.
func (p *poller) refusedWhole(r *request, err error, now time.Time) {
	refused, _ := errors.AsType[*Refusal](err)
	everything := refused != nil && refused.permission()
	if len(r.items) > 1 && !everything {
		for _, it := range r.items {
			it.alone = true
			p.askPart(it)
		}
		return
	}
	table := p.plan.table
	b := table.Begin(r.values)
	var alone []*item
	for i := range r.items {
		it := &r.items[i]
		if len(it.points) > 1 && !everything {
			it.alone = true
			alone = append(alone, it)
			continue
		}
		for j := range it.points {
			table.Lost(b, it.points[j].index, now.UnixNano())
		}
	}
	p.give(table.End(b))
	for _, it := range alone {
		p.refusedItem(it, err, now)
	}
	if len(alone) > 0 {
		return
	}
	for i := range r.items {
		for j := range r.items[i].points {
			p.refuse(r.items[i].class, &r.items[i].points[j], err, now)
		}
	}
}

// refuse notes that a point is refused.
func (p *poller) refuse(c *class, pt *Point, err error, now time.Time) {
	p.m.refuse(err)
	delete(c.held, pt.index)
	c.refused[pt.index], c.stale = err, true
	if p.retryAt.IsZero() {
		p.retryAt = now.Add(p.s.RetryRefused)
	}
	reason, tag := explain(err), p.plan.table.Variable(pt.index).Tag
	if !p.d.Note(tag, reason) {
		return
	}
	if log := p.teller.Logger(p.d.deps.Log, now); log != nil {
		log.Warn("tag cannot be read", "tag", tag, "address", pt.String(), "reason", reason.Text)
	}
}

// readAgain notes that a point is read that may have been refused.
func (p *poller) readAgain(c *class, pt *Point) {
	if c.held[pt.index] {
		delete(c.held, pt.index)
		c.stale = true
	}
	if c.refused[pt.index] == nil {
		return
	}
	delete(c.refused, pt.index)
	clear(c.cuts) // they may have been made because of it
	c.stale = true
	tag := p.plan.table.Variable(pt.index).Tag
	p.d.Forget(tag)
	if log := p.teller.Logger(p.d.deps.Log, time.Now()); log != nil {
		log.Info("tag is read again", "tag", tag, "address", pt.String())
	}
}

// askRefused asks for everything that is refused again, each point for itself.
func (p *poller) askRefused() {
	p.retryAt = time.Time{}
	for _, c := range p.plan.classes {
		for i := range c.points {
			err := c.refused[c.points[i].index]
			if err == nil {
				continue
			}
			refused, _ := errors.AsType[*Refusal](err)
			p.askFor(c, &c.points[i], refused == nil || refused.Class != 0 && !refused.permission())
		}
	}
}

// askFor asks for one point besides.
func (p *poller) askFor(c *class, pt *Point, alone bool) {
	most := mostData(p.pdu)
	whole := span{lo: 0, hi: 1, size: pt.Size}
	if pt.Size > most {
		whole.parts = &wide{data: make([]byte, pt.Size)}
	}
	for rest := whole; rest.size > 0; {
		part := rest
		rest = span{}
		if part.size > most {
			part, rest = part.head(nil, most)
		}
		it := part.item(c, []Point{*pt})
		it.alone = alone
		p.items = append(p.items, it)
	}
}

// adopt takes the newest plan, if it is another one. Nothing may be in flight.
func (p *poller) adopt() {
	select {
	case <-p.d.plans.Wake():
	default:
	}
	p.newer = false
	old, next := p.plan, p.d.plans.Newest()
	if old == next {
		return
	}
	p.plan, p.redo, p.items, p.retryAt, p.proof = next, nil, nil, time.Time{}, nil
	if old == nil {
		return
	}
	for _, c := range next.classes {
		c.inherit(old, next)
		if len(c.refused) > 0 {
			p.retryAt = time.Now()
		}
		if c.Next.IsZero() {
			continue
		}
		for i := range c.points {
			if !old.reads(&c.points[i], next) {
				p.askFor(c, &c.points[i], false)
			}
		}
	}
	p.d.keep(next)
	if p.fault {
		p.tellLost(time.Now())
	}
}

// reads reports whether the plan reads what next has as pt.
func (p *plan) reads(pt *Point, next *plan) bool {
	i, ok := p.table.Index(next.table.Variable(pt.index).Tag)
	if !ok || !p.table.Variable(i).Access.Readable() {
		return false
	}
	was := &p.points[i]
	return was.Place == pt.Place && was.Type == pt.Type
}

// inherit takes over what is known of a class of the plan before. A cycle that was not
// done begins anew.
func (c *class) inherit(old, next *plan) {
	for _, was := range old.classes {
		if was.Interval == c.Interval && was.pos == len(was.requests) && was.flying == 0 {
			c.Next = was.Next
		}
		for i, err := range was.refused {
			j, ok := next.table.Index(old.table.Variable(i).Tag)
			if ok && old.points[i].Place == next.points[j].Place && c.has(j) {
				c.refused[j] = err
			}
		}
	}
}

func (c *class) has(index int) bool {
	for i := range c.points {
		if c.points[i].index == index {
			return true
		}
	}
	return false
}
