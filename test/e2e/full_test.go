package e2e

import (
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestBackPressure keeps the broker away until the ring is full, with the policy
// that pauses then: polling stops, and when the broker comes back all that was
// accepted arrives and polling goes on. (A full log pauses in the same way; that it
// does is held in package bus.)
func TestBackPressure(t *testing.T) {
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "pressure", topic)
	broker.Stop(t)
	gw := peer.NewGateway(t, connector(broker.URL(), "")+"bus: {overflow: pause, ring_pow: 14}\n", tables(plc.Addr, 500, "10ms"))
	gw.Start(t)
	paused := func() bool {
		n, ok := gw.Metric(`driver_state{driver_id="line",state="paused"}`)
		return ok && n == 1
	}
	peer.WaitFor(t, 60*time.Second, "the drivers to be paused", paused)
	polled := len(plc.Served(0))
	time.Sleep(2 * time.Second) // in which nothing must be polled
	if more := len(plc.Served(0)) - polled; more > 1 {
		t.Errorf("%d polls while the ring is full", more)
	}
	broker.Start(t)
	peer.WaitFor(t, 60*time.Second, "polling to go on", func() bool { return !paused() && len(plc.Served(0)) > polled+10 })
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	peer.WaitFor(t, 30*time.Second, "the backlog", func() bool { return sub.Count() >= polled*500 })
	for _, w := range sub.Check() {
		t.Error(w)
	}
	if drops, ok := gw.Metric(`framebus_drop_total{reason="ring_full"}`); ok && drops != 0 {
		t.Errorf("%v frames were dropped", drops)
	}
}
