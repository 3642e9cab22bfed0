package s7

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peer.Cleanup()
	os.Exit(code)
}

// plant are the tables of a PLC with n words in DB 1: tag line.rNNN, in tenths of a bar.
func plant(port, n int) map[string]string {
	var vars strings.Builder
	for i := range n {
		fmt.Fprintf(&vars, "- {tag: line.r%03d, driver_id: line, access: R, address: {s7: DB1.DBW%d}, datatype: uint16, scale: value / 10, unit: bar}\n", i, 2*i)
	}
	return map[string]string{
		"endpoints.yml": fmt.Sprintf("plc: {scheme: tcp, host: 127.0.0.1, port: %d, opts: {backoff: 50ms, backoff_max: 200ms}}\n", port),
		"drivers.yml":   "line: {kind: static, endpoint_id: plc, proto: s7, cfg: {slot: 2, polling: 50ms, backoff_max: 200ms}}\n",
		"variables.yml": vars.String(),
	}
}

// latest returns the last good value of each tag.
func latest(sub *peer.Subscriber) map[string]float64 {
	got := map[string]float64{}
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			if v, ok := f.Value.(float64); ok && f.Quality == "good" {
				got[f.Tag] = v
			}
		}
	}
	return got
}

// TestGateway is the way of a hundred points from the PLC through the gateway and
// Mosquitto to a subscriber: right at first, without a gap while tables change, and
// without one lost or doubled through kill -9.
func TestGateway(t *testing.T) {
	const n = 100
	memory := make([]byte, 2*n+2)
	for i := range n + 1 {
		memory[2*i], memory[2*i+1] = byte((1000+i)>>8), byte(1000+i)
	}
	srv := serve(t, settings{Blocks: map[int]string{1: fmt.Sprintf("%x", memory)}})
	broker := peer.StartMosquitto(t)
	const topic = "/edge/acme/line-1/data"
	sub := peer.Subscribe(t, broker.Addr, "s7", topic)
	gw := peer.NewGateway(t, fmt.Sprintf("connectors:\n  mqtt: {kind: mqtt5, endpoint: %q, topic: \"/edge/{tenant}/{device}/data\", max_interval: 100ms, backoff: {base: 100ms, max: 1s}}\nbus: {wal_flush_ms: 20}\n", broker.URL()),
		plant(srv.cfg.Port, n))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, patience, "a thousand frames", func() bool { return sub.Count() >= 1000 })
	got := latest(sub)
	for i := range n {
		if tag, want := fmt.Sprintf("line.r%03d", i), float64(1000+i)/10; got[tag] != want {
			t.Errorf("%s is %v, want %v", tag, got[tag], want)
		}
	}

	clients := srv.do(map[string]any{"do": "clients"})
	more := plant(srv.cfg.Port, n+1)
	gw.WriteFile(t, "config/variables.yml", strings.Replace(more["variables.yml"], "scale: value / 10", "scale: value / 100", 1))
	peer.WaitFor(t, patience, "the new tag, and the new scale", func() bool {
		got := latest(sub)
		return got["line.r100"] == 110 && got["line.r000"] == 10
	})
	if now := srv.do(map[string]any{"do": "clients"}); clients != "1" || now != clients {
		t.Errorf("%s connections, then %s", clients, now)
	}
	if fault, ok := gw.Metric(`s7_fault{driver_id="line"}`); !ok || fault != 0 {
		t.Errorf("s7_fault is %v (present: %v); want 0", fault, ok)
	}

	gw.Kill(t)
	gw.Start(t)
	gw.WaitReady(t)
	reached := sub.LastSeq()
	peer.WaitFor(t, patience, "delivery after the kill", func() bool { return sub.LastSeq() > reached+500 })
	srv.Kill()
	peer.WaitFor(t, patience, "the fault", func() bool { fault, _ := gw.Metric(`s7_fault{driver_id="line"}`); return fault == 1 })
	srv.begin()
	reached = sub.LastSeq()
	peer.WaitFor(t, patience, "delivery after the server's return", func() bool { return sub.LastSeq() > reached+500 })
	if took, code := gw.Stop(t); code != 0 || took > 5*time.Second {
		t.Errorf("edge-gw stopped in %s with exit code %d; want within 5 s with 0", took, code)
	}
	for _, w := range sub.Check() {
		t.Error(w)
	}
}
