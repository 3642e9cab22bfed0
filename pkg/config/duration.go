package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// Duration is a time.Duration written with ns, us, ms, s, m, h or d: "500ms",
// "1h30m", "1d" (24 hours). It is never negative.
type Duration time.Duration

// ParseDuration reads one or more numbers, each with its unit.
func ParseDuration(s string) (Duration, error) {
	d, err := number.Duration(s)
	return Duration(d), err
}

// String writes d as a whole number of the largest unit that fits: "90s", "1d".
func (d Duration) String() string { return number.FormatDuration(time.Duration(d)) }

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText writes d as [Duration.String] does, for JSON too.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseDuration] reads, for JSON too.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// MarshalYAML writes d as [Duration.String] does.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// UnmarshalYAML reads what [ParseDuration] reads.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error { return d.UnmarshalText([]byte(n.Value)) }

// Date is a moment, written as a day (2025-01-01, which begins at midnight UTC) or by
// RFC 3339 (2025-01-01T12:00:00Z).
type Date time.Time

// ParseDate reads a day or a moment.
func ParseDate(s string) (Date, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339Nano} {
		if t, err := time.Parse(layout, s); err == nil {
			return Date(t), nil
		}
	}
	return Date{}, fmt.Errorf("%q is not a date: expected a day such as 2025-01-01, or a moment such as 2025-01-01T12:00:00Z", s)
}

// Std returns d as the standard library's type.
func (d Date) Std() time.Time { return time.Time(d) }

// MarshalText writes d by RFC 3339, for JSON too.
func (d Date) MarshalText() ([]byte, error) {
	return time.Time(d).UTC().AppendFormat(nil, time.RFC3339Nano), nil
}

// UnmarshalText reads what [ParseDate] reads, for JSON too.
func (d *Date) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDate(string(text))
	return err
}

// Size is a number of bytes, written plain or with the binary multiples K, M and
// G: 512M is 512 MiB. It is never negative.
type Size int64

// The multiples that sizes are written with.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// ParseSize reads digits with an optional K, M or G behind them.
func ParseSize(s string) (Size, error) {
	n, err := number.Size(s)
	return Size(n), err
}

// String writes s with the largest multiple that it is a whole number of.
func (s Size) String() string {
	for _, m := range [3]struct {
		name string
		size Size
	}{{"G", GiB}, {"M", MiB}, {"K", KiB}} {
		if s != 0 && s%m.size == 0 {
			return strconv.FormatInt(int64(s/m.size), 10) + m.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes s as [Size.String] does, for JSON too.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what [ParseSize] reads.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// UnmarshalJSON reads a number of bytes or a string as [ParseSize] does.
func (s *Size) UnmarshalJSON(b []byte) (err error) {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	*s, err = ParseSize(text)
	return err
}

// MarshalYAML writes s as [Size.String] does.
func (s Size) MarshalYAML() (any, error) { return s.String(), nil }

// UnmarshalYAML reads what [ParseSize] reads.
func (s *Size) UnmarshalYAML(n *yaml.Node) (err error) {
	*s, err = ParseSize(n.Value)
	return err
}
