package admin

import (
	"strings"
	"testing"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// TestAdvice: whoever judges a driver, status or why, names the setting that the
// driver itself knows to help, and the usual ones where it knows none.
func TestAdvice(t *testing.T) {
	for name, c := range map[string]struct {
		judge func(*pb.Driver) *pb.Problem
		usual string
	}{"slow": {Slow, "raise cfg.polling"}, "lossy": {Lossy, "set cfg.request_gap"}} {
		t.Run(name, func(t *testing.T) {
			d := &pb.Driver{Id: "press", LastMinute: &pb.DriverMinute{Cycles: 113, Overruns: 64, Polls: 49, Retries: 30}}
			p := c.judge(d)
			if p == nil || !strings.Contains(p.Hint, c.usual) {
				t.Fatalf("%v, want a hint with %q", p, c.usual)
			}
			d.Advice = "answers come after 2.3s: raise timeout to 3s"
			if p := c.judge(d); p == nil || p.Hint != d.Advice {
				t.Errorf("%v, want the driver's own advice", p)
			}
		})
	}
}
