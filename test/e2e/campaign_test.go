package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// setting returns a duration from the environment.
func setting(t *testing.T, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// campaignPLCs is how many PLCs of a thousand registers are polled each 100 ms:
// EDGE_LOAD_PLCS, ten by default, which is 100,000 points a second.
func campaignPLCs(t *testing.T) int {
	t.Helper()
	text := os.Getenv("EDGE_LOAD_PLCS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("EDGE_LOAD_PLCS: %v", err)
	}
	return n
}

// TestCampaign has simulated PLCs, gateway and Mosquitto at full load on one
// machine for EDGE_LOAD (two seconds by default). What arrives is recorded as
// it is and verified afterwards: every frame once, in order. The rate that was
// reached is reported; it is no reason to fail.
func TestCampaign(t *testing.T) {
	period, plcs := setting(t, "EDGE_LOAD", 2*time.Second), campaignPLCs(t)
	p := newLoadPlant(t, plcs, 1000)
	rec := peer.Record(t, p.broker.Addr, "campaign", topic)
	l := p.poll(t, 100*time.Millisecond, "")
	time.Sleep(min(period/3, 5*time.Second)) // warming up
	warm, _ := l.gw.Proc().Memory(t)
	began, frames, cpu := time.Now(), l.published(t), l.gw.Proc().CPU(t)
	time.Sleep(period) // the measurement
	took := time.Since(began).Seconds()
	frames, cpu = l.published(t)-frames, l.gw.Proc().CPU(t)-cpu
	rss, anon := l.gw.Proc().Memory(t)
	lag, _ := l.gw.Metric(`framebus_backlog_lag{consumer="mqtt"}`)
	t.Logf("wanted %d frames/s, reached %.0f for %.0f s; CPU %.2f µs per frame; not delivered at the end: %.0f; RSS %.0f MiB (%.0f after warming up), anonymous %.0f MiB",
		plcs*10_000, frames/took, took, cpu.Seconds()*1e6/frames, lag, rss, warm, anon)
	r := l.finish(t, rec, nil)
	t.Logf("%d frames in %d messages, %.1f bytes per frame", r.Frames, rec.Messages(), float64(r.Bytes)/float64(r.Frames))
	if r.Late > 0 {
		t.Errorf("%d messages came after a later one", r.Late)
	}
}

// finish ends the polling, has the backlog delivered, stops the gateway and
// verifies what was recorded: every frame of the log, each once.
func (l *load) finish(t *testing.T, rec *peer.Recorder, each func(peer.Arrival)) peer.Recording {
	t.Helper()
	for _, sim := range l.sims {
		if err := sim.Close(); err != nil {
			t.Errorf("close a PLC: %v", err)
		}
	}
	published := uint64(l.published(t))
	for quiet := 0; quiet < 3; quiet++ { // the tags turn bad, once, and then nothing more comes
		time.Sleep(500 * time.Millisecond)
		if now := uint64(l.published(t)); now != published {
			published, quiet = now, 0
		}
	}
	peer.WaitFor(t, 5*time.Minute, "the backlog to be delivered", func() bool {
		lag, ok := l.gw.Metric(`framebus_backlog_lag{consumer="mqtt"}`)
		return ok && lag == 0
	})
	if _, code := l.gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	peer.WaitFor(t, time.Minute, "the subscriber to have everything", func() bool { return rec.LastSeq() >= published })
	for n := uint64(0); n != rec.Messages(); time.Sleep(time.Second) { // quiet for so long is quiet
		n = rec.Messages()
	}
	r := rec.Verify(each)
	if r.First != 1 || r.Missing > 0 || r.Repeats > 0 || r.Frames < published {
		t.Errorf("recorded %+v, published %d: want every frame once", r, published)
	}
	return r
}

// TestHourAway is an hour without a broker at 5,000 frames a second in a
// compressed form: the frames come at 200,000 a second for EDGE_AWAY (four seconds
// by default; ninety for all eighteen million). Memory stays flat meanwhile. When
// the broker is back, fresh frames do not wait behind the others, and all of both
// arrive once.
func TestHourAway(t *testing.T) {
	away := setting(t, "EDGE_AWAY", 4*time.Second)
	row := faults.Open(t, "broker-hour")
	p := newLoadPlant(t, 20, 1000)
	rec := peer.Record(t, p.broker.Addr, "away", topic)
	l := p.poll(t, 100*time.Millisecond, "    live_first: true\nbus: {wal_max_bytes: 8G}\n")
	peer.WaitFor(t, 20*time.Second, "the first frames", func() bool { return rec.Messages() > 3 })
	p.broker.Stop(t)
	time.Sleep(away / 4)
	early, _ := l.gw.Proc().Memory(t)
	time.Sleep(away * 3 / 4)
	late, _ := l.gw.Proc().Memory(t)
	backlog, _ := l.gw.Metric(`framebus_backlog_lag{consumer="mqtt"}`)
	// What remains is a plant of the size that the hour was meant for.
	for _, sim := range l.sims[2:] {
		if err := sim.Close(); err != nil {
			t.Errorf("close a PLC: %v", err)
		}
	}
	p.broker.Start(t)
	back := time.Now()
	highest := 0.0
	peer.WaitFor(t, 10*time.Minute, "the backlog to be delivered", func() bool {
		rss, _ := l.gw.Proc().Memory(t)
		highest = max(highest, rss)
		lag, ok := l.gw.Metric(`framebus_backlog_lag{consumer="mqtt"}`)
		return ok && lag < 50_000
	})
	took := time.Since(back)
	row.Fault(1)
	row.Recovered(took)
	row.Memory(highest)
	t.Logf("backlog of %.0f frames delivered in %s, %.0f frames/s; RSS %.0f MiB early on, %.0f MiB when the broker came back, %.0f MiB at most after that",
		backlog, took.Round(time.Millisecond), backlog/took.Seconds(), early, late, highest)
	if away >= time.Minute && late > early*1.25 {
		t.Errorf("memory grew from %.0f to %.0f MiB while the broker was away", early, late)
	}

	var fresh, done time.Time // when the first fresh frames came, and the last of the backlog
	r := l.finish(t, rec, func(a peer.Arrival) {
		switch {
		case a.Received.Before(back):
		case a.Stream == "backlog":
			done = a.Received
		case fresh.IsZero() && a.Received.Sub(a.Newest) < 2*time.Second:
			fresh = a.Received
		}
	})
	row.Count(r.Frames+r.Missing, r.Missing, r.Repeats)
	t.Logf("%d frames; fresh ones %s after the broker came back, the last of the backlog after %s", r.Frames, fresh.Sub(back), done.Sub(back))
	if fresh.IsZero() || done.IsZero() || !fresh.Before(done) {
		t.Errorf("fresh frames came at %s, the last of the backlog at %s", fresh, done)
	}
}
