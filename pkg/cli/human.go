package cli

import (
	"fmt"
	"time"
)

// Bytes formats a size for people: 12.3 MiB.
func Bytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 1023.95 && unit < 6 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, " KMGTPE"[unit])
}

// Count formats a number for people: 1.2k, 34M. Below 10,000 it is exact.
func Count(n uint64) string {
	if n < 10_000 {
		return fmt.Sprint(n)
	}
	f, unit := float64(n), 0
	for f >= 999.95 && unit < 6 {
		f /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f%c", f, " kMGTPE"[unit])
}

// Ago formats how long ago t was, in one or two units; "-" for the zero time.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return Span(now.Sub(t))
}

// Span formats a duration in one or two units: 350ms, 12s, 3m20s, 5h10m, 2d4h.
func Span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
