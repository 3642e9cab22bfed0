package e2e

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestHundredPoints is the acceptance of the driver's milestone: 100 points of a
// PLC arrive as frames with the right tag, value, unit, time and seq. Every value
// that the PLC served is compared with what arrived, in order.
func TestHundredPoints(t *testing.T) {
	const n = 100
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "hundred", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, n, "100ms"))
	began := time.Now()
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 20*time.Second, "3,000 frames", func() bool { return sub.Count() >= 3000 })
	took, code := gw.Stop(t)
	if code != 0 || took > 5*time.Second {
		t.Errorf("edge-gw stopped in %s with exit code %d; want within 5 s with 0", took, code)
	}
	ended := time.Now()
	for _, w := range sub.Check() {
		t.Error(w)
	}

	got := map[string][]float64{}
	for _, m := range sub.Messages() {
		if m.Type != "application/json" || m.Properties["gw"] != "gw-test" || m.Properties["epoch"] == "" {
			t.Fatalf("message properties: content type %q, %v", m.Type, m.Properties)
		}
		for _, f := range m.Frames {
			if strings.HasPrefix(f.Tag, "sys.") {
				continue
			}
			if f.Quality != "good" || f.Unit == nil || *f.Unit != "bar" {
				t.Fatalf("frame %+v: want quality good and unit bar", f)
			}
			if ts := time.UnixMilli(f.TS); ts.Before(began.Add(-time.Millisecond)) || ts.After(ended) {
				t.Fatalf("frame %+v: source time %s is not within the test", f, ts)
			}
			v, ok := f.Value.(float64)
			if !ok {
				t.Fatalf("frame %+v: value is %T, want a number", f, f.Value)
			}
			got[f.Tag] = append(got[f.Tag], v)
		}
	}
	for i := range n {
		served, arrived := plc.Served(uint16(i)), got[tag(i)]
		// The last poll may have been answered when the gateway had no time
		// left to publish it.
		if len(arrived) < len(served)-1 || len(arrived) > len(served) {
			t.Fatalf("%s: the PLC served %d values, %d arrived", tag(i), len(served), len(arrived))
		}
		for k, v := range arrived {
			if want := float64(served[k]) / 10; v != want {
				t.Fatalf("%s: value %d is %v, the PLC served %v", tag(i), k, v, want)
			}
		}
	}
}

// TestBrokerAway is the acceptance of the log's milestone: the broker is gone for
// 30 s, polling goes on, and afterwards every seq arrives, none twice.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	away := 30 * time.Second
	if testing.Short() {
		away = 3 * time.Second
	}
	row := faults.Open(t, "broker-away")
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "away", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, 100, "100ms"))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 10*time.Second, "the first frames", func() bool { return sub.Count() >= 500 })

	broker.Stop(t)
	before, served := sub.Count(), len(plc.Served(0))
	time.Sleep(away) // the outage itself
	if polled := len(plc.Served(0)) - served; polled < int(away/(100*time.Millisecond))*9/10 {
		t.Errorf("%d polls in %s without a broker; want one each 100 ms", polled, away)
	}
	broker.Start(t)
	row.Fault(1)
	back := time.Now()
	want := before + int(away/(100*time.Millisecond))*90
	peer.WaitFor(t, 60*time.Second, "the backlog", func() bool { return sub.Count() >= want })
	row.Recovered(time.Since(back))
	row.Memory(gw.Peak())
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, w := range sub.Check() {
		t.Error(w)
	}
	row.Count(sub.Account(1, 0))
	if arrived, all := sub.Count(), len(plc.Served(0)); arrived < (all-1)*100 {
		t.Errorf("%d frames arrived of %d polls of 100 points", arrived, all)
	}
}

// TestKilledUnderLoad kills the gateway with SIGKILL again and again while it
// polls and delivers (EDGE_KILLS times, 8 by default). What was published arrives once, and
// no seq is used twice for different values. So a kill takes one poll at most: the one whose
// answer was on its way.
func TestKilledUnderLoad(t *testing.T) {
	kills := 8
	if testing.Short() {
		kills = 2
	}
	if text := os.Getenv("EDGE_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	row := faults.Open(t, "kill-gateway")
	rng := row.Random(t)
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "killed", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), "")+"bus: {wal_flush_ms: 20}\n", tables(plc.Addr, 120, "10ms"))
	for range kills {
		began := time.Now()
		gw.Start(t)
		gw.WaitReady(t)
		row.Recovered(time.Since(began))
		time.Sleep(time.Duration(200+rng.IntN(800)) * time.Millisecond) // the moment of the kill
		gw.Kill(t)
		row.Fault(1)
	}
	gw.Start(t)
	gw.WaitReady(t)
	reached := sub.LastSeq()
	peer.WaitFor(t, 30*time.Second, "delivery after the last kill", func() bool { return sub.LastSeq() > reached+1000 })
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	row.Memory(gw.Peak())
	row.Count(sub.Account(1, 0))
	for _, w := range sub.Check() {
		t.Error(w)
	}
	// A value that came back under another seq, or a lost block, would show as a
	// counter that does not go up by one from frame to frame. A kill may take the
	// poll that is under way: a jump over one value, only then, and only one per kill.
	jumps := 0
	last := map[string]uint16{}
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			v, ok := f.Value.(float64)
			if !ok || strings.HasPrefix(f.Tag, "sys.") {
				continue
			}
			now := uint16(v*10 + 0.5)
			if prev, seen := last[f.Tag]; seen && f.Tag == tag(0) && now != prev+1 {
				if now-prev != 2 {
					t.Errorf("%s goes from %d to %d: a kill takes the poll under way, and no other", f.Tag, prev, now)
				}
				jumps++
			}
			last[f.Tag] = now
		}
	}
	if jumps > kills {
		t.Errorf("%d jumps in the values of a tag after %d kills", jumps, kills)
	}
}

// TestPLCAway takes the PLC away: its tags turn bad once, the gateway goes on, and
// good values return with the PLC.
func TestPLCAway(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "plc-dead")
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "plc-away", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, 10, "50ms"))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 10*time.Second, "the first frames", func() bool { return sub.Count() >= 100 })
	plc.Stop()
	count := func(quality string, after int) int {
		n := 0
		for _, m := range sub.Messages() {
			for _, f := range m.Frames {
				if f.Quality == quality && int(f.Seq) > after {
					n++
				}
			}
		}
		return n
	}
	peer.WaitFor(t, 20*time.Second, "ten bad frames", func() bool { return count("bad", 0) >= 10 })
	if fault, ok := gw.Metric(`modbus_fault{driver_id="line"}`); !ok || fault != 1 {
		t.Errorf("modbus_fault is %v (present: %v); want 1", fault, ok)
	}
	last := int(sub.LastSeq())
	peer.StartPLC(t, plc.Addr)
	row.Fault(1)
	back := time.Now()
	peer.WaitFor(t, 30*time.Second, "good frames again", func() bool { return count("good", last) >= 100 })
	row.Recovered(time.Since(back))
	row.Memory(gw.Peak())
	row.Count(sub.Account(1, 0))
	if bad := count("bad", 0); bad != 10 {
		t.Errorf("%d bad frames; want each of the 10 tags once", bad)
	}
	for _, w := range sub.Check() {
		t.Error(w)
	}
}
