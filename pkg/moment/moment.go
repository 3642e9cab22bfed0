package moment

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// forms tells which times [Parse] reads.
const forms = `14:03, 'yesterday 14:03', '2026-11-27 14:03', 2026-11-27T14:03:00Z, or -15m ('15m ago')`

// Parse reads a time as people say it, in the zone of now where it names none:
//
//	14:03, 14:03:20.5            the last time that clocks showed it
//	today, yesterday 14:03       a day, from midnight where no time follows
//	2026-11-27, 2026-11-27 14:03 the same with a date
//	2026-11-27 14:03 +01:00      with a zone, as [Format] writes it; Z is UTC
//	2026-11-27T14:03:00Z         RFC 3339
//	-15m, 15m ago, now           before now
//
// A time that clocks skipped or showed twice, since daylight saving began or ended,
// is refused unless its zone is named.
func Parse(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	ago, ok := strings.CutPrefix(s, "-")
	if !ok {
		ago, ok = strings.CutSuffix(s, " ago")
	}
	if ok {
		d, err := number.Duration(ago)
		return now.Add(-d), err
	}
	day, clock, hasDay := cutDay(s, now)
	if clock == "" {
		if !hasDay {
			return time.Time{}, notOne(s)
		}
		return onDay(day, time.Time{})
	}
	at, err := parseClock(clock, now.Location())
	if err != nil {
		return time.Time{}, notOne(s)
	}
	if hasDay {
		return onDay(day, at)
	}
	t, err := onDay(now.In(at.Location()), at)
	if err == nil && t.After(now) {
		t, err = onDay(now.In(at.Location()).AddDate(0, 0, -1), at)
	}
	return t, err
}

// ParseAfter reads the end of a span that begins at start: a time without a day
// is the first of its kind after start.
func ParseAfter(s string, start, now time.Time) (time.Time, error) {
	at, err := parseClock(s, now.Location())
	if err != nil {
		return Parse(s, now)
	}
	t, err := onDay(start.In(at.Location()), at)
	if err == nil && !t.After(start) {
		t, err = onDay(start.In(at.Location()).AddDate(0, 0, 1), at)
	}
	return t, err
}

// Format writes t for people, in the local zone, which it names: [Parse] reads it.
func Format(t time.Time) string { return format(t, "2006-01-02 15:04:05 -07:00") }

// FormatExact writes t as [Format] does, with milliseconds.
func FormatExact(t time.Time) string { return format(t, "2006-01-02 15:04:05.000 -07:00") }

// Day writes the day of t and the zone, to stand above lines that begin with a
// [TimeOfDay].
func Day(t time.Time) string { return format(t, "2006-01-02 -07:00") }

// TimeOfDay writes the time of day without the zone: only below a [Day].
func TimeOfDay(t time.Time) string { return format(t, "15:04:05.000") }

// Clock writes the time of day of something that happens while a person watches.
// [Parse] reads it.
func Clock(t time.Time) string { return format(t, "15:04:05.000 -07:00") }

// ClockExact writes the time of day with microseconds, for what goes over a wire.
func ClockExact(t time.Time) string { return format(t, "15:04:05.000000 -07:00") }

func format(t time.Time, layout string) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(layout)
}

func notOne(s string) error { return fmt.Errorf("%q: expected a time such as %s", s, forms) }

// cutDay takes the day off the front of s.
func cutDay(s string, now time.Time) (day time.Time, rest string, ok bool) {
	first, rest, _ := strings.Cut(s, " ")
	if at := len(time.DateOnly); len(first) > at && first[at] == 'T' { // RFC 3339, or that without seconds or zone
		first, rest = s[:at], s[at+1:]
	}
	switch first {
	case "today":
		return now, strings.TrimSpace(rest), true
	case "yesterday":
		return now.AddDate(0, 0, -1), strings.TrimSpace(rest), true
	}
	day, err := time.ParseInLocation(time.DateOnly, first, now.Location())
	if err != nil {
		return day, s, false
	}
	return day, strings.TrimSpace(rest), true
}

// parseClock reads a time of day; its location is the zone that stands behind it, or loc.
func parseClock(s string, loc *time.Location) (time.Time, error) {
	for _, layout := range []string{"15:04", "15:04:05"} { // fractions of a second are read with either
		if t, err := time.ParseInLocation(layout, s, loc); err == nil {
			return t, nil
		}
		for _, zone := range []string{"Z07:00", " Z07:00", " UTC"} {
			if t, err := time.Parse(layout+zone, s); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, errors.New("no time of day")
}

// onDay is the moment of day's date at which clocks show what clock shows; the zero
// clock is midnight in day's zone.
func onDay(day, clock time.Time) (time.Time, error) {
	loc := clock.Location()
	if clock.IsZero() {
		loc = day.Location()
	}
	y, m, d := day.Date()
	t := time.Date(y, m, d, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), loc)
	const wall = "2006-01-02 15:04:05"
	want := time.Date(y, m, d, clock.Hour(), clock.Minute(), clock.Second(), 0, time.UTC).Format(wall)
	if t.Format(wall) != want {
		if clock.IsZero() {
			return t, nil // the day begins later there
		}
		return t, fmt.Errorf("%s did not exist in this zone, because clocks went forward: name the zone, such as %s", want, t.Format("-07:00"))
	}
	_, offset := t.Zone()
	for _, near := range []time.Time{t.Add(-3 * time.Hour), t.Add(3 * time.Hour)} {
		_, other := near.Zone()
		if twin := t.Add(time.Duration(offset-other) * time.Second); offset != other && twin.Format(wall) == want {
			return t, fmt.Errorf("%s came twice in this zone, because clocks went back: name the zone, %s or %s", want,
				t.Format("-07:00"), twin.Format("-07:00"))
		}
	}
	return t, nil
}
