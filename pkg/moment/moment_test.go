package moment_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

func berlin(t testing.TB) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 11, 27, 10, 0, 0, 0, berlin(t))
	for in, want := range map[string]string{
		"now":                        "2026-11-27T10:00:00+01:00",
		"-15m":                       "2026-11-27T09:45:00+01:00",
		"15m ago":                    "2026-11-27T09:45:00+01:00",
		"-1d12h":                     "2026-11-25T22:00:00+01:00",
		"09:03":                      "2026-11-27T09:03:00+01:00",
		"10:00":                      "2026-11-27T10:00:00+01:00",
		"14:03":                      "2026-11-26T14:03:00+01:00", // not yet today
		"14:03:20.5":                 "2026-11-26T14:03:20.5+01:00",
		"08:30Z":                     "2026-11-27T08:30:00Z",
		"09:30Z":                     "2026-11-26T09:30:00Z", // half past ten here
		"today":                      "2026-11-27T00:00:00+01:00",
		"today 06:00":                "2026-11-27T06:00:00+01:00",
		"yesterday":                  "2026-11-26T00:00:00+01:00",
		"yesterday 14:00":            "2026-11-26T14:00:00+01:00",
		"2026-11-20":                 "2026-11-20T00:00:00+01:00",
		"2026-07-20 14:03":           "2026-07-20T14:03:00+02:00",
		"2026-07-20T14:03":           "2026-07-20T14:03:00+02:00",
		"2026-07-20 14:03:05 +01:00": "2026-07-20T14:03:05+01:00",
		"2026-07-20 14:03:05.250Z":   "2026-07-20T14:03:05.25Z",
		"2026-07-20T14:03:05.25Z":    "2026-07-20T14:03:05.25Z",
		"2026-07-20 14:03 UTC":       "2026-07-20T14:03:00Z",
		"2026-10-25 02:30 +02:00":    "2026-10-25T02:30:00+02:00",
		"2026-10-25 02:30 +01:00":    "2026-10-25T02:30:00+01:00",
		"2026-10-25 03:00":           "2026-10-25T03:00:00+01:00",
		"2026-10-25 01:59":           "2026-10-25T01:59:00+02:00",
	} {
		got, err := moment.Parse(in, now)
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q is %s, %v; expected %s", in, got.Format(time.RFC3339Nano), err, want)
		}
	}
	for in, want := range map[string]string{
		"":                 "expected a time such as",
		"noon":             "expected a time such as",
		"25:00":            "expected a time such as",
		"yesterday noon":   "expected a time such as",
		"2026-13-01":       "expected a time such as",
		"2026-11-27 14":    "expected a time such as",
		"27.11.2026":       "expected a time such as",
		"-":                "expected",
		"-15":              "expected",
		"2026-03-29 02:30": "did not exist",
		"2026-10-25 02:30": "+01:00 or +02:00",
	} {
		if got, err := moment.Parse(in, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %s, error %v; expected an error that says %q", in, got, err, want)
		}
	}
}

func TestMomentAfterAnother(t *testing.T) {
	now := time.Date(2026, 11, 27, 10, 0, 0, 0, berlin(t))
	for _, c := range []struct{ from, to, want string }{
		{"06:00", "08:00", "2026-11-27T08:00:00+01:00"},
		{"06:00", "14:00", "2026-11-27T14:00:00+01:00"}, // still to come
		{"23:50", "00:10", "2026-11-27T00:10:00+01:00"},
		{"yesterday 06:00", "14:00", "2026-11-26T14:00:00+01:00"},
		{"2026-11-20 22:00", "06:00", "2026-11-21T06:00:00+01:00"},
		{"2026-11-20 22:00", "06:00Z", "2026-11-21T06:00:00Z"},
		{"-2h", "-1h", "2026-11-27T09:00:00+01:00"},
	} {
		from, err := moment.Parse(c.from, now)
		if err != nil {
			t.Fatal(err)
		}
		to, err := moment.ParseAfter(c.to, from, now)
		if err != nil || to.Format(time.RFC3339) != c.want {
			t.Errorf("from %q to %q ends at %s, %v; expected %s", c.from, c.to, to.Format(time.RFC3339), err, c.want)
		}
	}
}

// What is written is read as the same moment, since it names its zone.
func TestMomentIsReadBack(t *testing.T) {
	now := time.Now()
	elsewhere := now.In(time.FixedZone("elsewhere", -9*3600-1800))
	for _, at := range []time.Time{now, now.AddDate(0, -6, 0), time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC)} {
		for _, c := range []struct {
			text string
			unit time.Duration
		}{{moment.Format(at), time.Second}, {moment.FormatExact(at), time.Millisecond}} {
			if got, err := moment.Parse(c.text, elsewhere); err != nil || !got.Equal(at.Truncate(c.unit)) {
				t.Errorf("%s is read as %s, %v", c.text, got, err)
			}
		}
	}
	for _, c := range []struct {
		text string
		unit time.Duration
	}{{moment.Clock(now), time.Millisecond}, {moment.ClockExact(now), time.Microsecond}} {
		if got, err := moment.Parse(c.text, elsewhere); err != nil || !got.Equal(now.Truncate(c.unit)) {
			t.Errorf("%s is read as %s, %v", c.text, got, err)
		}
	}
	if text := moment.Format(time.Time{}); text != "-" {
		t.Errorf("no time is written as %q", text)
	}
}

func FuzzMoment(f *testing.F) {
	for _, s := range []string{"14:03", "yesterday 14:03", "2026-11-27 14:03 +01:00", "-15m", "2026-03-29 02:30"} {
		f.Add(s, s)
	}
	now := time.Date(2026, 11, 27, 10, 0, 0, 0, berlin(f))
	f.Fuzz(func(t *testing.T, from, to string) {
		start, err := moment.Parse(from, now)
		if err != nil {
			return
		}
		if again, err := moment.Parse(start.Format(time.RFC3339Nano), now); err == nil && !again.Equal(start) {
			t.Fatalf("%q is %s, which is read as %s", from, start, again)
		}
		_, _ = moment.ParseAfter(to, start, now) // must not panic
	})
}
