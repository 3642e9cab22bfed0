package point

import (
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestArrays: what a variable says of a number holds for each element.
func TestArrays(t *testing.T) {
	v := variable16("a")
	v.Scale, v.NA, v.Deadband = "value / 10", "65535", 0.5
	table := compileTable(t, nil, v)
	for i, tc := range []struct{ raw, want string }{
		{"[120,65535,[30]]", "[12,null,[3]]"}, // not available is null
		{"[124,65535,[30]]", ""},              // within the deadband
		{"[126,65535,[30]]", "[12.6,null,[3]]"},
		{"[126,65535,[30],1]", "[12.6,null,[3],0.1]"}, // longer
		{"[]", "[]"},
	} {
		f, ok := observe(table, 0, frame.ArrayValue(tc.raw), frame.Good, time.Duration(i))
		if ok != (tc.want != "") || ok && f.Value != frame.ArrayValue(tc.want) {
			t.Errorf("%s: %s, %v; want %q", tc.raw, f.Value, ok, tc.want)
		}
	}
	big := variable16("big")
	big.Datatype, big.Scale = config.TypeUint64, "value + 1"
	table = compileTable(t, nil, big)
	f, ok := observe(table, 0, frame.ArrayValue("[18446744073709551614,9007199254740993]"), frame.Good, 1)
	if want := "[18446744073709551615,9007199254740994]"; !ok || f.Value.Text() != want || f.Quality != frame.Good {
		t.Errorf("%s %s, want %s", f.Value, f.Quality, want)
	}
}

// TestStatus: a frame that isn't good has the device's reason; a new reason is news.
func TestStatus(t *testing.T) {
	v := variable16("a")
	v.Report = config.ReportChange
	table := compileTable(t, nil, v)
	for i, tc := range []struct {
		status, want string
		lost         bool
		q            frame.Quality
		frame        bool
	}{
		{"1 a", "", false, frame.Good, true},
		{"1 a", "1 a", false, frame.Uncertain, true},
		{"1 a", "", false, frame.Uncertain, false},
		{"2 b", "2 b", false, frame.Uncertain, true},
		{"", "", false, frame.Uncertain, true},
		{"3 c", "3 c", true, frame.Bad, true},
		{"3 c", "", true, frame.Bad, false},
		{"", "", true, frame.Bad, false},
		{"4 d", "4 d", true, frame.Bad, true},
		{"", "", false, frame.Good, true},
	} {
		b := table.Begin(1)
		if tc.lost {
			table.LostStatus(b, 0, int64(i), tc.status)
		} else {
			table.ObserveStatus(b, 0, frame.IntValue(7), tc.q, int64(i), tc.status)
		}
		b = table.End(b)
		if (b != nil) != tc.frame || b != nil && (b.Status(0) != tc.want || b.Frames[0].Quality != tc.q) {
			t.Errorf("step %d: %+v, want %+v", i, b, tc)
		}
	}
}

// TestBatchesShareNoStatuses: a batch that was handed out is not touched by the next.
func TestBatchesShareNoStatuses(t *testing.T) {
	vars := make([]config.Variable, 64)
	for i := range vars {
		vars[i] = variable16("t" + string(rune('!'+i)))
		vars[i].Report = config.ReportChange
	}
	table := compileTable(t, nil, vars...)
	one := func(i int, status string) *frame.Batch {
		b := table.Begin(64)
		table.ObserveStatus(b, i, frame.IntValue(7), frame.Uncertain, 1, status)
		return table.End(b)
	}
	first, second := one(0, "1 a"), one(1, "2 b")
	if first.Status(0) != "1 a" || second.Status(0) != "2 b" || len(second.Statuses) != 1 {
		t.Errorf("%q, %q", first.Statuses, second.Statuses)
	}
}
