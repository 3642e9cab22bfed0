// Package point is a tag at run time: what turns the raw values that a driver
// reads into the frames that it publishes, the same for every driver, and the
// engineering values that people write into raw ones.
//
// # Rules
//
//   - A scale makes a float of any number; without one a number keeps its kind.
//     Booleans, text, bytes and objects pass through. An array is scaled element by
//     element, and differs as soon as one of its elements does.
//   - NaN, an infinity and a scale that fails are [frame.Bad] without a value.
//   - Every value becomes a frame, unless the variable says report: change or has
//     a deadband. Then it does only if its quality differs from the last frame's,
//     or its value does (numbers: by more than the deadband), or the heartbeat is
//     due. The comparison is with the last frame, not with the last poll, so slow
//     drift is not lost.
//   - The heartbeat is due at the poll nearest to it: jitter of a few
//     milliseconds does not double the interval.
//   - A device that is lost gives one bad frame per tag, not one per poll.
//
// # Concurrency
//
// A table that was compiled from a previous one shares the unchanged tags' state
// and the lock with it. So the two may be used alternately while a driver moves
// from one to the other, and whichever of them an answer is decoded with, the
// last frame is the last frame.
package point

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Table is the run-time table of one driver's variables, sorted by tag. It is
// immutable but for what it remembers of each tag. A driver decodes one answer
// between Begin and End; Set, Len, Variable, Index, Invert, Scale and Last may be
// called at any time from any goroutine.
type Table struct {
	set    *frame.TagSet
	vars   []config.Variable
	points []point

	lock  *lock        // guards every point's state; shared with the previous table
	spare *frame.Batch // what the last answer left unused; guarded by lock

	// waiting are values of the answer being decoded whose factor has not come yet;
	// guarded by lock.
	waiting []waiting
	// reason is the device's own for the quality of the value that is being settled,
	// "" where it gave none; guarded by lock.
	reason string
}

// lock is held between Begin and End, when open is set, and while Last copies.
type lock struct {
	sync.Mutex
	open   bool
	answer uint64 // counts them
	texts  int    // bytes of the long texts among the last values
}

// point is what Observe needs of a variable, without its text.
type point struct {
	scale     *Scale        // nil: none
	integer   bool          // scale works on integers, which a float64 would round
	na        []frame.Value // raw values that mean "not available"
	factor    int           // index of the point that holds a power of ten; -1: none
	isFactor  bool          // of others
	text      string        // of scale, for errors and reuse
	onChange  bool
	deadband  float64
	heartbeat int64 // nanoseconds, 0: none
	state     *state
}

// state is what a table remembers of a tag.
type state struct {
	last     Last // as observed
	lost     bool // and told so
	reported bool // the last frame is remembered, below
	sentQ    frame.Quality
	sentTS   int64
	sent     frame.Value
	status   string // the device's own reason for a quality that isn't good, while it isn't
	answer   uint64 // of a factor: the answer that last was taken from
}

// Last is what was last observed of a tag, reported or not.
type Last struct {
	Value   frame.Value // none where Quality is bad and nothing is known
	Quality frame.Quality
	TS      int64  // Unix nanoseconds
	Known   bool   // false until the first observation; the other fields are zero then
	Lost    bool   // it is bad because it could not be read, not for what was read
	Frames  uint64 // made of this tag since the table's first ancestor
}

// Compile makes the table of driver driverID from its variables, in any order.
// Tags that prev (which may be nil) has with the same address, data type, scale
// and unit keep their last value. vars must not be changed any more. It fails if
// a tag appears twice or belongs to another driver, a scale does not compile or
// stands at a data type that is not a number, or a rule's number makes no sense.
func Compile(driverID string, vars []config.Variable, prev *Table) (*Table, error) {
	byTag := func(a, b config.Variable) int { return cmp.Compare(a.Tag, b.Tag) }
	if !slices.IsSortedFunc(vars, byTag) {
		vars = slices.Clone(vars)
		slices.SortFunc(vars, byTag)
	}
	t := &Table{vars: vars, points: make([]point, len(vars)), lock: new(lock)}
	scales := map[string]*Scale{}
	if prev != nil {
		t.lock = prev.lock
		for i := range prev.points {
			if p := &prev.points[i]; p.scale != nil {
				scales[p.text] = p.scale
			}
		}
	}
	fresh := make([]state, len(vars))
	for i := range t.vars {
		v := &t.vars[i]
		if i > 0 && v.Tag == t.vars[i-1].Tag {
			return nil, fmt.Errorf("tag %s: stands twice among the variables of driver %s", v.Tag, driverID)
		}
		if err := t.compile(i, driverID, scales); err != nil {
			return nil, fmt.Errorf("tag %s: %w", v.Tag, err)
		}
		t.points[i].state = &fresh[i]
		if prev == nil {
			continue
		}
		if j, ok := prev.Index(v.Tag); ok && sameMeaning(v, &prev.vars[j]) {
			t.points[i].state = prev.points[j].state
		}
	}
	if err := t.linkFactors(); err != nil {
		return nil, err
	}
	t.set = tagSet(driverID, t.vars, prev)
	if prev != nil {
		t.countTexts()
	}
	return t, nil
}

// countTexts counts the long texts anew: tags that are gone have none any more.
func (t *Table) countTexts() {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.lock.texts = 0
	for i := range t.points {
		if n := t.points[i].state.last.Value.TextBytes(); n > longText {
			t.lock.texts += n
		}
	}
}

// compile fills in point i, but for its state.
func (t *Table) compile(i int, driverID string, scales map[string]*Scale) error {
	v, p := &t.vars[i], &t.points[i]
	if v.DriverID != driverID {
		return fmt.Errorf("driver_id is %q, expected %q", v.DriverID, driverID)
	}
	if !(v.Deadband >= 0) || math.IsInf(v.Deadband, 0) {
		return fmt.Errorf("deadband: %v, expected a number from 0 on", v.Deadband)
	}
	if v.Heartbeat < 0 {
		return fmt.Errorf("heartbeat: %v, expected a positive duration", time.Duration(v.Heartbeat))
	}
	switch v.Report {
	case "", config.ReportAlways, config.ReportChange:
	default:
		return fmt.Errorf("report: %q, expected always or change", v.Report)
	}
	p.onChange = v.Report == config.ReportChange || v.Deadband > 0
	p.deadband, p.heartbeat = v.Deadband, int64(v.Heartbeat)
	p.factor = -1
	var err error
	if p.na, err = notAvailable(v); err != nil {
		return err
	}
	if strings.TrimSpace(v.Scale) == "" {
		return nil
	}
	if !v.Datatype.Numeric() {
		return fmt.Errorf("scale: a %s has none; remove it or choose a numeric datatype", v.Datatype)
	}
	p.text = v.Scale
	if p.scale = scales[v.Scale]; p.scale == nil {
		if p.scale, err = CompileScale(v.Scale); err != nil {
			return err
		}
		scales[v.Scale] = p.scale
	}
	l, isInteger := v.Datatype.Integer()
	p.integer = isInteger && l.Wide() && p.scale.Integer()
	return nil
}

// sameMeaning reports whether the values of a and b mean the same, so that one
// may be compared with the other. How they are reported does not matter.
func sameMeaning(a, b *config.Variable) bool {
	x, y := *a, *b
	for _, v := range []*config.Variable{&x, &y} {
		v.Deadband, v.Report, v.Heartbeat, v.Polling, v.Access, v.VerifyAddress = 0, "", 0, 0, "", nil
		v.Merge, v.Block = config.Open, config.Block{}
		v.Address.Bit = nil
	}
	bitA, bitB := a.Address.Bit, b.Address.Bit
	return x == y && (bitA == nil) == (bitB == nil) && (bitA == nil || *bitA == *bitB)
}

// tagSet returns prev's set where it is equal, because readers keep work by its address.
func tagSet(driverID string, vars []config.Variable, prev *Table) *frame.TagSet {
	set := &frame.TagSet{Driver: driverID, Tags: make([]frame.Tag, len(vars))}
	for i := range vars {
		set.Tags[i] = frame.Tag{Name: vars[i].Tag, Unit: vars[i].Unit}
	}
	if prev != nil && prev.set.Driver == driverID && slices.Equal(prev.set.Tags, set.Tags) {
		return prev.set
	}
	return set
}

// Set returns the table's tags: index i in the table is index i in the set.
func (t *Table) Set() *frame.TagSet { return t.set }

// Len returns the number of points.
func (t *Table) Len() int { return len(t.points) }

// Variable returns what point i was compiled from. It must not be changed.
func (t *Table) Variable(i int) *config.Variable { return &t.vars[i] }

// Index returns the index of tag.
func (t *Table) Index(tag string) (int, bool) {
	return slices.BinarySearchFunc(t.vars, tag, func(v config.Variable, tag string) int {
		return cmp.Compare(v.Tag, tag)
	})
}

// Last returns what was last observed of point i. It may wait for a batch that
// is being decoded.
func (t *Table) Last(i int) Last {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.points[i].state.last
}

// Bad returns how many points were last observed bad.
func (t *Table) Bad() (n int) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for i := range t.points {
		if last := &t.points[i].state.last; last.Known && last.Quality == frame.Bad {
			n++
		}
	}
	return n
}
