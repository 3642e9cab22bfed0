package modbus

import (
	"slices"
	"time"
)

// root is a run of points that the plan reads with one request, and what was
// learned of it: which points the device refuses, and between which it refuses to
// be read across. What is asked for instead, the root's leaves, follows from that.
type root struct {
	class  *class
	points []Point      // by address
	bad    map[int]bool // by position: refused, asked for rarely and alone
	cuts   map[int]seam // by position: between the point and the one before
	torn   bool         // read with several requests that may become fewer
	next   int          // which point is the next sample
	encode encoder
}

// seam is a place across which a root is not read.
type seam struct {
	until   time.Time     // then it is tried again
	penalty time.Duration // 0: there is no cut
}

// How long a cut stays before it is tried again; each attempt that fails doubles it.
const (
	cutBase = 10 * time.Second
	cutMax  = 10 * time.Minute
)

func newRoot(c *class, points []Point, encode encoder) *root {
	return &root{class: c, points: points, encode: encode}
}

// request makes the request that reads the points at lo to hi-1.
func (t *root) request(lo, hi int) (*request, error) {
	points := t.points
	if hi-lo < len(t.points) {
		points = slices.Clone(t.points[lo:hi])
	}
	r, err := newRequest(t.class, points, t.encode)
	if err != nil {
		return nil, err
	}
	r.root, r.lo, r.hi = t, lo, hi
	return r, nil
}

// whole reports whether the root can only be read as it is.
func (t *root) whole() bool { return len(t.points) == 1 || t.points[0].block.len > 0 }

// runs returns the leaves of the points at lo to hi-1: each a bad point, or points
// that are good as far as is known, without a cut.
func (t *root) runs(lo, hi int) (runs [][2]int) {
	start := lo
	for i := lo + 1; i <= hi; i++ {
		if i == hi || t.cuts[i].penalty > 0 || t.bad[i] || t.bad[i-1] {
			runs = append(runs, [2]int{start, i})
			start = i
		}
	}
	return runs
}

// cutAt remembers that the device refuses to be read across position i.
func (t *root) cutAt(i int, now time.Time) {
	if t.cuts == nil {
		t.cuts = map[int]seam{}
	}
	penalty := min(max(2*t.cuts[i].penalty, cutBase), cutMax)
	t.cuts[i] = seam{until: now.Add(jitter(penalty)), penalty: penalty}
}

// setBad remembers whether the point at position i is refused.
func (t *root) setBad(i int, bad bool) {
	switch {
	case !bad:
		delete(t.bad, i)
	case t.bad == nil:
		t.bad = map[int]bool{i: true}
	default:
		t.bad[i] = true
	}
}

// gap reports whether there are registers between the point at position i and
// those before it, from lo on, that no point needs.
func (t *root) gap(lo, i int) bool {
	end := 0
	for j := lo; j < i; j++ {
		end = max(end, int(t.points[j].Addr)+int(t.points[j].Count))
	}
	return end < int(t.points[i].Addr)
}

// split says where to divide the points at lo to hi-1 to find out what the device
// refuses: in at most n parts, at bridged gaps if there are any, because those are the
// first suspects. There are at least two points.
func (t *root) split(lo, hi, n int) (bounds []int) {
	var gaps []int
	for i := lo + 1; i < hi; i++ {
		if t.gap(lo, i) {
			gaps = append(gaps, i)
		}
	}
	n = min(n, hi-lo)
	switch {
	case len(gaps) > 0 && len(gaps) < max(n, maxParts):
		return gaps
	case len(gaps) > 0:
		for k := 1; k < n; k++ {
			bounds = append(bounds, gaps[k*len(gaps)/n])
		}
		return slices.Compact(bounds)
	}
	for k := 1; k < n; k++ {
		bounds = append(bounds, lo+k*(hi-lo)/n)
	}
	return bounds
}

// maxParts bounds the parts that a request is divided in at its gaps at once.
const maxParts = 8

// sample returns the position of a point between lo and hi-1, another one each
// time until all have been had.
func (t *root) sample(lo, hi int) int {
	n := hi - lo
	step := max(1, n*618/1000) // far apart
	for gcd(step, n) != 1 {
		step++
	}
	t.next++
	return lo + (t.next*step+n/2)%n
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// replace puts other requests in the place of old ones. If all old ones had their
// turn in this cycle, the others count as asked.
func (c *class) replace(old, other []*request) {
	before, asked := 0, 0
	c.requests = slices.Clone(c.requests) // listings of the old ones stay as they are
	for i := 0; i < len(c.requests); i++ {
		if !slices.Contains(old, c.requests[i]) {
			continue
		}
		c.requests = slices.Delete(c.requests, i, i+1)
		if i < c.pos {
			c.pos--
			asked++
		}
		before++
		i--
	}
	c.requests = slices.Insert(c.requests, c.pos, other...)
	if asked == before {
		c.pos += len(other)
	}
}

// leaves returns the requests that read t's points at lo to hi-1.
func (t *root) leaves(lo, hi int) (list []*request) {
	for _, r := range t.class.requests {
		if r.root == t && r.lo < hi && r.hi > lo {
			list = append(list, r)
		}
	}
	return list
}
