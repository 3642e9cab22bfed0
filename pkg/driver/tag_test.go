package driver

import (
	"math"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// TestWhyBad: a tag that was lost with its device is not said to have sent a wrong value
// before it was read again, not even after a restart.
func TestWhyBad(t *testing.T) {
	table, err := point.Compile("d", []config.Variable{{Tag: "a", DriverID: "d", Datatype: config.TypeFloat32}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	u := &unit{}
	reason := func() string { return u.tag(table, 0, "", reasons{}).Reason.Text }
	observe := func(v float64) {
		b := table.Begin(1)
		table.Observe(b, 0, frame.FloatValue(v), frame.Good, 1)
		table.End(b)
	}
	observe(math.NaN())
	if got := reason(); got != Unusable {
		t.Errorf("not a number: %q", got)
	}
	b := table.Begin(1)
	table.Lost(b, 0, 2)
	table.End(b)
	const lost = "not read again yet since it was lost"
	if got := reason(); got != lost {
		t.Errorf("lost: %q", got)
	}
	table.ReportAll()
	if got := reason(); got != lost {
		t.Errorf("lost, and the driver restarted: %q", got)
	}
	if own := u.tag(table, 0, "", reasons{tags: map[string]Reason{"a": {Text: "refused"}}}); own.Reason.Text != "refused" {
		t.Errorf("refused: %q", own.Reason.Text)
	}
	observe(1)
	if got := reason(); got != "" {
		t.Errorf("read: %q", got)
	}
}
