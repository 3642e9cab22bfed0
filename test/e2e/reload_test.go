package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestTablesChangeWhileRunning edits the tables of a running gateway: a good change
// takes effect without a gap in the tags that stay, a bad one is refused and told
// while the old tables run on, and a restart on a broken directory runs what was
// good last.
func TestTablesChangeWhileRunning(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "reload", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, 5, "50ms"))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 10*time.Second, "the first frames", func() bool { return sub.Count() >= 50 })
	served := len(plc.Served(0))

	more := tables(plc.Addr, 8, "50ms")
	gw.WriteFile(t, "config/variables.yml", strings.Replace(more["variables.yml"], "value / 10", "value / 100", 1))
	peer.WaitFor(t, 10*time.Second, "the new tags", func() bool { return has(sub, tag(7)) })

	gw.WriteFile(t, "config/variables.yml", "- tag: broken\n")
	peer.WaitFor(t, 10*time.Second, "the refusal", func() bool {
		n, ok := gw.Metric("cfg_invalid_total")
		return ok && n == 1 && strings.Contains(gw.Output(), "variables.yml:1:")
	})
	if out := run(t, "edge-ctl", "--socket", gw.Socket(), "status"); !strings.Contains(out, "variables.yml:1:") {
		t.Errorf("edge-ctl status does not tell of the refused tables:\n%s", out)
	}
	before := sub.Count()
	peer.WaitFor(t, 10*time.Second, "frames after the refusal", func() bool { return sub.Count() > before+80 })
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	checkValues(t, sub, plc, served)

	gw.Start(t)
	gw.WaitReady(t)
	before = sub.Count()
	peer.WaitFor(t, 10*time.Second, "frames of the last good tables", func() bool { return sub.Count() > before+80 })
	if out := gw.Output(); !strings.Contains(out, "the last good one runs until it is mended") {
		t.Errorf("nothing was said of the broken tables:\n%s", out)
	}
	gw.Stop(t)
	for _, w := range sub.Check() {
		t.Error(w)
	}
}

func has(sub *peer.Subscriber, tag string) bool {
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			if f.Tag == tag {
				return true
			}
		}
	}
	return false
}

// checkValues holds the values of the second tag, whose definition stayed, to what
// the PLC served, in order and without a hole; and those of the first, whose scale
// changed, likewise with either scale.
func checkValues(t *testing.T, sub *peer.Subscriber, plc *peer.PLC, atChange int) {
	t.Helper()
	var stayed, changed []float64
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			v, _ := f.Value.(float64)
			switch f.Tag {
			case tag(0):
				changed = append(changed, v)
			case tag(1):
				stayed = append(stayed, v)
			}
		}
	}
	for i, v := range stayed {
		if want := float64(plc.Served(1)[i]) / 10; v != want {
			t.Fatalf("%s: value %d is %v, the PLC served %v", tag(1), i, v, want)
		}
	}
	rescaled := false
	for i, v := range changed {
		raw := float64(plc.Served(0)[i])
		switch {
		case v == raw/100 && i >= atChange:
			rescaled = true
		case v == raw/10 && !rescaled:
		default:
			t.Fatalf("%s: value %d is %v, the PLC served %v (rescaled: %v)", tag(0), i, v, raw, rescaled)
		}
	}
	if !rescaled {
		t.Errorf("%s never had its new scale", tag(0))
	}
}
