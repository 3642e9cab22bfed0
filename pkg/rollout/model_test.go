package rollout

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The model walks breadth first through all histories of a small fleet: gateways that
// poll, vote, lose their votes' answers, are cut off, restart and are replaced, operators,
// a deadline, a store that is put back. It holds to this, in every state:
//
//   - Nobody crosses to the new side behind a shut gate, or a second time without an act.
//   - A halt, and done, end by an operator's act alone, and exclude each other.
//   - A pause neither halts nor finishes. No vote decided before an act halts after it.
//   - When all can be reached: with a halt nobody stays on the new side; with done every
//     good one gets there; an open gate lets its members through; and a running rollout
//     without a bad gateway is finished.
//   - With one counted member gone for good, promoting ends the rollout.

const (
	maxGateways = 4
	noVote      = int8(0)
	okVote      = int8(1)
	badVote     = int8(2)
)

// gatewayState is a gateway, with what the store has of it and what is on the way.
type gatewayState struct {
	on     bool // it runs the new side
	latch  bool // it saw a halt
	voted  bool // its cache says so
	reach  bool // it reaches the store
	failed bool // its own verdict is bad
	ret    bool // it went back since the last act
	pend   int8 // its vote is on the way
	stale  bool // the record has changed since that was decided
	vote   int8 // in the store
	cast   int8 // what it cast, in its cache
	seen   int8 // the largest count of ok that it read
}

// state is a fleet in a rollout.
type state struct {
	gw              [maxGateways]gatewayState
	control         int8 // index of controls
	opened          int8
	expired         bool
	acts, cuts, end int8 // that may still come: acts, cuts, the deadline's end
	halted, done    bool // since the last act
}

var controls = [...]Control{Running, Paused, Halted, Done} // never written

// model is one fleet and one plan.
type model struct {
	n       int
	wave    [maxGateways]int
	counted [maxGateways]bool
	bad     [maxGateways]bool // the change is bad for it
	waves   []Wave
	manual  bool
	restore bool
}

func (m *model) record(s *state) Record {
	return Record{Waves: m.waves, Manual: m.manual, Control: controls[s.control], Opened: int(s.opened)}
}

func (m *model) tally(s *state) Tally {
	t := Tally{Expired: s.expired}
	for i := range m.n {
		switch s.gw[i].vote {
		case okVote:
			t.OK++
		case badVote:
			t.Bad++
		}
	}
	return t
}

func (m *model) decide(s *state) Decision {
	r := m.record(s)
	return r.Decide(m.tally(s))
}

// next is a state that follows, by which event, and what is wrong with that.
type next struct {
	s     state
	what  string
	wrong string
}

// poll lets a gateway read and act.
func (m *model) poll(s state, i int) (state, string) {
	g := &s.gw[i]
	t, d := m.tally(&s), m.decide(&s)
	wrong := ""
	g.latch = g.latch || d.Halted
	to := bool(d.Side(Self{Wave: m.wave[i], OwnBad: g.vote == badVote || g.failed, Latched: g.latch, Crossed: g.on}))
	if to && !g.on {
		w := m.wave[i]
		open := s.control == 0 && (w == 1 || int(s.opened) >= w || !m.manual && t.OK >= m.waves[w-2].Need)
		if !d.Done && !open {
			wrong = "crosses a shut gate"
		} else if g.ret {
			wrong = "crosses again without an act"
		}
	}
	g.ret = g.ret || g.on && !to
	g.on = to
	m.sees(g, t)
	return s, wrong
}

func (m *model) sees(g *gatewayState, t Tally) {
	if m.restore {
		g.seen = max(g.seen, int8(t.OK))
	}
}

// own lists what a gateway does besides polling.
func (m *model) own(s *state, i int) []next {
	var out []next
	g, t, d := s.gw[i], m.tally(s), m.decide(s)
	self := Self{Wave: m.wave[i]}
	if g.on && !g.voted && g.pend == 0 && m.counted[i] && d.MayCast(self, !m.bad[i], int(g.seen)) {
		n := *s
		h := &n.gw[i]
		h.voted, h.stale, h.pend = true, false, okVote
		if m.bad[i] {
			h.pend, h.failed, h.on = badVote, true, false
		}
		if m.restore {
			h.cast = h.pend
		}
		m.sees(h, t)
		out = append(out, next{s: n, what: "bake ends"})
	}
	if g.pend != 0 { // it arrives even when the gateway is cut off by now
		out = append(out, m.arrives(s, i))
	}
	if g.cast != 0 && g.vote == 0 && g.pend == 0 && g.reach && d.MayCast(self, g.cast == okVote, int(g.seen)) {
		n := *s
		n.gw[i].pend = g.cast
		out = append(out, next{s: n, what: "vote goes again"})
	}
	return out
}

// arrives is a vote's transaction: it compares the record that was decided on.
func (m *model) arrives(s *state, i int) next {
	n, g := *s, s.gw[i]
	h := &n.gw[i]
	h.pend, h.stale = 0, false
	switch refused := g.stale || g.pend == okVote && s.expired; {
	case g.vote != 0:
	case refused:
		h.voted, h.failed, h.cast = false, false, 0 // it decides anew
	default:
		h.vote = g.pend
		m.sees(h, m.tally(&n))
	}
	wrong := ""
	if g.stale && h.vote == badVote && g.vote == 0 && !m.decide(s).Halted && m.decide(&n).Halted {
		wrong = "a vote decided before an act halts after it"
	}
	return next{n, "vote arrives", wrong}
}

// next lists all that can happen.
func (m *model) next(s state) []next {
	var out []next
	for i := range m.n {
		if g := s.gw[i]; g.reach {
			if n, wrong := m.poll(s, i); n != s || wrong != "" {
				out = append(out, m.named(i, next{n, "polls", wrong}))
			}
		} else {
			n := s
			n.gw[i].reach = true
			out = append(out, m.named(i, next{s: n, what: "is back"}))
		}
		for _, n := range m.own(&s, i) {
			out = append(out, m.named(i, n))
		}
		out = append(out, m.accidents(s, i)...)
	}
	if s.end > 0 && !s.expired {
		n := s
		n.end, n.expired = n.end-1, true
		out = append(out, next{s: n, what: "the deadline is over"})
	}
	for i := range out { // no operator acted
		n := &out[i]
		d := m.decide(&n.s)
		switch {
		case n.wrong != "":
		case n.s.halted && !d.Halted:
			n.wrong = "a halt ends without an act"
		case n.s.done && !d.Done:
			n.wrong = "done ends without an act"
		}
		n.s.halted, n.s.done = n.s.halted || d.Halted, n.s.done || d.Done
	}
	if s.acts > 0 {
		out = append(out, m.operators(s)...)
	}
	return out
}

func (m *model) named(i int, n next) next {
	n.what = string(rune('a'+i)) + " " + n.what
	return n
}

// accidents are cuts, restarts in an apply, and new hardware.
func (m *model) accidents(s state, i int) []next {
	g := s.gw[i]
	if s.cuts == 0 || !g.reach {
		return nil
	}
	s.cuts--
	cut := s
	cut.gw[i].reach = false
	replaced := s
	replaced.gw[i] = gatewayState{vote: g.vote, reach: true, pend: g.pend, stale: g.stale, voted: g.vote != 0}
	out := []next{m.named(i, next{s: cut, what: "is cut off"}), m.named(i, next{s: replaced, what: "is replaced"})}
	if g.on && !g.voted {
		restarted := s
		restarted.gw[i].on = false
		out = append(out, m.named(i, next{s: restarted, what: "restarts in the apply"}))
	}
	return out
}

// operators lists what a person can do, and a store that is put back.
func (m *model) operators(s state) []next {
	var out []next
	r, t, was := m.record(&s), m.tally(&s), m.decide(&s)
	act := func(what string, changed Record, err error, f func(*state)) {
		if errors.Is(err, ErrOver) {
			return
		}
		n := s
		n.acts--
		n.control, n.opened = int8(slices.Index(controls[:], changed.Control)), int8(changed.Opened)
		for i := range n.gw {
			g := &n.gw[i]
			g.latch, g.ret, g.stale = false, false, g.pend != 0
		}
		if f != nil {
			f(&n)
		}
		d, wrong := m.decide(&n), ""
		if what == "pause" && (d.Halted != was.Halted || d.Done != was.Done) {
			wrong = "a pause decides"
		}
		n.halted, n.done = d.Halted, d.Done
		out = append(out, next{n, "operator: " + what, wrong})
	}
	paused, err := r.Pause(t)
	act("pause", paused, err, nil)
	resumed, err := r.Resume(t, true)
	act("resume --forgive", resumed, err, func(n *state) {
		n.expired = false
		for i := range n.gw {
			if g := &n.gw[i]; g.vote == badVote {
				g.vote, g.voted, g.failed, g.cast = 0, false, false, 0
			}
		}
	})
	promoted, err := r.Promote(t, false)
	act("promote", promoted, err, nil)
	promoted, err = r.Promote(t, true)
	act("promote --all", promoted, err, nil)
	aborted, err := r.Abort(t)
	act("abort", aborted, err, nil)
	if m.restore {
		for _, whole := range []bool{false, true} { // the record, too: that is no act
			n := s
			n.acts--
			if whole {
				n.control, n.opened, n.expired = 0, 0, false
			}
			for i := range n.gw {
				g := &n.gw[i]
				g.vote, g.pend, g.stale = 0, 0, false
				g.ret = g.ret && !whole
			}
			n.halted, n.done = false, false
			out = append(out, next{s: n, what: fmt.Sprintf("the store is put back, record too: %v", whole)})
		}
	}
	return out
}

// calm lets everybody but gone poll and vote until nothing changes; false: it never ends.
func (m *model) calm(s *state, gone int) bool {
	for range 60 {
		before := *s
		for i := range m.n {
			if i == gone {
				continue
			}
			*s, _ = m.poll(*s, i)
			if list := m.own(s, i); len(list) > 0 {
				*s = list[0].s
			}
		}
		if before == *s {
			return true
		}
	}
	return false
}

// settled says what is wrong once everybody is reachable and nothing more happens.
func (m *model) settled(s state) string {
	for i := range m.n {
		s.gw[i].reach = true
	}
	if !m.calm(&s, -1) {
		return "never settles"
	}
	d, r, t := m.decide(&s), m.record(&s), m.tally(&s)
	anyBad := false
	for i := range m.n {
		g := s.gw[i]
		anyBad = anyBad || m.bad[i]
		own := g.vote == badVote || g.failed
		switch {
		case d.Done && !g.on && !own:
			return "done, and a good gateway stays behind"
		case d.Halted && g.on:
			return "halted, and a gateway stays on the new side"
		case own && g.on:
			return "a gateway that found it bad runs it"
		case !d.Halted && !d.Done && s.control == 0 && !g.on && !own && !g.latch && r.reached(m.wave[i], t):
			return "the gate is open, and a member stays behind"
		}
	}
	if !d.Halted && !d.Done && s.control == 0 && !m.manual && !anyBad && !anyLatch(&s) {
		return "stuck, with everybody good and reachable"
	}
	return ""
}

// anyLatch: after a store was put back, those that saw the halt wait for an act.
func anyLatch(s *state) bool {
	return slices.ContainsFunc(s.gw[:], func(g gatewayState) bool { return g.latch })
}

// ends reports whether promoting ends the rollout with one member gone for good.
func (m *model) ends(s state, gone int) bool {
	for i := range m.n {
		s.gw[i].reach = i != gone
	}
	s.control = 0
	for range len(m.waves) + 2 {
		m.calm(&s, gone)
		r := m.record(&s)
		promoted, err := r.Promote(m.tally(&s), false)
		if err != nil {
			return true
		}
		s.control, s.opened = int8(slices.Index(controls[:], promoted.Control)), int8(promoted.Opened)
		for i := range s.gw {
			s.gw[i].latch, s.gw[i].ret = false, false
		}
	}
	return false
}

type step struct {
	from state
	what string
	root bool
}

// explore walks through all histories. It returns how many states there are, and the
// shortest history to the first that is wrong.
func (m *model) explore(acts, cuts, end int8) (states int, wrong string) {
	start := state{acts: acts, cuts: cuts, end: end}
	for i := range m.n {
		start.gw[i].reach = m.counted[i]
	}
	seen := map[state]step{start: {root: true}}
	tell := func(s state, last, wrong string) string {
		history := []string{last}
		for at := seen[s]; !at.root; at = seen[at.from] {
			history = append(history, at.what)
		}
		slices.Reverse(history)
		return fmt.Sprintf("%s\n%s: %s", m, wrong, strings.Join(history, "; "))
	}
	for queue := []state{start}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		if wrong := m.settled(s); wrong != "" {
			return len(seen), tell(s, "everybody is reachable", wrong)
		}
		if d := m.decide(&s); d.Halted && d.Done {
			return len(seen), tell(s, "", "halted and done")
		}
		for i := range m.n {
			if s.acts > 0 && m.counted[i] && !m.ends(s, i) {
				return len(seen), tell(s, string(rune('a'+i))+" dies", "promoting never ends it")
			}
		}
		for _, n := range m.next(s) {
			if n.wrong != "" {
				return len(seen), tell(s, n.what, n.wrong)
			}
			if _, had := seen[n.s]; !had {
				seen[n.s] = step{from: s, what: n.what}
				queue = append(queue, n.s)
			}
		}
	}
	return len(seen), ""
}

func (m *model) String() string {
	var b strings.Builder
	for i := range m.n {
		fmt.Fprintf(&b, "%c in wave %d", 'a'+i, m.wave[i])
		if !m.counted[i] {
			b.WriteString(" (offline at the push)")
		}
		if m.bad[i] {
			b.WriteString(" (bad)")
		}
		b.WriteString(", ")
	}
	fmt.Fprintf(&b, "%+v, manual %v, restore %v", m.waves, m.manual, m.restore)
	return b.String()
}

// models lists all fleets of n gateways in so many waves that differ by more than names.
func models(n, waves int, manual, restore bool) []*model {
	var out []*model
	all := 1
	for range n {
		all *= waves * 4
	}
	for code := range all {
		for limit := range 3 {
			m := &model{n: n, manual: manual, restore: restore}
			members, counted := make([]int, waves), make([]int, waves)
			x, last, sorted := code, -1, true
			for i := range n {
				kind := x % (waves * 4)
				x /= waves * 4
				sorted, last = sorted && kind >= last, kind
				m.wave[i], m.counted[i], m.bad[i] = 1+kind/4, kind&2 != 0, kind&1 != 0
				members[m.wave[i]-1]++
				if m.counted[i] {
					counted[m.wave[i]-1]++
				}
			}
			var err error
			m.waves, err = NewWaves(members, counted, func(int) int { return limit })
			if sorted && err == nil {
				out = append(out, m)
			}
		}
	}
	return out
}

// TestModel explores small fleets; EDGE_FLEET_MODEL=all larger ones, for some minutes.
func TestModel(t *testing.T) {
	type size struct {
		n, waves        int
		acts, cuts, end int8
		manual, restore bool
		every           int
	}
	sizes := []size{
		{n: 2, waves: 2, acts: 1, cuts: 1, end: 1, every: 3},
		{n: 2, waves: 2, acts: 1, cuts: 1, manual: true, every: 3},
		{n: 2, waves: 2, acts: 1, restore: true, every: 1},
		{n: 3, waves: 2, acts: 1, every: 11},
	}
	if os.Getenv("EDGE_FLEET_MODEL") != "" {
		sizes = []size{
			{n: 3, waves: 2, acts: 1, cuts: 1, end: 1, every: 1},
			{n: 3, waves: 2, acts: 2, restore: true, every: 1},
			{n: 3, waves: 3, acts: 2, every: 3},
			{n: 3, waves: 3, acts: 1, cuts: 1, manual: true, every: 3},
			{n: 4, waves: 2, acts: 1, end: 1, every: 25},
		}
	}
	for _, z := range sizes {
		start, total := time.Now(), 0
		list := models(z.n, z.waves, z.manual, z.restore)
		work := make(chan *model)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for m := range work {
					states, wrong := m.explore(z.acts, z.cuts, z.end)
					mu.Lock()
					total += states
					if wrong != "" {
						t.Error(wrong)
					}
					mu.Unlock()
				}
			})
		}
		for i := z.every - 1; i < len(list); i += z.every {
			work <- list[i]
		}
		close(work)
		wg.Wait()
		t.Logf("%+v: %d fleets, %d states, %v", z, len(list)/z.every, total, time.Since(start).Round(time.Millisecond))
		if total < 1000 {
			t.Errorf("%+v: only %d states", z, total)
		}
	}
}
