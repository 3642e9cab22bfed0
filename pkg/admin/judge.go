package admin

import (
	"cmp"
	"fmt"
	"time"
)

// A driver's last minute is a problem if so many cycles were skipped, or requests
// repeated: a share of them, and more than a stray one.
const (
	judgedShare = 10 // one in so many
	judgedLeast = 5
)

// Slow reports whether the device does not keep up with its polling.
func (d *Driver) Slow() (p Problem, is bool) {
	m := d.LastMinute
	if m.Overruns < judgedLeast || m.Overruns*judgedShare < m.Cycles {
		return p, false
	}
	p = Problem{Part: "driver", Name: d.ID, Text: fmt.Sprintf("%d of %d cycles skipped in the last minute", m.Overruns, m.Cycles)}
	if d.LatencyP50Ms > 0 {
		p.Text += ": the device needs " + FormatMs(d.LatencyP50Ms) + " per request"
	}
	p.Hint = "raise cfg.polling, or let fewer requests do: cfg.max_regs_per_req, cfg.max_gap, cfg.max_inflight"
	return p, true
}

// Lossy reports whether the device or its line loses requests.
func (d *Driver) Lossy() (p Problem, is bool) {
	m := d.LastMinute
	asked := m.Polls + m.Errors
	if m.Retries < judgedLeast || m.Retries*judgedShare < asked {
		return p, false
	}
	return Problem{
		Part: "driver", Name: d.ID,
		Text: fmt.Sprintf("%d of %d requests repeated in the last minute: %s", m.Retries, asked, cmp.Or(d.LastError, "no reason known")),
		Hint: "raise cfg.timeout, set cfg.request_gap, or look at the line: edge-ctl trace " + d.Endpoint,
	}, true
}

// FormatMs shows milliseconds with two or three digits.
func FormatMs(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	digits := 100 * time.Millisecond
	for digits > time.Microsecond && d < 100*digits {
		digits /= 10
	}
	return d.Round(digits).String()
}
