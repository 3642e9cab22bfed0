package modbus

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// plan is what to ask a device for its points: immutable but for the requests'
// run-time state, which belongs to the goroutine that polls.
type plan struct {
	table   *point.Table
	points  []Point // by index in the table
	classes []*class
}

// class holds the requests of the points with one polling interval.
type class struct {
	interval time.Duration
	phase    time.Duration // of the driver's cycles
	requests []*request    // what the roots are read with: by function, then address at first
	roots    []*root
	schedule
}

// request reads one run of registers or bits.
type request struct {
	fn     Func
	addr   uint16
	qty    uint16
	adu    []byte  // ready to be sent, but for a TCP transaction id
	points []Point // by address
	class  *class
	root   *root
	lo, hi int // its points' positions in the root

	tries    int       // attempts that failed in a row
	failedAt time.Time // when the first of them did
	alone    bool      // it was in flight when a connection was lost: nothing goes with it

	why     error         // its points are bad for this; nil: they are read
	since   time.Time     // of why
	hold    time.Time     // not to be asked before
	penalty time.Duration // length of the last hold, 0 if the last answer was good

	hunt    *hunt      // which takes the root apart
	node    *node      // of the hunt
	pending bool       // the hunt asks for it, the cycle does not
	parts   []*request // that it replaces, if the device takes it
	probe   *request   // of whose points it asks one, to find out whether the device is there
	heard   bool       // it was answered once
	partly  bool       // a point of it was, and the whole not
}

// encoder builds the ADU that reads so many items from an address on.
type encoder func(Func, uint16, uint16) ([]byte, error)

// newPlan resolves the variables of table and merges them into requests.
func newPlan(s *Settings, table *point.Table, encode encoder) (*plan, error) {
	p := &plan{table: table, points: make([]Point, table.Len())}
	byInterval := map[time.Duration][]Point{}
	for i := range p.points {
		v := table.Variable(i)
		pt, _, err := s.Resolve(v)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", v.Tag, err)
		}
		pt.index = i
		p.points[i] = pt
		if !v.Access.Readable() {
			continue
		}
		interval, err := driver.Interval(v, s.Polling)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", v.Tag, err)
		}
		byInterval[interval] = append(byInterval[interval], pt)
	}
	for interval, points := range byInterval {
		c := &class{interval: interval}
		for _, run := range s.merge(points) {
			if err := c.add(run, encode); err != nil {
				return nil, err
			}
		}
		p.classes = append(p.classes, c)
	}
	slices.SortFunc(p.classes, func(a, b *class) int { return cmp.Compare(a.interval, b.interval) })
	return p, nil
}

// add adds what reads points, which are sorted, as one request.
func (c *class) add(points []Point, encode encoder) error {
	root := newRoot(c, points, encode)
	r, err := root.request(0, len(points))
	if err != nil {
		return err
	}
	c.roots, c.requests = append(c.roots, root), append(c.requests, r)
	return nil
}

// merge sorts points and cuts them into runs, each of which fits one request: of
// one function and one stretch, at most max_regs_per_req registers (2,000 bits) long,
// bridging at most max_gap registers (sixteen times as many bits) between two points.
// Points may overlap; none is split. Those of one block are a run, and one that is not
// to be merged is a run of its own.
func (s *Settings) merge(points []Point) [][]Point {
	slices.SortFunc(points, func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.Func, b.Func), a.block.compare(b.block), cmp.Compare(a.Addr, b.Addr),
			cmp.Compare(a.Count, b.Count), cmp.Compare(a.index, b.index))
	})
	var runs [][]Point
	first, end := 0, 0 // of the current run: index of its first point, address behind its last register
	for i := range points {
		p, head := &points[i], &points[first]
		limit, gap := int(min(s.MaxRegs, s.readLimit(p.Func, p.Addr))), int(s.MaxGap)
		if p.Func.bits() {
			limit, gap = maxReadBits, 16*gap
		}
		start, stop := int(p.Addr), int(p.Addr)+int(p.Count)
		together := p.Func == head.Func && p.stretch == head.stretch && p.block == head.block &&
			(p.block.len > 0 || !p.lone && !head.lone && start <= end+gap && max(end, stop)-int(head.Addr) <= limit)
		if i > first && !together {
			runs = append(runs, points[first:i:i])
			first, end = i, 0
		}
		end = max(end, stop)
	}
	if len(points) > 0 {
		runs = append(runs, points[first:])
	}
	return runs
}

// extent is what has to be read for points, which are sorted.
func extent(points []Point) (addr, qty uint16) {
	if b := points[0].block; b.len > 0 {
		return b.start, b.len
	}
	end := 0
	for i := range points {
		end = max(end, int(points[i].Addr)+int(points[i].Count))
	}
	return points[0].Addr, uint16(end - int(points[0].Addr))
}

// newRequest makes the request that reads points, which are sorted.
func newRequest(c *class, points []Point, encode encoder) (*request, error) {
	r := &request{fn: points[0].Func, points: points, class: c}
	r.addr, r.qty = extent(points)
	for i := range points {
		p := &points[i]
		p.at = (p.Addr - r.addr) * max(uint16(p.width), registerBytes)
		p.end = p.at + uint16(p.size())
		p.bit0 = p.Addr - r.addr
	}
	var err error
	if r.adu, err = encode(r.fn, r.addr, r.qty); err != nil {
		return nil, fmt.Errorf("build request %s: %w", r, err)
	}
	return r, nil
}

// data returns the part of a request's answer that decode takes.
func (p *Point) data(answer []byte) []byte {
	if p.Func.bits() {
		return answer
	}
	return answer[p.at:p.end]
}

// String names the request in errors and logs.
func (r *request) String() string {
	return fmt.Sprintf("%s %s %d–%d", r.fn, addressType(r.fn), r.addr, int(r.addr)+int(r.qty)-1)
}
