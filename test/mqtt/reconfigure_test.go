package mqtt

import (
	"os"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/receiver"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// arrived sums up what a ledger has.
func arrived(l *receiver.Ledger) (frames, repeats uint64, gaps int) { return summed(l.Report()) }

func summed(r receiver.Report) (frames, repeats uint64, gaps int) {
	for _, g := range r.Gateways {
		frames, repeats, gaps = frames+g.Frames, repeats+g.Repeats, gaps+len(g.Gaps)
	}
	return frames, repeats, gaps
}

// TestReconfigured changes the configuration, or the broker, while messages are in
// flight that the broker has or has not got. Every frame arrives, and unless the
// session is given up with it, once.
func TestReconfigured(t *testing.T) {
	cases := []struct {
		name    string
		cfg     map[string]any
		broker  []string // lines of its configuration
		wait    time.Duration
		repeats bool // may come
	}{
		{name: "payload", cfg: map[string]any{"payload": "protobuf"}},
		{name: "topic", cfg: map[string]any{"topic": "re/other/{driver}"}},
		{name: "topic per tag", cfg: map[string]any{"topic": "re/{tag}"}},
		{name: "qos", cfg: map[string]any{"qos": 1}},
		{name: "small messages", cfg: map[string]any{"max_bytes": 1024, "max_frames": 1}},
		{name: "live first", cfg: map[string]any{"live_first": true}},
		{name: "receive maximum 1", broker: []string{"max_inflight_messages 1"}},
		{name: "another way to the broker", cfg: map[string]any{"endpoint": ""}}, // filled in below
		{name: "client id", cfg: map[string]any{"client_id": "other"}, repeats: true},
		{name: "session expired", wait: 1500 * time.Millisecond, repeats: true},
	}
	for _, c := range cases {
		for _, received := range []bool{false, true} {
			name := c.name + ", not received"
			if received {
				name = c.name + ", received"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				broker := peer.StartMosquitto(t)
				ledger := follow(t, broker.Addr, "re/#")
				p := newProxy(t, broker.Addr)
				r := newRig(t, p.url(), map[string]any{"topic": "re/data", "session_expiry": "1h"})
				if c.wait > 0 {
					r.cfg["session_expiry"] = "1s"
				}
				r.start()
				r.publish(100)
				r.waitDelivered(10 * time.Second)
				p.holdBack(received)
				r.publish(3000)
				peer.WaitFor(t, 10*time.Second, "the cut", p.refuses)
				r.stopConnector()
				for k, v := range c.cfg {
					r.cfg[k] = v
				}
				if _, ok := c.cfg["endpoint"]; ok {
					r.cfg["endpoint"] = broker.URL()
				}
				if c.broker != nil {
					broker.Stop(t)
					broker.Configure(t, c.broker...)
					broker.Start(t)
				}
				time.Sleep(c.wait) // until the broker gives the session up
				p.heal()
				r.start()
				r.publish(500)
				r.waitDelivered(20 * time.Second)
				peer.WaitFor(t, 10*time.Second, "all frames", func() bool { n, _, _ := arrived(ledger); return n >= 3600 })
				frames, repeats, gaps := arrived(ledger)
				if frames != 3600 || gaps > 0 || repeats > 0 && !c.repeats {
					t.Errorf("%d frames, %d repeats, %d gaps: %+v", frames, repeats, gaps, ledger.Report())
				}
			})
		}
	}
}

// holdBack ends every connection from now on when a message comes: before the
// broker has it, or when it has answered.
func (p *proxy) holdBack(received bool) {
	p.plan(func(kind byte) (bool, bool) {
		if kind == pubrec || kind == publish && !received {
			p.refuse = true // the plan is called under the lock
			return true, false
		}
		return false, false
	})
}

func (p *proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse
}

// TestBrokerFromBackup restores the broker from an older copy of its database: it
// holds exchanges that ended long ago, and has forgotten others. What is sent after
// that arrives; what the copy had not got, the gateway cannot know.
func TestBrokerFromBackup(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	p := newProxy(t, broker.Addr)
	r := newRig(t, p.url(), nil)
	r.start()
	r.publish(100)
	r.waitDelivered(10 * time.Second)
	p.holdBack(true) // the copy holds a message that is open
	r.publish(200)
	peer.WaitFor(t, 10*time.Second, "the cut", p.refuses)
	broker.Stop(t)
	old, err := os.ReadFile(broker.Database())
	if err != nil {
		t.Fatal(err)
	}
	broker.Start(t)
	p.heal()
	for range 20 {
		r.publish(100)
		r.waitDelivered(10 * time.Second)
	}
	quiet(sub)
	broker.Stop(t)
	if err := os.WriteFile(broker.Database(), old, 0o600); err != nil {
		t.Fatal(err)
	}
	broker.Start(t)
	for range 20 {
		r.publish(100)
		r.waitDelivered(20 * time.Second)
	}
	seen := map[uint64]bool{}
	peer.WaitFor(t, 10*time.Second, "every frame", func() bool {
		for _, m := range sub.Messages() {
			for _, f := range m.Frames {
				seen[f.Seq] = true
			}
		}
		return len(seen) == int(r.value)
	})
}
