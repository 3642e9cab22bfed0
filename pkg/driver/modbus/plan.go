package modbus

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
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
	requests []*request    // by function, then address
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

	tries   int           // attempts that failed in a row
	hold    time.Time     // not to be asked before
	penalty time.Duration // length of the last hold, 0 if the last answer was good
}

// newPlan resolves the variables of table and merges them into requests.
func newPlan(s *Settings, table *point.Table, encode func(Func, uint16, uint16) ([]byte, error)) (*plan, error) {
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
		interval, err := s.interval(v)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", v.Tag, err)
		}
		byInterval[interval] = append(byInterval[interval], pt)
	}
	for interval, points := range byInterval {
		c := &class{interval: interval}
		for _, run := range merge(points, s.MaxRegs, s.MaxGap) {
			r, err := newRequest(c, run, encode)
			if err != nil {
				return nil, err
			}
			c.requests = append(c.requests, r)
		}
		p.classes = append(p.classes, c)
	}
	slices.SortFunc(p.classes, func(a, b *class) int { return cmp.Compare(a.interval, b.interval) })
	return p, nil
}

// interval returns how often v is polled.
func (s *Settings) interval(v *config.Variable) (time.Duration, error) {
	switch d := time.Duration(v.Polling); {
	case d == 0:
		return s.Polling, nil
	case d < minPolling:
		return 0, fmt.Errorf("polling: %v, expected at least %v", d, minPolling)
	default:
		return d, nil
	}
}

// merge sorts points and cuts them into runs, each of which fits one request: of
// one function, at most maxRegs registers (2,000 bits) long, bridging at most
// maxGap registers (sixteen times as many bits) between two points. Points may
// overlap; none is split.
func merge(points []Point, maxRegs, maxGap uint16) [][]Point {
	slices.SortFunc(points, func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.Func, b.Func), cmp.Compare(a.Addr, b.Addr),
			cmp.Compare(a.Count, b.Count), cmp.Compare(a.index, b.index))
	})
	var runs [][]Point
	first, end := 0, 0 // of the current run: index of its first point, address behind its last register
	for i := range points {
		p := &points[i]
		limit, gap := int(maxRegs), int(maxGap)
		if p.Func.bits() {
			limit, gap = maxReadBits, 16*gap
		}
		start, stop := int(p.Addr), int(p.Addr)+int(p.Count)
		if i > first && (p.Func != points[first].Func || start > end+gap ||
			max(end, stop)-int(points[first].Addr) > limit) {
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

// newRequest makes the request that reads points, which are sorted.
func newRequest(c *class, points []Point, encode func(Func, uint16, uint16) ([]byte, error)) (*request, error) {
	r := &request{fn: points[0].Func, addr: points[0].Addr, points: points, class: c}
	end := 0
	for i := range points {
		p := &points[i]
		end = max(end, int(p.Addr)+int(p.Count))
		p.at = 2 * (p.Addr - r.addr)
		p.bit0 = p.Addr - r.addr
	}
	r.qty = uint16(end - int(r.addr))
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
	return answer[p.at : p.at+2*p.Count]
}

// String names the request in errors and logs.
func (r *request) String() string {
	return fmt.Sprintf("%s %s %d–%d", r.fn, addressType(r.fn), r.addr, int(r.addr)+int(r.qty)-1)
}

// split returns smaller requests for the same points: at the bridged gaps if
// there are any, since those are the first suspects, else two halves. It is not
// called for a single point.
func (r *request) split(encode func(Func, uint16, uint16) ([]byte, error)) ([]*request, error) {
	parts := merge(slices.Clone(r.points), maxReadRegisters, 0)
	if len(parts) == 1 {
		half := len(r.points) / 2
		parts = [][]Point{slices.Clone(r.points[:half]), slices.Clone(r.points[half:])}
	}
	requests := make([]*request, len(parts))
	for i, points := range parts {
		var err error
		if requests[i], err = newRequest(r.class, points, encode); err != nil {
			return nil, err
		}
	}
	return requests, nil
}
