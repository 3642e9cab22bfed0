package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

type replayed struct {
	Replay, Topic string
	Frames        int
}

type places struct {
	FirstSeq  uint64 `json:"first_seq"`
	LastSeq   uint64 `json:"last_seq"`
	Consumers []struct {
		Name   string
		AckSeq uint64 `json:"ack_seq"`
	}
}

// TestReplayThroughConnector sends a part of the log to the broker once more: through
// the gateway, and with the gateway stopped through the connector that its
// gateway.yml describes. Neither touches what is delivered live.
func TestReplayThroughConnector(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	live := peer.Subscribe(t, broker.Addr, "live", topic)
	again := peer.Subscribe(t, broker.Addr, "again", topic+"/replay/#")
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, 5, "50ms"))
	replay := func(from, to int, want string) {
		t.Helper()
		before := len(again.Messages())
		r := decode[replayed](t, "edge-bus", "replay", "--from", fmt.Sprint(from), "--to", fmt.Sprint(to), "--target", "mqtt",
			"--config", filepath.Join(gw.Dir, "gateway.yml"))
		if r.Frames != to-from+1 || r.Topic != topic+"/replay/"+r.Replay {
			t.Errorf("%s: %+v", want, r)
		}
		next := uint64(from)
		peer.WaitFor(t, 10*time.Second, want, func() bool {
			next = uint64(from)
			for _, m := range again.Messages()[before:] {
				if m.Topic != r.Topic || m.Properties["replay"] != r.Replay || m.Properties["gw"] != "gw-test" {
					t.Fatalf("%s: message on %s with %v", want, m.Topic, m.Properties)
				}
				for _, f := range m.Frames {
					if f.Seq != next {
						t.Fatalf("%s: frame %d, expected %d", want, f.Seq, next)
					}
					next++
				}
			}
			return next == uint64(to)+1
		})
	}
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 10*time.Second, "frames", func() bool { return live.Count() >= 100 })
	replay(11, 60, "through the gateway")
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	look := func() places {
		return decode[places](t, "edge-bus", "--wal-dir", filepath.Join(gw.Dir, "data", "log"), "stats")
	}
	before := look()
	replay(21, 90, "with the gateway stopped")
	if after := look(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("before the replay %+v, after it %+v", before, after)
	}
	if out := run(t, "edge-bus", "replay", "--from", "1", "--to", "2", "-o", "json", "--config", filepath.Join(gw.Dir, "gateway.yml")); strings.Count(out, "\n") != 2 {
		t.Errorf("--config finds the log of the stopped gateway: %s", out)
	}
	gw.Start(t)
	gw.WaitReady(t)
	seen := live.Count()
	peer.WaitFor(t, 10*time.Second, "more frames", func() bool { return live.Count() >= seen+50 })
	if faults := live.Check(); len(faults) > 0 {
		t.Errorf("live: %v", faults)
	}
}
