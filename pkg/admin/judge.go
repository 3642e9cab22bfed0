package admin

import (
	"cmp"
	"fmt"
	"time"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// A driver's last minute is a problem if so many cycles were skipped, or requests
// repeated: a share of them, and more than a stray one. What helps is what the driver
// advises, who knows its device better than these counters do.
const (
	judgedShare = 10 // one in so many
	judgedLeast = 5
)

// Slow returns what to tell about a device that does not keep up with its polling, nil
// about one that does.
func Slow(d *pb.Driver) *pb.Problem {
	m := d.GetLastMinute()
	if m.GetOverruns() < judgedLeast || m.GetOverruns()*judgedShare < m.GetCycles() {
		return nil
	}
	p := &pb.Problem{Part: "driver", Name: d.Id, Text: fmt.Sprintf("%d of %d cycles skipped in the last minute", m.GetOverruns(), m.GetCycles())}
	if d.LatencyP50Ms > 0 {
		p.Text += ": the device needs " + FormatMs(d.LatencyP50Ms) + " per request"
		if d.LatencyP99Ms >= 2*d.LatencyP50Ms {
			p.Text += ", and sometimes " + FormatMs(d.LatencyP99Ms)
		}
	}
	p.Hint = cmp.Or(d.Advice, "raise cfg.polling, or let fewer requests do: cfg.max_regs_per_req, cfg.max_gap, cfg.max_inflight")
	return p
}

// Lossy returns what to tell if the device or its line loses requests, else nil.
func Lossy(d *pb.Driver) *pb.Problem {
	m := d.GetLastMinute()
	asked := m.GetPolls() + m.GetErrors()
	if m.GetRetries() < judgedLeast || m.GetRetries()*judgedShare < asked {
		return nil
	}
	return &pb.Problem{
		Part: "driver", Name: d.Id,
		Text: fmt.Sprintf("%d of %d requests repeated in the last minute: %s", m.GetRetries(), asked, cmp.Or(d.LastError, "no reason known")),
		Hint: cmp.Or(d.Advice, "raise cfg.timeout, set cfg.request_gap, or look at the line: edge-ctl trace "+d.Endpoint),
	}
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
