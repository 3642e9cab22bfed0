package config

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// Duration is a time.Duration written with ns, us, ms, s, m, h or d: "500ms",
// "1h30m", "1d" (24 hours). It is never negative.
type Duration time.Duration

// unit is one of the units that durations are written in.
type unit struct {
	name string
	size time.Duration
}

// durationUnits returns the units, largest first.
func durationUnits() [7]unit {
	return [7]unit{
		{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
		{"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", time.Nanosecond},
	}
}

// ParseDuration reads one or more numbers, each with its unit.
func ParseDuration(s string) (Duration, error) {
	fail := func() (Duration, error) {
		return 0, fmt.Errorf("%q is not a duration: expected a number with its unit (ns, us, ms, s, m, h, d), such as 500ms or 1m", s)
	}
	if s == "" {
		return fail()
	}
	var total float64
	var exact int64 // total, as long as everything was whole
	whole := true
	for rest := s; rest != ""; {
		n := numberLen(rest)
		if n == 0 {
			return fail()
		}
		number := rest[:n]
		rest = rest[n:]
		u := 0
		for u < len(rest) && (rest[u] < '0' || rest[u] > '9') {
			u++
		}
		size, ok := unitSize(rest[:u])
		if !ok {
			return fail()
		}
		rest = rest[u:]
		f, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return fail()
		}
		total += f * float64(size)
		if i, err := strconv.ParseInt(number, 10, 64); err == nil && i <= math.MaxInt64/int64(size) {
			exact += i * int64(size)
		} else {
			whole = false
		}
	}
	if total >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is longer than 292 years", s)
	}
	if whole {
		return Duration(exact), nil
	}
	return Duration(math.Round(total)), nil
}

// numberLen returns the length of the decimal number that s begins with.
func numberLen(s string) int {
	digits := func(i int) int {
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i
	}
	n := digits(0)
	if n > 0 && n < len(s) && s[n] == '.' {
		if end := digits(n + 1); end > n+1 {
			return end
		}
		return 0
	}
	return n
}

func unitSize(name string) (time.Duration, bool) {
	if name == "µs" {
		name = "us"
	}
	for _, u := range durationUnits() {
		if u.name == name {
			return u.size, true
		}
	}
	return 0, false
}

// String writes d as a whole number of the largest unit that fits: "90s", "1d".
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	for _, u := range durationUnits() {
		if int64(d)%int64(u.size) == 0 {
			return strconv.FormatInt(int64(d)/int64(u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns" // not reached: the last unit is 1 ns
}

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
	digits, mult := s, Size(1)
	if s != "" {
		switch s[len(s)-1] {
		case 'K':
			mult = KiB
		case 'M':
			mult = MiB
		case 'G':
			mult = GiB
		}
	}
	if mult > 1 {
		digits = s[:len(s)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || Size(n) > math.MaxInt64/mult {
		return 0, fmt.Errorf("%q is not a size: expected a number of bytes, with K, M or G for binary multiples, such as 512M", s)
	}
	return Size(n) * mult, nil
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
