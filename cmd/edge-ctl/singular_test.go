package main

import (
	"strings"
	"testing"
	"time"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// TestOneOfAThing: one problem and one frame are no "problems" and no "frames".
func TestOneOfAThing(t *testing.T) {
	for _, c := range []struct {
		n              int
		problems, link string
	}{
		{0, "0 problems", "up, 0 frames behind"}, {1, "1 problem", "up, 1 frame behind"}, {2, "2 problems", "up, 2 frames behind"},
	} {
		if got := connectorLink(&pb.Connector{Name: "mqtt", State: "up", Lag: uint64(c.n)}).Text; got != c.link {
			t.Errorf("why: %q, want %q", got, c.link)
		}
		now := sample{at: time.Now(), bus: &pb.GetBusStatsResponse{}, status: &pb.GetStatusResponse{Problems: make([]*pb.Problem, c.n)}}
		lines := new(cli.Output).Lines(func(table *cli.Table) {
			topHead(table, sample{}, now, func(_, _ uint64) string { return "-" })
		})
		if !strings.HasSuffix(lines[0], " "+c.problems) {
			t.Errorf("top: %q, want %q", lines, c.problems)
		}
	}
}
