package driver

import (
	"testing"
	"time"
)

// The last minute forgets what is older, and nothing younger.
func TestFigures(t *testing.T) {
	var f Figures
	var st Status
	start := time.Unix(1763888400, 0)
	for i := range 180 { // a cycle a second, of which every third is skipped and every fifth fails
		now := start.Add(time.Duration(i) * time.Second)
		if i%3 == 0 {
			f.Cycled(&st, now, 1)
		} else {
			f.Cycled(&st, now, 0)
		}
		if i%5 == 0 {
			f.Failed(&st, now, 1, 1)
		} else {
			f.Answered(&st, now, time.Duration(i+1)*time.Millisecond)
		}
	}
	end := start.Add(179 * time.Second)
	if st.Polls != 144 || st.Errors != 36 || st.Retries != 36 || st.Cycles != 240 || st.Overruns != 60 || !st.LastRead.Equal(end) {
		t.Errorf("ever: %+v", st)
	}
	shown := st
	f.Fill(&shown, end)
	m := shown.LastMinute
	if m.Polls < 48 || m.Polls > 56 || m.Overruns < 20 || m.Overruns > 24 || m.Errors != m.Retries || m.Errors < 12 || m.Errors > 14 {
		t.Errorf("of the last minute: %+v", m)
	}
	if shown.LatencyP50 < 145*time.Millisecond || shown.LatencyP50 > 155*time.Millisecond || shown.LatencyP99 < 175*time.Millisecond {
		t.Errorf("latency %v, %v", shown.LatencyP50, shown.LatencyP99)
	}
	quiet := st
	f.Fill(&quiet, end.Add(2*time.Minute))
	if quiet.LastMinute != (Recent{}) {
		t.Errorf("two minutes later: %+v", quiet.LastMinute)
	}
	f.Answered(&st, end.Add(time.Hour), 0) // not waited for: no latency
	if f.n != 144 {
		t.Errorf("%d latencies", f.n)
	}
}
