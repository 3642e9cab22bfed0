package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestClockNotSet starts with a clock that shows less than clock.not_before: frames are
// uncertain until it doesn't, which is told; their ages are not decades; and with
// clock.wait the start waits.
func TestClockNotSet(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", topic)
	peer.Build(t, "edge-gw") // before the time counts
	peer.Build(t, "edge-ctl")
	set := time.Now().Add(10 * time.Second)
	gw := peer.NewGateway(t, fmt.Sprintf("clock: {not_before: %q}\n", set.UTC().Format(time.RFC3339Nano))+connector(broker.URL(), "    payload: json\n"), tables(plc.Addr, 10, "50ms"))
	gw.Start(t)
	gw.WaitReady(t)
	status := run(t, "edge-ctl", "--socket", gw.Socket(), "status")
	if !strings.Contains(status, "clock") || !strings.Contains(status, "not set yet") {
		t.Errorf("status:\n%s", status)
	}
	peer.WaitFor(t, 30*time.Second, "the clock to be set and told", func() bool {
		for _, m := range sub.Messages() {
			for _, f := range m.Frames {
				if f.Tag == "sys.clock" {
					return true
				}
			}
		}
		return false
	})
	n := sub.Count()
	peer.WaitFor(t, 20*time.Second, "frames after that", func() bool { return sub.Count() > n+50 })
	before, after := 0, 0
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			if strings.HasPrefix(f.Tag, "sys.") {
				continue
			}
			want := "good"
			if f.TS < set.UnixMilli() {
				want = "uncertain"
				before++
			} else {
				after++
			}
			if f.Quality != want && f.TS != set.UnixMilli() { // rounded to milliseconds
				t.Fatalf("frame %d of %v is %s, expected %s; the clock was set at %v", f.Seq, f.TS, f.Quality, want, set.UnixMilli())
			}
		}
	}
	if before == 0 || after == 0 {
		t.Errorf("%d frames before, %d after", before, after)
	}
	gw.Stop(t)

	began := time.Now()
	waiting := peer.NewGateway(t, "clock: {not_before: 2199-01-01, wait: 3s}\n", tables(plc.Addr, 10, "50ms"))
	waiting.Start(t)
	waiting.WaitReady(t)
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("ready after %s, without a wait", took)
	}
	if !strings.Contains(waiting.Output(), fmt.Sprintf(`"epoch":"%012x`, time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())) {
		t.Error("the log's epoch does not sort by not_before")
	}
}
