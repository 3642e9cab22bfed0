package modbus

import (
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	const interval, phase, n = time.Second, 300 * time.Millisecond, 3
	epoch := time.Unix(1000, 0)
	var s schedule
	s.restart(epoch)
	for range n { // the first cycle is a burst
		if due := s.due(interval, n); !due.Equal(epoch) {
			t.Errorf("first cycle, request %d is due at %v", s.pos, due.Sub(epoch))
		}
		s.pos++
	}
	if skipped := s.roll(epoch.Add(20*time.Millisecond), interval, phase, n); skipped != 0 {
		t.Errorf("%d cycles skipped after the first", skipped)
	}
	// The next begins at the phase, at least half an interval later.
	for i, want := range []time.Duration{1300, 1550, 1800} {
		if due := s.due(interval, n).Sub(epoch); due != want*time.Millisecond {
			t.Errorf("second cycle, request %d is due after %v, want %dms", i, due, want)
		}
		s.pos++
	}
	if skipped := s.roll(epoch.Add(2299*time.Millisecond), interval, phase, n); skipped != 0 || !s.start.Equal(epoch.Add(2300*time.Millisecond)) {
		t.Errorf("done in time: %d skipped, next %v", skipped, s.start.Sub(epoch))
	}
	s.pos = n
	if skipped := s.roll(epoch.Add(3301*time.Millisecond), interval, phase, n); skipped != 1 || !s.start.Equal(epoch.Add(4300*time.Millisecond)) {
		t.Errorf("done too late: %d skipped, next %v", skipped, s.start.Sub(epoch))
	}
	s.pos = n
	if skipped := s.roll(epoch.Add(8000*time.Millisecond), interval, phase, n); skipped != 3 || !s.start.Equal(epoch.Add(8300*time.Millisecond)) {
		t.Errorf("blocked for a while: %d skipped, next %v", skipped, s.start.Sub(epoch))
	}
	if s.roll(epoch.Add(time.Hour), interval, phase, n) != 0 || !s.start.Equal(epoch.Add(8300*time.Millisecond)) {
		t.Error("a cycle that is not done was rolled")
	}
}

// TestPhases: drivers with one interval are spread over it.
func TestPhases(t *testing.T) {
	var quarter [4]int
	for i := range 400 {
		p := phaseOf("driver"+string(rune('a'+i%26))+string(rune('a'+i/26)), time.Second)
		if p < 0 || p >= time.Second {
			t.Fatalf("phase %v", p)
		}
		quarter[p*4/time.Second]++
	}
	for i, n := range quarter {
		if n < 60 {
			t.Errorf("%d of 400 drivers in quarter %d", n, i)
		}
	}
}
