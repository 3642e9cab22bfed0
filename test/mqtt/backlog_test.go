package mqtt

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// backlogAt counts the data of the backlog that a broker has got: messages, bytes, the
// bytes of the largest, and when the last came. Version 3.1.1 has no properties: there,
// all counts.
func backlogAt(b *fakebroker.Broker, old bool) (messages, bytes, largest int, last time.Time) {
	for _, p := range b.Packets() {
		if p.Type() != packets.Publish || p.User("stream") == "live" || p.User("first_seq") == "" && (!old || p.TopicName != dataTopic) {
			continue
		}
		messages, bytes, last = messages+1, bytes+len(p.Payload), p.At
		largest = max(largest, len(p.Payload))
	}
	return messages, bytes, largest, last
}

// TestBacklogLimits has frames wait for a broker: it gets no more of them in a second
// than the limits say, each once, and new frames go beside them with live_first.
func TestBacklogLimits(t *testing.T) {
	const burst = 1200 * time.Millisecond // a portion takes a second of the limit, and may be written late
	cases := []struct {
		name            string
		cfg             map[string]any
		messages, bytes float64 // in a second
	}{
		{"messages", map[string]any{"backlog": map[string]any{"max_messages": "20/s"}, "max_bytes": 2048}, 20, 0},
		{"messages, a topic for each tag", map[string]any{"backlog": map[string]any{"max_messages": "100/s"}, "topic": "x/{tag}"}, 100, 0},
		{"bytes", map[string]any{"backlog": map[string]any{"max_rate": "40K/s"}, "qos": 1}, 0, 40 << 10},
		{"bytes, compressed", map[string]any{"backlog": map[string]any{"max_rate": "240K/m"}, "payload": "json+zstd"}, 0, 4 << 10},
		{"bytes, in an envelope", map[string]any{"backlog": map[string]any{"max_rate": "4K/s"}, "payload": "json+zstd", "version": "3.1.1"}, 0, 4 << 10},
		{"live first", map[string]any{"backlog": map[string]any{"max_rate": "40K/s"}, "live_first": true}, 0, 40 << 10},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := fakebroker.Start(t, fakebroker.Script{})
			cfg := map[string]any{"payload": "json"}
			for k, v := range c.cfg {
				cfg[k] = v
			}
			r := newRig(t, b.URL(), cfg)
			r.openBus()
			const waiting = 20_000
			r.publish(waiting)
			began := time.Now() // the broker may read the first message late, so its time says nothing
			r.start()
			r.waitState("up")
			if cfg["live_first"] == true {
				time.Sleep(300 * time.Millisecond) // the backlog is under way
				quickest := time.Hour
				for try := 0; try < 5 && quickest > 900*time.Millisecond; try++ { // one may be held up by another process
					quickest = min(quickest, liveAfter(t, r, b))
				}
				if quickest > 900*time.Millisecond {
					t.Errorf("live frames took %s", quickest)
				}
			}
			time.Sleep(2500 * time.Millisecond)
			old := cfg["version"] == "3.1.1"
			peer.WaitFor(t, 20*time.Second, "what the limit allows in a second", func() bool {
				messages, bytes, _, _ := backlogAt(b, old)
				return float64(messages) >= c.messages && float64(bytes) >= c.bytes
			})
			messages, bytes, largest, last := backlogAt(b, old)
			took := last.Sub(began)
			room := (took + burst).Seconds()
			t.Logf("%d messages, %d bytes in %s", messages, bytes, took)
			if c.messages > 0 && float64(messages) > c.messages*room {
				t.Errorf("%d messages in %s, want %v/s", messages, took, c.messages)
			}
			if c.bytes > 0 && float64(bytes) > c.bytes*room+float64(largest) { // the last goes whole
				t.Errorf("%d bytes in %s, want %v/s", bytes, took, c.bytes)
			}
			// Without limits the rest goes at once, on the same connection.
			delete(r.cfg, "backlog")
			if !r.conn.(connector.Updater).Update(r.cfg) {
				t.Fatal("the change was not taken over")
			}
			r.waitDelivered(time.Minute)
			if c.cfg["qos"] == nil && cfg["version"] == nil {
				checkOnce(t, b, int(r.value))
			}
		})
	}
}

// liveAfter publishes frames and returns how long it took until the broker had a message
// of them, whatever waits.
func liveAfter(t *testing.T, r *rig, b *fakebroker.Broker) time.Duration {
	t.Helper()
	live := func() (n int) {
		for _, p := range b.Packets() {
			if p.User("stream") == "live" {
				n++
			}
		}
		return n
	}
	before, began := live(), time.Now()
	r.publish(100)
	peer.WaitFor(t, 10*time.Second, "live frames beside the backlog", func() bool { return live() > before })
	return time.Since(began)
}
