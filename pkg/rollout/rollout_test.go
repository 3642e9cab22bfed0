package rollout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// percent is a limit of so many bad in a hundred.
func percent(p int) func(int) int { return func(members int) int { return members * p / 100 } }

func TestWaves(t *testing.T) {
	waves, err := NewWaves([]int{3, 12, 34, 65}, []int{3, 12, 33, 63}, percent(2))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Wave{{3, 3, 0, 3}, {12, 12, 0, 15}, {34, 33, 0, 48}, {65, 63, 2, 109}}; fmt.Sprint(waves) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", waves, want)
	}
	for want, c := range map[string][2][]int{
		"at least one wave":       {nil, nil},
		"nobody online":           {{3, 5}, {0, 5}},
		"2 of 1 members":          {{1}, {2}},
		"wave 2: -1 of 1 members": {{1, 1}, {1, -1}},
	} {
		if _, err := NewWaves(c[0], c[1], percent(0)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", c, err, want)
		}
	}
}

// TestNoVacuousGate: whatever the limits are, each wave with counted members needs an ok of
// its own, and a limit can never be reached by what ends the rollout.
func TestNoVacuousGate(t *testing.T) {
	for on1 := 1; on1 <= 3; on1++ {
		for on2 := range 4 {
			for on3 := range 4 {
				for limit := range 11 {
					on := []int{on1, on2, on3}
					waves, err := NewWaves([]int{4, 4, 4}, on, func(int) int { return limit - 1 })
					if err != nil {
						t.Fatal(err)
					}
					before, counted := Wave{}, 0
					for i, w := range waves {
						counted += on[i]
						if on[i] > 0 && w.Need <= before.Need || on[i] == 0 && w.Need != before.Need || w.MaxBad < before.MaxBad || w.Need+w.MaxBad != counted {
							t.Errorf("%v, limit %d: %v", on, limit-1, waves)
						}
						before = w
					}
				}
			}
		}
	}
}

// TestDecide goes through every record and tally of two waves, and holds the decision to
// what the rules say, in other words than the code.
func TestDecide(t *testing.T) {
	waves := []Wave{{Members: 3, Counted: 3, MaxBad: 1, Need: 2}, {Members: 2, Counted: 2, MaxBad: 2, Need: 3}}
	for _, control := range []Control{Running, Paused, Halted, Done} {
		for _, manual := range []bool{false, true} {
			for opened := range 3 {
				for ok := range 6 {
					for bad := range 6 - ok {
						for _, expired := range []bool{false, true} {
							r := Record{Waves: waves, Manual: manual, Control: control, Opened: opened}
							d := r.Decide(Tally{ok, bad, expired})
							second := opened == 2 || ok >= 2 && !manual
							done := control == Done || control != Halted && ok >= 3
							beyond := bad == 2 && !second || bad > 2
							halted := control == Halted || control != Done && !done && (beyond || expired)
							if d.Done != done || d.Halted != halted || (d.Reached == 2) != second || d.Done && d.Halted {
								t.Errorf("%+v, ok %d, bad %d, expired %v: %+v", r, ok, bad, expired, d)
							}
							for bits := range 16 {
								g := Self{Wave: 1 + bits&1, OwnBad: bits&2 != 0, Latched: bits&4 != 0, Crossed: bits&8 != 0}
								to := !g.OwnBad && (done || !halted && !g.Latched && (g.Crossed || control == Running && (g.Wave == 1 || second)))
								if got := d.Side(g); bool(got) != to {
									t.Errorf("%+v, ok %d, bad %d, expired %v, %+v: %v", r, ok, bad, expired, g, got)
								}
							}
						}
					}
				}
			}
		}
	}
}

// TestActs goes through every act in every kind of state.
func TestActs(t *testing.T) {
	waves := []Wave{{Members: 1, Counted: 1, Need: 1}, {Members: 2, Counted: 2, MaxBad: 1, Need: 2}}
	over := func(r Record, err error) string {
		if errors.Is(err, ErrOver) {
			return "over"
		}
		return fmt.Sprintf("%s %d", r.Control, r.Opened)
	}
	for name, c := range map[string]struct {
		record Record
		tally  Tally
		want   [6]string // pause, resume, resume --forgive, promote, promote --all, abort
	}{
		"new":          {Record{Control: Running}, Tally{}, [6]string{"paused 0", "running 0", "running 0", "running 2", "running 2", "halted 0"}},
		"second wave":  {Record{Control: Running}, Tally{OK: 1}, [6]string{"paused 0", "running 0", "running 0", "done 0", "done 0", "halted 0"}},
		"promoted":     {Record{Control: Running, Opened: 2}, Tally{}, [6]string{"paused 2", "running 2", "running 2", "done 2", "done 2", "halted 2"}},
		"paused":       {Record{Control: Paused}, Tally{}, [6]string{"paused 0", "running 0", "running 0", "paused 2", "paused 2", "halted 0"}},
		"bad":          {Record{Control: Running}, Tally{Bad: 1}, [6]string{"over", "over", "running 0", "over", "over", "halted 0"}},
		"expired":      {Record{Control: Paused}, Tally{Expired: true}, [6]string{"over", "over", "running 0", "over", "over", "halted 0"}},
		"aborted":      {Record{Control: Halted}, Tally{OK: 2}, [6]string{"over", "over", "running 0", "over", "over", "halted 0"}},
		"done":         {Record{Control: Running}, Tally{OK: 2}, [6]string{"over", "over", "over", "over", "over", "over"}},
		"done by hand": {Record{Control: Done}, Tally{Bad: 2}, [6]string{"over", "over", "over", "over", "over", "over"}},
	} {
		r, tally := c.record, c.tally
		r.Waves = waves
		got := [6]string{over(r.Pause(tally)), over(r.Resume(tally, false)), over(r.Resume(tally, true)),
			over(r.Promote(tally, false)), over(r.Promote(tally, true)), over(r.Abort(tally))}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestActedSince(t *testing.T) {
	r := Record{Acts: []Act{{ID: "a"}, {ID: "b"}}}
	for _, c := range []struct {
		known []string
		want  bool
	}{{nil, true}, {[]string{"a"}, true}, {[]string{"a", "b"}, false}, {[]string{"a", "b", "c"}, false}} { // c was lost with a restore
		if got := r.ActedSince(c.known); got != c.want {
			t.Errorf("since %v: %v", c.known, got)
		}
	}
	if (&Record{}).ActedSince(nil) {
		t.Error("an act without acts")
	}
}

func TestMayCast(t *testing.T) {
	waves := []Wave{{Members: 3, Counted: 3, MaxBad: 1, Need: 2}, {Members: 1, Counted: 1, MaxBad: 1, Need: 3}}
	for _, c := range []struct {
		wave, opened int
		ok           bool
		seen         int
		tally        Tally
		want         bool
	}{
		{1, 0, true, 0, Tally{}, true},
		{1, 0, true, 5, Tally{}, true}, // lost with a restore: cast again
		{1, 0, true, 0, Tally{Expired: true}, false},
		{1, 0, false, 3, Tally{OK: 3}, true},
		{1, 0, false, 3, Tally{OK: 2}, false},
		{1, 0, false, 0, Tally{Expired: true}, true},
		{2, 0, true, 0, Tally{OK: 1}, false}, // the act that opened its wave was lost
		{2, 0, false, 0, Tally{OK: 1}, false},
		{2, 0, true, 0, Tally{OK: 2}, true},
		{2, 2, true, 0, Tally{OK: 1}, true},
	} {
		r := Record{Waves: waves, Control: Running, Opened: c.opened}
		if got := r.Decide(c.tally).MayCast(Self{Wave: c.wave}, c.ok, c.seen); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
