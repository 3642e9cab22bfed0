package mqtt

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// backlogAt counts the data that a broker has got since the first of it: messages, bytes,
// the bytes of the largest, and how long it took.
func backlogAt(b *fakebroker.Broker) (messages, bytes, largest int, took time.Duration) {
	var first time.Time
	for _, p := range b.Packets() {
		if p.Type() != packets.Publish || p.User("first_seq") == "" || p.User("stream") == "live" {
			continue
		}
		if first.IsZero() {
			first = p.At
		}
		messages, bytes, took = messages+1, bytes+len(p.Payload), p.At.Sub(first)
		largest = max(largest, len(p.Payload))
	}
	return messages, bytes, largest, took
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
			r.start()
			if cfg["live_first"] == true {
				r.waitState("up")
				time.Sleep(300 * time.Millisecond) // the backlog is under way
				began := time.Now()
				r.publish(100)
				peer.WaitFor(t, 5*time.Second, "live frames beside the backlog", func() bool {
					n := uint64(0)
					for _, p := range b.Packets() {
						if p.User("stream") == "live" {
							n++
						}
					}
					return n > 0
				})
				if took := time.Since(began); took > 900*time.Millisecond {
					t.Errorf("live frames took %s", took)
				}
			}
			time.Sleep(2500 * time.Millisecond)
			messages, bytes, largest, took := backlogAt(b)
			if cfg["version"] == "3.1.1" { // no properties: by the bytes of all
				for _, p := range b.Packets() {
					if p.Type() == packets.Publish && p.TopicName == dataTopic {
						bytes += len(p.Payload)
					}
				}
				took = 2500 * time.Millisecond
			}
			room := (took + burst).Seconds()
			t.Logf("%d messages, %d bytes in %s", messages, bytes, took)
			if c.messages > 0 && (float64(messages) > c.messages*room || float64(messages) < c.messages) {
				t.Errorf("%d messages in %s, want %v/s", messages, took, c.messages)
			}
			if c.bytes > 0 && (float64(bytes) > c.bytes*room+float64(largest) || // the last goes whole
				float64(bytes) < c.bytes) {
				t.Errorf("%d bytes in %s, want %v/s", bytes, took, c.bytes)
			}
			// Without limits the rest goes at once, on the same connection.
			delete(r.cfg, "backlog")
			if !r.conn.(connector.Updater).Update(r.cfg) {
				t.Fatal("the change was not taken over")
			}
			r.waitDelivered(20 * time.Second)
			if c.cfg["qos"] == nil && cfg["version"] == nil {
				checkOnce(t, b, int(r.value))
			}
		})
	}
}
