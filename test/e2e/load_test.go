package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// loadPlant is simulated PLCs in this process, each with points in its holding
// registers, and a broker beside them.
type loadPlant struct {
	sims   []*plcsim.Sim
	broker *peer.Mosquitto
	points int // of each PLC
}

func newLoadPlant(tb testing.TB, n, points int) *loadPlant {
	tb.Helper()
	layout := make(plcsim.Layout, points)
	for i := range layout {
		layout[i] = plcsim.Signal{Motion: plcsim.Walk, Table: plcsim.Holding, Addr: uint16(i), Type: config.TypeUint16, Max: 1000}
	}
	p := &loadPlant{broker: peer.StartMosquitto(tb), points: points}
	for range n {
		sim, err := plcsim.New(plcsim.Config{Layout: layout, Step: time.Second})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = sim.Close() }) // the process ends anyway
		p.sims = append(p.sims, sim)
	}
	return p
}

// load is the gateway that polls a plant.
type load struct {
	*loadPlant
	gw *peer.Gateway
}

// newLoad makes a plant of n PLCs with points registers each, polled at interval.
func newLoad(tb testing.TB, n, points int, interval time.Duration, extra string) *load {
	tb.Helper()
	return newLoadPlant(tb, n, points).poll(tb, interval, extra)
}

// poll starts a gateway that reads every register at interval.
func (p *loadPlant) poll(tb testing.TB, interval time.Duration, extra string) *load {
	tb.Helper()
	return p.pollWith(tb, interval, extra, func(*peer.Gateway) {})
}

// pollWith is poll by a gateway that is made ready before it starts.
func (p *loadPlant) pollWith(tb testing.TB, interval time.Duration, extra string, ready func(*peer.Gateway)) *load {
	tb.Helper()
	var endpoints, drivers, variables strings.Builder
	for i, sim := range p.sims {
		host, port, _ := strings.Cut(sim.Addr(), ":")
		fmt.Fprintf(&endpoints, "plc%d:\n  scheme: tcp\n  host: %s\n  port: %s\n", i, host, port)
		fmt.Fprintf(&drivers, "plc%d:\n  kind: static\n  endpoint_id: plc%d\n  proto: modbus\n  cfg: {unit_id: 1, polling: %s, max_regs_per_req: 120}\n", i, i, interval)
		for r := range p.points {
			fmt.Fprintf(&variables, "- {tag: plc%d.r%04d, driver_id: plc%d, access: R, address: {type: holding, addr: %d}, datatype: uint16, scale: value / 10}\n", i, r, i, 40001+r)
		}
	}
	gw := peer.NewGateway(tb, connector(p.broker.URL(), "")+extra, map[string]string{
		"endpoints.yml": endpoints.String(), "drivers.yml": drivers.String(), "variables.yml": variables.String(),
	})
	ready(gw)
	gw.Start(tb)
	gw.WaitReady(tb)
	return &load{p, gw}
}

func (l *load) published(tb testing.TB) float64 {
	tb.Helper()
	n, ok := l.gw.Metric(`framebus_publish_total{kind="data"}`)
	if !ok {
		tb.Fatalf("no framebus_publish_total:\n%s", l.gw.Output())
	}
	return n
}

// TestSoak runs 5,000 points a second for EDGE_SOAK (five seconds by default):
// every request of the PLCs is answered well, every frame arrives once, and, in a
// run of a minute or more, goroutines, memory, descriptors and disk don't grow.
func TestSoak(t *testing.T) {
	period := 5 * time.Second
	if text := os.Getenv("EDGE_SOAK"); text != "" {
		var err error
		if period, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	l := newLoad(t, 5, 100, 100*time.Millisecond, "bus: {retain: 10s}\n")
	sub := peer.Subscribe(t, l.broker.Addr, "soak", topic)
	time.Sleep(period / 5) // warming up
	warm, _ := l.gw.Proc().Memory(t)
	rate := 0.0
	for try := 0; try < 3 && rate < 4500; try++ { // another process may take the machine's time
		began, before := time.Now(), l.published(t)
		watchGrowth(t, period*4/5, growing(t, l.gw))
		rate = (l.published(t) - before) / time.Since(began).Seconds()
	}
	rss, anon := l.gw.Proc().Memory(t)
	t.Logf("%.0f frames/s, RSS %.1f MiB (%.1f MiB after warming up), anonymous %.1f MiB", rate, rss, warm, anon)
	if rate < 4500 {
		t.Errorf("%.0f frames/s; want 5,000", rate)
	}
	if period >= time.Minute && rss > warm*1.25 {
		t.Errorf("memory grew from %.1f to %.1f MiB", warm, rss)
	}
	for i := range 5 {
		for _, result := range []string{"ok", "err", "timeout", "exception"} {
			sample := fmt.Sprintf(`modbus_pdu_total{driver_id="plc%d",func="0x03",result="%s"}`, i, result)
			if n, _ := l.gw.Metric(sample); (result == "ok") != (n > 0) {
				t.Errorf("%s is %v", sample, n)
			}
		}
	}
	if _, code := l.gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, w := range sub.CheckFrom(sub.FirstSeq()) {
		t.Error(w)
	}
}
