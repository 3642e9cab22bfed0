package mqtt

import (
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// checkAll fails the test unless the subscriber has got every frame, once, in
// order, in an unbroken chain.
func checkAll(t *testing.T, sub *peer.Subscriber, frames int) {
	t.Helper()
	peer.WaitFor(t, 30*time.Second, "all frames", func() bool { return sub.Count() >= frames })
	for _, w := range sub.Check() {
		t.Error(w)
	}
	if n := sub.Count(); n != frames {
		t.Errorf("%d frames arrived, want %d", n, frames)
	}
}

// Test_qos2_exactly_once is the specification's §5.8: a hundred frames in, a
// hundred frames out.
func Test_qos2_exactly_once(t *testing.T) {
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, broker.URL(), nil)
	r.start()
	r.publish(100)
	r.waitDelivered(10 * time.Second)
	checkAll(t, sub, 100)
	if took := r.stopConnector(); took > 2*time.Second {
		t.Errorf("the connector took %s to stop; want 2 s at most", took)
	}
	m := sub.Messages()[0]
	want := map[string]string{"gw": "gw-test", "epoch": r.bus.Epoch(), "first_seq": "1", "last_seq": "100", "prev_seq": "0", "config_rev": "7", "encoding": "zstd"}
	for k, v := range want {
		if m.Properties[k] != v {
			t.Errorf("property %s is %q, want %q", k, m.Properties[k], v)
		}
	}
	if m.Type != "application/json" {
		t.Errorf("content type %q", m.Type)
	}
}

// TestRestarts stops and starts connector and log between and during deliveries.
func TestRestarts(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, broker.URL(), nil)
	for range 10 {
		r.start()
		stop := make(chan struct{})
		wait := r.publishAt(20_000, stop)
		time.Sleep(150 * time.Millisecond) // let it be in full flight; nothing to wait for
		close(stop)
		wait()
		r.close()
	}
	r.start()
	r.waitDelivered(20 * time.Second)
	checkAll(t, sub, int(r.value))
}

// quiet waits until nothing more arrives.
func quiet(sub *peer.Subscriber) {
	for n := -1; n != sub.Count(); {
		n = sub.Count()
		time.Sleep(300 * time.Millisecond) // quiet for so long is quiet
	}
}

// restartBroker restarts the broker, gracefully, so that it keeps its sessions,
// behind a connection that was cut in full flight. The broker's other side is
// quiet then: after a restart Mosquitto 2.0.11 sends a message anew to a
// subscriber whose PUBCOMP it had not read.
func restartBroker(t *testing.T, broker *peer.Mosquitto, p *proxy, sub *peer.Subscriber, r *rig) {
	t.Helper()
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.cutAll()
	for quiet(sub); sub.LastSeq() < r.consumer.Acked(); {
		quiet(sub)
	}
	broker.Stop(t)
	broker.Start(t)
	p.mu.Lock()
	p.refuse = false
	p.mu.Unlock()
}

// TestBrokerRestarts restarts the broker under load.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "broker-restarts")
	restarts, rate := 5, 20_000
	if faults.Long() {
		restarts, rate = 50, 2_000
	}
	broker := peer.StartMosquitto(t)
	p := newProxy(t, broker.Addr)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, p.url(), nil)
	r.start()
	stop := make(chan struct{})
	wait := r.publishAt(rate, stop)
	for range restarts {
		time.Sleep(300 * time.Millisecond) // let it be in full flight; nothing to wait for
		restartBroker(t, broker, p, sub, r)
		row.Fault(1)
		back := time.Now()
		r.waitState("up")
		row.Recovered(time.Since(back))
	}
	close(stop)
	wait()
	r.waitDelivered(20 * time.Second)
	defer func() { row.Count(sub.Account(1, uint64(r.value))) }() // also of frames that are waited for in vain
	checkAll(t, sub, int(r.value))
	if r.conn.Status().Reconnects == 0 {
		t.Error("no reconnect was counted")
	}
}
