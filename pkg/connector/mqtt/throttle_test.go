package mqtt

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseSpeed(t *testing.T) {
	for text, want := range map[string]speed{
		"": {}, "10/s": {10, time.Second}, "60/m": {60, time.Minute}, "64K/h": {64 << 10, time.Hour}, "2147483647/s": {math.MaxInt32, time.Second},
	} {
		if got, err := parseSpeed(text, math.MaxInt32); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"10", "/s", "s", "0/s", "-1/s", "1.5/s", "10/d", "10 /s", "2147483648/s", "99999999999999999999/s", "1k/s"} {
		if got, err := parseSpeed(text, math.MaxInt32); err == nil || !strings.Contains(err.Error(), "expected a rate") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestThrottle: over a time, no more is spent than the allowance has, whatever the sizes,
// and a part of a second's worth is made where a larger one would take longer.
func TestThrottle(t *testing.T) {
	for _, a := range []allowance{
		{bytes: speed{10_000, time.Second}},
		{messages: speed{5, time.Second}},
		{bytes: speed{1 << 20, time.Second}, messages: speed{30, time.Minute}},
	} {
		var th throttle
		began := time.Unix(1e9, 0)
		now, bytes, messages := began, 0, 0
		for now.Sub(began) < 10*time.Minute {
			limit, most := th.portion(a, 1<<20)
			if most == 0 {
				most = 3
			}
			bytes, messages = bytes+limit/10, messages+most // compressed to a tenth
			th.spend(a, now, limit/10, limit, most)
			if wait := th.due.Sub(now); wait > 2500*time.Millisecond {
				t.Fatalf("%v: one window takes %s", a, wait)
			}
			now = th.due
		}
		took := now.Sub(began)
		if need := max(a.bytes.takes(bytes), a.messages.takes(messages)); need > took+time.Millisecond {
			t.Errorf("%v: %d bytes, %d messages in %s", a, bytes, messages, took)
		} else if need < took*9/10 {
			t.Errorf("%v: only %d bytes, %d messages in %s", a, bytes, messages, took)
		}
	}
}

func TestThrottleGrows(t *testing.T) {
	var th throttle
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		after      time.Duration
		lag        uint64
		known, yes bool
	}{{0, 1000, false, false}, {time.Second, 2000, false, false}, {growsEvery, 3000, true, true}, {time.Second, 9000, false, false}, {growsEvery, 2000, true, false}} {
		now = now.Add(c.after)
		if known, yes := th.grows(now, c.lag); known != c.known || yes != c.yes {
			t.Errorf("%+v: %t, %t", c, known, yes)
		}
	}
}
