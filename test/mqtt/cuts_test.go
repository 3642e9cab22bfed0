package mqtt

import (
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestCuts cuts the connection at every border of the handshake of QoS 2, again
// and again under load: the subscriber gets each frame once, in order.
func TestCuts(t *testing.T) {
	broker := peer.StartMosquitto(t)
	for _, kind := range []byte{connack, publish, pubrec, pubrel, pubcomp} {
		for _, after := range []bool{false, true} {
			m := moment{kind, after}
			t.Run(m.String(), func(t *testing.T) {
				t.Parallel()
				name := t.Name()
				p := newProxy(t, broker.Addr)
				r := newRig(t, p.url(), map[string]any{"client_id": name, "topic": name, "max_interval": "5ms"})
				sub := peer.Subscribe(t, broker.Addr, name+"-sub", name)
				r.start()
				r.waitState("up")
				every := 5
				if kind == connack {
					every = 2 // it comes once per connection
					r.conn.Reconnect()
				}
				p.cutAt(m, every)
				stop := make(chan struct{})
				wait := r.publishAt(5_000, stop)
				for i := 0; i < 8 || p.wasCut() < 3 && i < 200; i++ {
					time.Sleep(150 * time.Millisecond) // let it be in full flight; nothing to wait for
					if kind == connack {
						r.conn.Reconnect()
					}
				}
				close(stop)
				wait()
				if n := p.heal(); n < 3 {
					t.Errorf("only %d connections were cut", n)
				}
				r.waitDelivered(20 * time.Second)
				checkAll(t, sub, int(r.value))
				t.Logf("%d cuts, %d frames, %+v", p.heal(), r.value, r.conn.Status())
			})
		}
	}
}

// TestRandomCuts cuts at random borders, and both sides restart meanwhile.
func TestRandomCuts(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "broker-cuts")
	rounds := 6
	if testing.Short() {
		rounds = 2
	} else if faults.Long() {
		rounds = 60
	}
	broker := peer.StartMosquitto(t)
	p := newProxy(t, broker.Addr)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, p.url(), map[string]any{"max_interval": "5ms"})
	rnd := row.Random(t)
	p.plan(func(kind byte) (bool, bool) {
		return packetNames[kind] != "" && rnd.IntN(40) == 0, rnd.IntN(2) == 0
	})
	for i := range rounds {
		r.start()
		stop := make(chan struct{})
		wait := r.publishAt(20_000, stop)
		time.Sleep(500 * time.Millisecond) // let it be in full flight; nothing to wait for
		peer.WaitFor(t, 30*time.Second, "a cut in each round", func() bool { return p.wasCut() > i })
		if i%2 == 1 {
			restartBroker(t, broker, p, sub, r)
		}
		close(stop)
		wait()
		r.close()
	}
	cuts := p.heal()
	r.start()
	r.waitDelivered(30 * time.Second)
	row.Fault(cuts + rounds/2)
	defer func() { row.Count(sub.Account(1, uint64(r.value))) }() // also of frames that are waited for in vain
	checkAll(t, sub, int(r.value))
	if cuts < rounds {
		t.Errorf("only %d connections were cut", cuts)
	}
}
