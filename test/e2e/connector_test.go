package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/receiver"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestConnectorCommands runs what edge-ctl can do with a connector against a
// gateway and a broker, and looks at the metrics.
func TestConnectorCommands(t *testing.T) {
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, 20, "50ms"))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 10*time.Second, "frames", func() bool { return sub.Count() > 100 })
	ctl := func(what string) string {
		return run(t, "edge-ctl", "--socket", gw.Socket(), "connector", "mqtt", what)
	}

	stats := ctl("stats")
	for _, want := range []string{"out_bytes", "batch_frames", "inflight", "rtt_ms"} {
		if !strings.Contains(stats, want) {
			t.Errorf("stats without %s:\n%s", want, stats)
		}
	}
	steps := ctl("test")
	for _, want := range []string{"name", "tcp", "connect", "publish data", "publish status"} {
		if !strings.Contains(steps, want) {
			t.Errorf("test without the step %q:\n%s", want, steps)
		}
	}
	ctl("pause")
	peer.WaitFor(t, 10*time.Second, "delivery to pause", func() bool {
		n := sub.Count()
		time.Sleep(400 * time.Millisecond) // four times max_interval
		return sub.Count() == n
	})
	n := sub.Count()
	ctl("resume")
	peer.WaitFor(t, 10*time.Second, "delivery to go on", func() bool { return sub.Count() > n })
	ctl("reconnect")
	peer.WaitFor(t, 10*time.Second, "another connection", func() bool {
		retries, ok := gw.Metric("mqtt_retry_total")
		up, _ := gw.Metric(`mqtt_up{connector="mqtt"}`)
		return ok && retries == 1 && up == 1
	})
	for _, name := range []string{"mqtt_out_bytes_total", "mqtt_batch_frames_count", "mqtt_rtt_ms_count", `mqtt_out_frames_total{connector="mqtt"}`} {
		if v, ok := gw.Metric(name); !ok || v == 0 {
			t.Errorf("%s is %v (present: %v)", name, v, ok)
		}
	}
	for _, name := range []string{`mqtt_inflight{connector="mqtt"}`, `mqtt_backlog_age_seconds{connector="mqtt"}`} {
		if _, ok := gw.Metric(name); !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestVerify proves with edge-bus verify, over all topics below /edge, that nothing
// is missing, and that it says so when something is.
func TestVerify(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, 20, "20ms"))
	gw.Start(t)
	gw.WaitReady(t)
	ledger := t.TempDir() + "/ledger.json"
	verify := func(more ...string) (r receiver.Report, code int) {
		t.Helper()
		args := append([]string{"verify", "--broker", broker.URL(), "--topic", "/edge/#", "--duration", "1500ms", "--ledger", ledger, "-o", "json"}, more...)
		cmd := exec.Command(peer.Build(t, "edge-bus"), args...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != 1 {
			t.Fatalf("edge-bus verify: %v\n%s", err, stderr.String())
		}
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
		}
		return r, cmd.ProcessState.ExitCode()
	}
	r, code := verify("--client-id", "verify")
	if code != 0 || len(r.Gateways) != 1 || r.Gateways[0].Frames < 200 || r.Bad != 0 || r.Gateways[0].Repeats != 0 {
		t.Errorf("exit code %d, %+v", code, r)
	}
	// With its session it goes on where it was.
	if r, code = verify("--client-id", "verify"); code != 0 || r.Bad != 0 {
		t.Errorf("on the same session: exit code %d, %+v", code, r)
	}
	// Another client id has missed what came in between, and the ledger knows it.
	time.Sleep(500 * time.Millisecond) // in which something comes
	if r, code = verify("--client-id", "another"); code != 1 || len(r.Gateways) != 1 || len(r.Gateways[0].Gaps) == 0 {
		t.Errorf("with a gap: exit code %d, %+v", code, r)
	}
}
