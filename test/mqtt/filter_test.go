package mqtt

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// TestFilter delivers some of the tags, through lost connections and changes of the
// filter: those that match once, no others, and the log is held back by none.
func TestFilter(t *testing.T) {
	for _, topic := range []string{dataTopic, "f/{tag}"} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			b := fakebroker.Start(t, fakebroker.Script{})
			r := newRig(t, b.URL(), map[string]any{"payload": "json", "topic": topic, "filter": map[string]any{"tags": []any{"line.t0*", "line.t99"}}})
			seen := func() map[string]int {
				tags := map[string]int{}
				for _, p := range b.Delivered() {
					var frames []peer.Frame
					if p.User("first_seq") == "" {
						continue
					}
					if err := json.Unmarshal(p.Payload, &frames); err != nil {
						t.Fatal(err)
					}
					for _, f := range frames {
						tags[f.Tag]++
					}
				}
				return tags
			}
			want := func(n map[string]int) {
				t.Helper()
				got := seen()
				for tag, times := range got {
					if strings.HasPrefix(tag, "sys.") {
						continue
					}
					if times != n[tag] {
						t.Errorf("%s arrived %d times, want %d", tag, times, n[tag])
					}
				}
				for tag, times := range n {
					if got[tag] != times {
						t.Errorf("%s arrived %d times, want %d", tag, got[tag], times)
					}
				}
				if _, repeats, gaps := summed(b.Ledger()); repeats != 0 || gaps != 0 {
					t.Errorf("%d repeats, %d gaps", repeats, gaps)
				}
			}
			r.start()
			r.publish(300)
			r.waitDelivered(10 * time.Second)
			expected := map[string]int{"line.t99": 3}
			for i := range 10 {
				expected["line.t0"+string(rune('0'+i))] = 3
			}
			want(expected)

			b.Change(func(s *fakebroker.Script) { // what is in flight is made again from the log
				s.On = func(p *fakebroker.Packet) fakebroker.Answer { return fakebroker.Answer{Close: data(p)} }
			})
			r.publish(100)
			r.waitState("down")
			r.stopConnector()
			r.cfg["filter"] = map[string]any{"drivers": []any{"oven*"}}
			b.Heal()
			r.start()
			r.publish(100)
			r.waitDelivered(10 * time.Second)
			for tag := range expected {
				expected[tag] = 4 // what was in flight was taken
			}
			want(expected)

			r.stopConnector()
			r.cfg["filter"] = map[string]any{"drivers": []any{"oven", "l?ne"}, "tags": []any{"line.t50"}}
			r.start()
			r.publish(200)
			r.waitDelivered(10 * time.Second)
			expected["line.t50"] = 2
			want(expected)
		})
	}
}
