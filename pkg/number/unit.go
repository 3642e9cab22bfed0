package number

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrTooLong is what is wrong with a duration that no [time.Duration] can hold.
var ErrTooLong = errors.New("is longer than 292 years")

// unit is one of the units that durations are written in.
type unit struct {
	name string
	size time.Duration
}

// units returns the units of durations, largest first.
func units() [7]unit {
	return [7]unit{
		{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
		{"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", time.Nanosecond},
	}
}

// Duration reads one or more decimal numbers, each with its unit (ns, us, ms, s,
// m, h, d of 24 hours): 500ms, 1h30m, 1.5s. The first may not begin with a zero
// that counts for nothing; behind it one is how times are written (1h05m).
func Duration(s string) (time.Duration, error) {
	fail := func() (time.Duration, error) {
		return 0, fmt.Errorf("%q is not a duration: expected a number with its unit (ns, us, ms, s, m, h, d), such as 500ms or 1m", s)
	}
	if s == "" {
		return fail()
	}
	if len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9' {
		return 0, &Error{s, fmt.Sprintf("%q has a leading zero; write %s", s, trimLeading(s)), Doubtful}
	}
	var total float64
	var exact int64 // total, as long as everything was whole
	whole := true
	for rest := s; rest != ""; {
		n := fractionLen(rest)
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
		if i, err := strconv.ParseInt(number, 10, 64); err == nil && i <= (math.MaxInt64-exact)/int64(size) {
			exact += i * int64(size)
		} else {
			whole = false
		}
	}
	if total >= math.MaxInt64 {
		return 0, fmt.Errorf("%q %w", s, ErrTooLong)
	}
	if whole {
		return time.Duration(exact), nil
	}
	return time.Duration(math.Round(total)), nil
}

// trimLeading takes the zeros away that count for nothing.
func trimLeading(s string) string {
	for len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9' {
		s = s[1:]
	}
	return s
}

// fractionLen returns the length of the decimal number that s begins with.
func fractionLen(s string) int {
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
	for _, u := range units() {
		if u.name == name {
			return u.size, true
		}
	}
	return 0, false
}

// FormatDuration writes d as a whole number of the largest unit that fits: "90s",
// "1d".
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	for _, u := range units() {
		if d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d), 10) + "ns" // not reached: the last unit is 1 ns
}

// Size reads a number of bytes: digits, or hexadecimal, with an optional K, M or G
// behind decimal ones for binary multiples. 512M is 512 MiB.
func Size(s string) (int64, error) {
	digits, shift := s, 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("KMG", s[n-1]); i >= 0 {
			digits, shift = s[:n-1], 10*(i+1)
		}
	}
	v, err := Parse(digits)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == Doubtful {
		return 0, fmt.Errorf("%q is not a size: %s %s", s, digits, e.Reason)
	}
	n, ok := Whole(v)
	hex := strings.HasPrefix(digits, "0x")
	if err != nil || !ok || n < 0 || n > math.MaxInt64>>shift || !hex && !isDigits(digits) || hex && shift > 0 {
		return 0, fmt.Errorf("%q is not a size: expected a number of bytes, with K, M or G for binary multiples, such as 512M", s)
	}
	return n << shift, nil
}
