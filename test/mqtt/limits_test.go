package mqtt

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// flight brings messages of several hundred frames in flight and holds them there:
// the broker has them and its answers are lost, or it has not got them.
func flight(t *testing.T, cfg map[string]any, received bool) (*peer.Mosquitto, *peer.Subscriber, *proxy, *rig) {
	t.Helper()
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	p := newProxy(t, broker.Addr)
	all := map[string]any{"payload": "json"}
	for k, v := range cfg {
		all[k] = v
	}
	r := newRig(t, p.url(), all)
	r.start()
	r.publish(100)
	r.waitDelivered(10 * time.Second)
	p.holdBack(received)
	r.publish(2000)
	peer.WaitFor(t, 10*time.Second, "the cut", p.refuses)
	return broker, sub, p, r
}

// TestBrokerTakesLess restarts the broker with a smaller Maximum Packet Size than
// the messages in flight need: they arrive in pieces, each frame once.
func TestBrokerTakesLess(t *testing.T) {
	t.Parallel()
	for name, received := range map[string]bool{"not received": false, "received": true} {
		t.Run(name, func(t *testing.T) {
			broker, sub, p, r := flight(t, nil, received)
			time.Sleep(300 * time.Millisecond) // what the broker has got is in its hands
			broker.Stop(t)
			broker.Configure(t, "max_packet_size 4000")
			broker.Start(t)
			p.heal()
			r.publish(500)
			r.waitDelivered(20 * time.Second)
			checkAll(t, sub, 2600)
			if len(sub.Messages()) < 50 {
				t.Errorf("%d messages; 2,500 frames of 90 bytes cannot fit into packets of 4,000", len(sub.Messages()))
			}
		})
	}
}

// TestBrokerTakesLowerQoS has the broker come back with QoS 1 at most: the fault
// says what to do, and when it is done, everything arrives.
func TestBrokerTakesLowerQoS(t *testing.T) {
	broker, sub, p, r := flight(t, nil, true)
	broker.Stop(t)
	broker.Start(t)
	p.mu.Lock()
	p.rewrite = maximumQoS1(t)
	p.cut, p.refuse = nil, false
	p.mu.Unlock()
	r.waitState("fault")
	if s := r.conn.Status(); !strings.Contains(s.Error, "lower qos") {
		t.Errorf("status: %+v", s)
	}
	r.stopConnector()
	r.cfg["qos"] = 1
	r.start()
	r.publish(100)
	r.waitDelivered(20 * time.Second)
	peer.WaitFor(t, 10*time.Second, "2,200 different frames", func() bool {
		seen := map[uint64]bool{}
		for _, m := range sub.Messages() {
			for _, f := range m.Frames {
				seen[f.Seq] = true
			}
		}
		return len(seen) == 2200
	})
}

// maximumQoS1 puts Maximum QoS 1 into CONNACKs, and makes sure that the client
// keeps to it.
func maximumQoS1(t *testing.T) func(packet []byte) []byte {
	return func(packet []byte) []byte {
		if packet[0]>>4 != connack {
			return packet
		}
		cp, err := packets.ReadPacket(strings.NewReader(string(packet)))
		if err != nil {
			t.Errorf("CONNACK: %v", err)
			return packet
		}
		one := byte(1)
		cp.Content.(*packets.Connack).Properties.MaximumQOS = &one
		var out strings.Builder
		if _, err := cp.WriteTo(&out); err != nil {
			t.Errorf("CONNACK: %v", err)
		}
		return []byte(out.String())
	}
}

// TestTakenOver has two gateways with one client id: both are told, neither loses
// a frame, and they do not fight at full speed.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	addr, _ := startMochi(t) // which says why it ends a connection
	ledger := follow(t, addr, "over/#")
	cfg := func(topic string) map[string]any {
		return map[string]any{"client_id": "same", "topic": topic, "backoff": map[string]any{"base": "50ms", "max": "2s"}}
	}
	a, b := newRig(t, "mqtt://"+addr, cfg("over/a")), newRig(t, "mqtt://"+addr, cfg("over/b"))
	a.start()
	a.waitState("up")
	b.start()
	stop := make(chan struct{})
	waitA, waitB := a.publishAt(2000, stop), b.publishAt(2000, stop)
	quiet := sync.OnceFunc(func() { close(stop); waitA(); waitB() })
	t.Cleanup(quiet)
	for _, r := range []*rig{a, b} {
		peer.WaitFor(t, 10*time.Second, "both to be told", func() bool { return strings.Contains(r.conn.Status().Error, "client_id") })
	}
	time.Sleep(3 * time.Second) // in which they would connect sixty times each at 50 ms
	quiet()
	if n := a.conn.Status().Reconnects + b.conn.Status().Reconnects; n > 24 {
		t.Errorf("%d reconnects in three seconds", n)
	}
	b.stopConnector() // somebody has found it
	a.waitDelivered(20 * time.Second)
	peer.WaitFor(t, 5*time.Second, "the warning to stand while it is up", func() bool {
		s := a.conn.Status()
		return s.State == "up" && strings.Contains(s.Error, "second gateway")
	})
	a.stopConnector()
	b.start()
	b.waitDelivered(20 * time.Second)
	peer.WaitFor(t, 10*time.Second, "all frames", func() bool {
		n := uint64(0)
		for _, g := range ledger.Report().Gateways {
			n += g.Frames
		}
		return n == uint64(a.value+b.value)
	})
	for _, g := range ledger.Report().Gateways {
		if len(g.Gaps) > 0 {
			t.Errorf("%s: gaps %v", g.Epoch, g.Gaps)
		}
	}
}

// TestFirstSession begins sessions at a broker that forgets one only after it has
// closed the connection: none is mistaken for another client's.
func TestFirstSession(t *testing.T) {
	addr, _ := startMochi(t)
	for i := range 20 {
		r := newRig(t, "mqtt://"+addr, map[string]any{"client_id": fmt.Sprintf("first-%d", i), "backoff": map[string]any{"base": "5m", "max": "5m"}})
		r.start()
		r.waitState("up") // at the first attempt: the second comes later than is waited for
		if s := r.conn.Status(); s.Error != "" {
			t.Errorf("session %d: %s", i, s.Error)
		}
		r.stopConnector()
	}
}

// TestTakenOverSilently is the same with a broker that does not say why.
func TestTakenOverSilently(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	cfg := map[string]any{"client_id": "same", "backoff": map[string]any{"base": "100ms", "max": "2s"}}
	a, b := newRig(t, broker.URL(), cfg), newRig(t, broker.URL(), cfg)
	a.start()
	b.start()
	for _, r := range []*rig{a, b} {
		peer.WaitFor(t, 10*time.Second, "the suspicion to be told", func() bool { return strings.Contains(r.conn.Status().Error, "second gateway") })
	}
	before := a.conn.Status().Reconnects + b.conn.Status().Reconnects
	time.Sleep(2 * time.Second) // in which they would connect some forty times at 100 ms
	if n := a.conn.Status().Reconnects + b.conn.Status().Reconnects - before; n > 25 {
		t.Errorf("%d reconnects in two seconds", n)
	}
}

// TestStopWhileBlocked stops a connector whose broker takes nothing any more.
func TestStopWhileBlocked(t *testing.T) {
	broker := peer.StartMosquitto(t)
	p := newProxy(t, broker.Addr)
	r := newRig(t, p.url(), map[string]any{"payload": "json"})
	r.start()
	r.publish(100)
	r.waitDelivered(10 * time.Second)
	p.mu.Lock()
	p.stall = true
	p.mu.Unlock()
	r.publish(200_000)                                   // 20 MB: more than all buffers on the way hold
	time.Sleep(500 * time.Millisecond)                   // until the write blocks; nothing tells
	if took := r.stopConnector(); took > 3*time.Second { // a second for a loaded machine
		t.Errorf("the connector took %s to stop; want 2 s at most", took)
	}
}
