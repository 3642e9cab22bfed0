package apply

import (
	"fmt"
	"testing"
)

// TestStepTable spells out the whole state × event table for a change that needs
// every phase; what is not in the list must change nothing.
func TestStepTable(t *testing.T) {
	all := Needs{Drain: true, Restart: true, Reload: true}
	type out struct {
		next   State
		effect Effect
	}
	want := map[string]out{
		"Idle/Submitted":     {Preparing, DoPrepare},
		"Preparing/Done":     {DrainEP, DoDrain},
		"Preparing/Failed":   {Idle, DoReject},
		"DrainEP/Done":       {RestartDrv, DoRestart},
		"DrainEP/Failed":     {RollingBack, DoRollback},
		"RestartDrv/Done":    {ReloadMap, DoReload},
		"RestartDrv/Failed":  {RollingBack, DoRollback},
		"ReloadMap/Done":     {Verifying, DoVerify},
		"ReloadMap/Failed":   {RollingBack, DoRollback},
		"Verifying/Done":     {Committing, DoCommit},
		"Verifying/Failed":   {RollingBack, DoRollback},
		"Committing/Done":    {Idle, DoSucceed},
		"Committing/Failed":  {RollingBack, DoRollback},
		"RollingBack/Done":   {Idle, DoGiveBack},
		"RollingBack/Failed": {Broken, DoBreakDown},
	}
	for s := Idle; s <= Broken; s++ {
		for e := Submitted; e <= Failed; e++ {
			key := fmt.Sprintf("%s/%s", s, e)
			next, effect, ok := step(s, e, all)
			w, known := want[key]
			if !known {
				w = out{s, NoEffect}
			}
			if ok != known || next != w.next || effect != w.effect {
				t.Errorf("%s: got %s, effect %d, ok %v; want %s, effect %d, ok %v", key, next, effect, ok, w.next, w.effect, known)
			}
		}
	}
}

// TestPhasesSkipped walks every combination of needs from Submitted to Idle and
// lists the phases passed.
func TestPhasesSkipped(t *testing.T) {
	for mask := range 8 {
		needs := Needs{Drain: mask&1 != 0, Restart: mask&2 != 0, Reload: mask&4 != 0}
		var want []State
		want = append(want, Preparing)
		if needs.Drain {
			want = append(want, DrainEP)
		}
		if needs.Restart {
			want = append(want, RestartDrv)
		}
		if needs.Reload {
			want = append(want, ReloadMap)
		}
		want = append(want, Verifying, Committing, Idle)

		s, e := Idle, Submitted
		var got []State
		for range len(want) {
			s, _, _ = step(s, e, needs)
			e = Done
			got = append(got, s)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v: phases %v, want %v", needs, got, want)
		}
	}
}
