package s7

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// plan is what to ask a PLC for its points. The tables in it are immutable; what the
// PLC refuses, and the requests, belong to the goroutine that polls.
type plan struct {
	table   *point.Table
	points  []Point // by index in the table
	classes []*class
}

// class holds the points with one polling interval.
type class struct {
	driver.Cycle
	points []Point // by place

	refused map[int]error // by a point's index: why it is not asked for with the others
	held    map[int]bool  // ditto: it is asked for in a smaller range just now
	cuts    map[int]bool  // by a point's index: no range goes on from the point before to it
	stale   bool          // the requests are not what they should be

	requests []*request
	pos      int // next request of the cycle; all are sent when it is their number
	flying   int // of them, not answered
}

// newPlan resolves the variables of table.
func newPlan(id string, s *Settings, table *point.Table) (*plan, error) {
	p := &plan{table: table, points: make([]Point, table.Len())}
	of := map[time.Duration]*class{}
	for i := range p.points {
		v := table.Variable(i)
		pt, _, err := Resolve(v)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", v.Tag, err)
		}
		every, err := driver.Interval(v, s.Polling)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", v.Tag, err)
		}
		pt.index = i
		p.points[i] = pt
		if !v.Access.Readable() {
			continue
		}
		c := of[every]
		if c == nil {
			c = &class{Cycle: driver.NewCycle(id, every), refused: map[int]error{}, held: map[int]bool{}, cuts: map[int]bool{}, stale: true}
			of[every] = c
			p.classes = append(p.classes, c)
		}
		c.points = append(c.points, pt)
	}
	slices.SortFunc(p.classes, func(a, b *class) int { return cmp.Compare(a.Interval, b.Interval) })
	for _, c := range p.classes {
		slices.SortFunc(c.points, func(a, b Point) int {
			return cmp.Or(cmp.Compare(a.Area, b.Area), cmp.Compare(a.DB, b.DB), cmp.Compare(a.Start, b.Start),
				cmp.Compare(a.Size, b.Size), cmp.Compare(a.index, b.index))
		})
	}
	return p, nil
}

// begin begins a cycle and returns how many were skipped before it.
func (c *class) begin(now time.Time) (skipped int) {
	c.pos = 0
	return c.Begin(now)
}

// item is one range that a request asks for.
type item struct {
	class  *class
	place  Place
	points []Point // by place; with at
	wide   *wide   // the range is a part of it; nil: it has whole points
	offset int     // in wide
	alone  bool    // it goes in a request of its own
}

// wide is a point that does not fit into one answer.
type wide struct {
	data []byte
	got  int // bytes of this cycle
}

// request is one question, ready to be sent but for its reference.
type request struct {
	class  *class
	cycle  bool // it is one of the class's own, and not asked besides
	items  []item
	values int // points
	wire   []byte

	tries    int       // attempts without an answer
	failedAt time.Time // the first of them
}

// span is a run of points that are read together, from lo to hi of a list.
type span struct {
	lo, hi int
	size   int // bytes; of an area of numbers two for each
	parts  *wide
	offset int
}

// cost is what a range of that size takes in an answer.
func cost(size int) int { return answerBytes + (size+1)&^1 }

// limits are what one request and its answer have room for.
type limits struct{ bytes, items int }

func limitsOf(pdu, items int) limits {
	return limits{pdu - ackHead - 2, max(1, min(items, (pdu-jobHead-2)/itemBytes))}
}

// spans merges points, which are sorted, over gaps of at most gap bytes. A point with
// more bytes than an answer has is a span of its own.
func (c *class) spans(points []Point, gap, most int) []span {
	var out []span
	var end uint32
	for i := range points {
		p := &points[i]
		if p.Size > most {
			out = append(out, span{lo: i, hi: i + 1, size: p.Size, parts: &wide{data: make([]byte, p.Size)}})
			continue
		}
		if n := len(out); n > 0 && out[n-1].parts == nil {
			last, head := &out[n-1], &points[out[n-1].lo]
			if head.Area == p.Area && head.DB == p.DB && p.Start <= end+uint32(gap) && !c.cuts[p.index] {
				end = max(end, p.end())
				last.hi, last.size = i+1, bytesBetween(head, end)
				continue
			}
		}
		out = append(out, span{lo: i, hi: i + 1, size: p.Size})
		end = p.end()
	}
	return out
}

// bytesBetween is how many bytes a range from p to end has.
func bytesBetween(p *Point, end uint32) int {
	if p.Area.numbered() {
		return 2 * int(end-p.Start)
	}
	return int(end - p.Start)
}

// head returns as much of the beginning of s as has at most size bytes; size 0: nothing
// has.
func (s span) head(points []Point, size int) (head, rest span) {
	if s.parts != nil {
		n := size &^ 1
		return span{s.lo, s.hi, n, s.parts, s.offset}, span{s.lo, s.hi, s.size - n, s.parts, s.offset + n}
	}
	first := &points[s.lo]
	end, hi, got := first.Start, s.lo, 0
	for hi < s.hi {
		e := max(end, points[hi].end())
		n := bytesBetween(first, e)
		if n > size {
			break
		}
		end, got, hi = e, n, hi+1
	}
	if hi == s.lo {
		return span{}, s
	}
	rest = span{lo: hi, hi: s.hi}
	if hi < s.hi {
		last := points[hi].Start
		for i := hi; i < s.hi; i++ {
			last = max(last, points[i].end())
		}
		rest.size = bytesBetween(&points[hi], last)
	}
	return span{lo: s.lo, hi: hi, size: got}, rest
}

// pack makes the requests of the class: the points that are not refused, merged, in as
// few requests as there is room for.
//
// A request is full when it has so many bytes or so many ranges. Each takes its share
// of the shortest ranges, and then fills up with the longest, which are divided where
// they have to be: so neither bytes nor ranges are left over for requests that have
// room for the other.
func (c *class) pack(s *Settings, pdu int) {
	c.stale = false
	points := c.points
	if len(c.refused)+len(c.held) > 0 {
		points = slices.DeleteFunc(slices.Clone(points), func(p Point) bool { return c.refused[p.index] != nil || c.held[p.index] })
	}
	c.requests = nil
	for _, list := range packSpans(points, c.spans(points, s.MaxGap, mostData(pdu)), limitsOf(pdu, s.MaxItems)) {
		r := &request{class: c, cycle: true}
		for _, sp := range list {
			r.add(sp.item(c, points))
		}
		r.build()
		c.requests = append(c.requests, r)
	}
	c.pos = len(c.requests)
}

// packSpans distributes spans to requests.
func packSpans(points []Point, spans []span, l limits) (requests [][]span) {
	bySize := func(a, b span) int { return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.lo, b.lo)) }
	slices.SortStableFunc(spans, bySize)
	total := 0
	for _, s := range spans {
		total += cost(s.size)
	}
	for len(spans) > 0 {
		wanted := max((total+l.bytes-1)/l.bytes, (len(spans)+l.items-1)/l.items)
		share := min((len(spans)+wanted-1)/wanted, l.items)
		var list []span
		room := l.bytes
		take := func(i int) {
			room -= cost(spans[i].size)
			total -= cost(spans[i].size)
			list = append(list, spans[i])
			spans = slices.Delete(spans, i, i+1)
		}
		for len(list) < share-1 && len(spans) > 0 && cost(spans[0].size) <= room {
			take(0)
		}
		for len(list) < l.items && len(spans) > 0 {
			last := len(spans) - 1
			if cost(spans[last].size) <= room {
				take(last)
				continue
			}
			head, rest := spans[last].head(points, max(0, room-answerBytes)&^1)
			if head.size > 0 {
				total -= cost(spans[last].size)
				total += cost(rest.size)
				spans = spans[:last]
				at, _ := slices.BinarySearchFunc(spans, rest, bySize)
				spans = slices.Insert(spans, at, rest)
				list = append(list, head)
				room -= cost(head.size)
				continue
			}
			if cost(spans[0].size) > room {
				break
			}
			take(0)
		}
		requests = append(requests, list)
	}
	return requests
}

// item makes the item that reads s.
func (s span) item(c *class, points []Point) item {
	first := points[s.lo]
	place := Place{Area: first.Area, DB: first.DB, Start: first.Start + uint32(s.offset), Size: s.size, Bit: -1}
	it := item{class: c, place: place, points: slices.Clone(points[s.lo:s.hi]), wide: s.parts, offset: s.offset}
	it.locate()
	return it
}

// locate says where the points are in the item's data.
func (it *item) locate() {
	for i := range it.points {
		p := &it.points[i]
		if p.at = 0; it.wide != nil { // it is put together there
			continue
		}
		p.at = int(p.Start - it.place.Start)
		if p.Area.numbered() {
			p.at *= 2
		}
	}
}

// halves divides an item of several points into two.
func (it *item) halves() (a, b item) {
	mid := len(it.points) / 2
	part := func(points []Point) item {
		end := points[0].end()
		for i := range points {
			end = max(end, points[i].end())
		}
		place := it.place
		place.Start, place.Size = points[0].Start, bytesBetween(&points[0], end)
		h := item{class: it.class, place: place, points: slices.Clone(points), alone: it.alone}
		h.locate()
		return h
	}
	return part(it.points[:mid]), part(it.points[mid:])
}

// add adds an item to a request.
func (r *request) add(it item) {
	r.items = append(r.items, it)
	r.values += len(it.points)
}

// again returns a copy of a request, to be asked besides.
func (r *request) again() *request {
	c := *r
	c.cycle, c.tries = false, 0
	return &c
}

// build makes what is sent of a request.
func (r *request) build() {
	places := make([]Place, len(r.items))
	for i := range r.items {
		places[i] = r.items[i].place
	}
	r.wire = appendMessage(nil, pduJob, 0, readParams(places), nil)
}

// String names a request in logs.
func (r *request) String() string {
	first := &r.items[0]
	if len(r.items) == 1 && len(first.points) == 1 {
		return first.points[0].String()
	}
	return fmt.Sprintf("%d variables from %s on", r.values, first.points[0])
}
