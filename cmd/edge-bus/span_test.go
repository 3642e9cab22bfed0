package main

import (
	"testing"
	"time"
)

// TestPlaces reads what people write for --from and --to: a seq, or any form of a time,
// also those that are numbers to others.
func TestPlaces(t *testing.T) {
	now := time.Date(2026, 11, 28, 16, 0, 0, 0, time.UTC)
	day := func(d, h, m, s int) time.Time { return time.Date(2026, 11, d, h, m, s, 0, time.UTC) }
	for _, c := range []struct {
		from, to         string
		fromSeq, toSeq   uint64
		fromTime, toTime time.Time
	}{
		{from: "0"}, {from: "41000", to: "42000", fromSeq: 41000, toSeq: 42000},
		{from: "14:03", fromTime: day(28, 14, 3, 0)}, {from: "14:03:20", fromTime: day(28, 14, 3, 20)},
		{from: "07:08:01", to: "07:08:02", fromTime: day(28, 7, 8, 1), toTime: day(28, 7, 8, 2)},
		{from: "23:10:00", to: "1:30:00", fromTime: day(27, 23, 10, 0), toTime: day(28, 1, 30, 0)},
		{from: "yesterday 22:00", to: "06:00", fromTime: day(27, 22, 0, 0), toTime: day(28, 6, 0, 0)},
		{from: "2026-11-27 14:03:05", to: "-15m", fromTime: day(27, 14, 3, 5), toTime: day(28, 15, 45, 0)},
		{from: "2026-11-27T14:03:00Z", to: "now", fromTime: day(27, 14, 3, 0), toTime: now},
	} {
		r, err := (&spanFlags{from: c.from, to: c.to}).parse(now)
		if err != nil || r.FromSeq != c.fromSeq || r.ToSeq != c.toSeq || !r.FromTime.Equal(c.fromTime) || !r.ToTime.Equal(c.toTime) {
			t.Errorf("%q to %q: %+v, %v", c.from, c.to, r, err)
		}
	}
	for _, bad := range []spanFlags{{from: "010"}, {from: "1.5"}, {from: "14:63:00"}, {from: "soon"}, {to: "0"}, {from: "15:00", to: "2026-11-28 14:00"}} {
		if r, err := bad.parse(now); err == nil {
			t.Errorf("%+v is taken: %+v", bad, r)
		}
	}
}
