package opcua

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// plant are the tables of a gateway that watches the server at port.
func plant(port int) map[string]string {
	return map[string]string{
		"endpoints.yml": fmt.Sprintf("scada: {scheme: opc.tcp, host: 127.0.0.1, port: %d, opts: {security_policy: None, backoff: 50ms, backoff_max: 200ms}}\n", port),
		"drivers.yml": "line: {kind: static, endpoint_id: scada, proto: opcua, cfg: {polling: 50ms, publishing: 200ms, keepalive: 1s, timeout: 5s, " +
			"queue_size: 200, enable_write: true, verify_write: true, backoff_max: 500ms}}\n",
		"variables.yml": "- {tag: Count, driver_id: line, access: R, address: {node: \"ns=2;s=Count\"}, datatype: uint32}\n" +
			"- {tag: Setpoint, driver_id: line, access: RW, address: {node: \"ns=2;s=Setpoint\"}, datatype: float64, scale: value / 10}\n" +
			"- {tag: Level, driver_id: line, access: RW, address: {node: \"ns=2;s=Level\"}, datatype: uint16}\n",
	}
}

// TestGateway is the way through the whole gateway: counts to Mosquitto, commands from
// there, and kill -9 in between. A count that is missing lies in a gap that is told, and
// none comes twice.
func TestGateway(t *testing.T) {
	t.Parallel()
	srv := start(t, settings{CountEvery: 100})
	p := newProxy(t, net.JoinHostPort("127.0.0.1", itoa(srv.cfg.Port)))
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "ledger", "/edge/acme/line-1/data")
	gw := peer.NewGateway(t, fmt.Sprintf("connectors:\n  mqtt: {kind: mqtt5, endpoint: %q, topic: \"/edge/{tenant}/{device}/data\", max_interval: 100ms, backoff: {base: 100ms, max: 1s}, "+
		"commands: {enable: true, allow: [Setpoint, Level]}}\nbus: {wal_flush_ms: 20}\n", broker.URL()), plant(p.port()))
	gw.Start(t)
	gw.WaitReady(t)
	counts := func() int { return len(countsOf(sub)) }
	peer.WaitFor(t, patience, "counts", func() bool { return counts() > 20 })

	op := peer.NewOperator(t, broker.Addr)
	peer.WaitFor(t, patience, "the gateway to hear commands", func() bool {
		op.Send(t, `{"seq":1,"tag":"Setpoint","value":12.5}`)
		return op.Answer(1) != nil
	})
	if a := op.Answer(1); a["result"] != "ok" || a["value"] != 12.5 {
		t.Errorf("answer: %v", a)
	}
	if v := srv.do(map[string]any{"cmd": "get", "node": "Setpoint"}); v["value"] != 125.0 || v["type"] != "Double" {
		t.Errorf("the server holds %v", v)
	}
	for seq, c := range map[int]struct{ command, result, reason string }{
		2: {`{"seq":2,"tag":"Level","value":70000}`, "error", "Level"},
		3: {`{"seq":3,"tag":"Count","value":1}`, "error", "commands.allow"},
		4: {`{"seq":4,"tag":"Level","value":77}`, "ok", ""},
	} {
		op.Send(t, c.command)
		peer.WaitFor(t, patience, "an answer", func() bool { return op.Answer(seq) != nil })
		reason, _ := op.Answer(seq)["reason"].(string)
		if a := op.Answer(seq); a["result"] != c.result || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: %v", c.command, a)
		}
	}
	p.setDeaf(true) // the write does not arrive, or its answer does not: nobody knows
	op.Send(t, `{"seq":5,"tag":"Level","value":78}`)
	peer.WaitFor(t, patience, "the answer to the fifth command", func() bool { return op.Answer(5) != nil })
	if a := op.Answer(5); a["result"] != "unknown" {
		t.Errorf("a write whose answer was lost: %v", a)
	}
	p.cut()
	p.setDeaf(false)
	p.open()
	before := counts()
	peer.WaitFor(t, patience, "counts after the cut", func() bool { return counts() > before+20 })

	gw.Kill(t)
	op.Send(t, `{"seq":6,"tag":"Level","value":79}`) // it waits at the broker
	op.Send(t, `{"seq":4,"tag":"Level","value":77}`) // it was done
	time.Sleep(time.Second)                          // counts that nobody hears
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, patience, "the command that has waited", func() bool { return op.Answer(6) != nil })
	before = counts()
	peer.WaitFor(t, patience, "counts after the kill", func() bool { return counts() > before+20 })
	if v := srv.do(map[string]any{"cmd": "get", "node": "Level"}); v["value"] != 79.0 || op.Answer(6)["result"] != "ok" {
		t.Errorf("the server holds %v, the answer is %v", v, op.Answer(6))
	}
	if took, code := gw.Stop(t); code != 0 || took > 5*time.Second {
		t.Errorf("edge-gw stopped in %s with exit code %d; want within 5 s with 0", took, code)
	}
	checkCounts(t, sub)
}

// countsOf are the good counts that arrived, in order.
func countsOf(sub *peer.Subscriber) (out []peer.Frame) {
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			if f.Tag == "Count" && f.Quality == "good" {
				out = append(out, f)
			}
		}
	}
	return out
}

// checkCounts checks that a missing count lies in a gap that was told after it, and that
// none came twice.
func checkCounts(t *testing.T, sub *peer.Subscriber) {
	t.Helper()
	var gaps []gap
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			if f.Tag != "sys.gap" {
				continue
			}
			var g gap
			raw, err := json.Marshal(f.Value)
			if err == nil {
				err = json.Unmarshal(raw, &g)
			}
			if err != nil {
				t.Errorf("sys.gap %v: %v", f.Value, err)
			}
			gaps = append(gaps, g)
		}
	}
	list := countsOf(sub)
	const slack = 200 // milliseconds
	missing, told := 0, 0
	for i := 1; i < len(list); i++ {
		n, before := list[i].Value.(float64), list[i-1].Value.(float64)
		switch {
		case n <= before || list[i].Seq <= list[i-1].Seq:
			t.Errorf("count %v came behind %v", n, before)
		case n > before+1:
			missing += int(n - before - 1)
			for _, g := range gaps {
				if g.Driver == "line" && g.From.UnixMilli() <= list[i-1].TS+slack && g.To.UnixMilli() >= list[i].TS-slack {
					told++
					n = before
					break
				}
			}
			if n > before {
				t.Errorf("the counts from %v to %v are missing, and no gap was told: %+v", before, list[i].Value, gaps)
			}
		}
	}
	t.Logf("%d counts, %d missing in %d gaps: %+v", len(list), missing, told, gaps)
	if missing == 0 {
		t.Error("nothing is missing: the gateway was not away")
	}
}

// ctl runs a command and returns what it says on stdout.
func ctl(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer.Build(t, name), args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, said.String())
	}
	return string(out)
}

// Browsing through the gateway's session and directly finds the same, in bounded memory
// and without running in circles; edge-cfg imports what it finds.
func TestBrowseCommand(t *testing.T) {
	t.Parallel()
	nodes := 300
	if long() {
		nodes = 100_000
	}
	srv := start(t, settings{Nodes: nodes, Loop: true})
	gw := peer.NewGateway(t, "connectors: {}\n", plant(srv.cfg.Port))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, patience, "values", func() bool { n, _ := gw.Metric(`opcua_value_total{driver_id="line"}`); return n > 0 })
	peer.Build(t, "edge-ctl")
	url := fmt.Sprintf("opc.tcp://127.0.0.1:%d?security_policy=None", srv.cfg.Port)
	began := time.Now()
	through := ctl(t, "edge-ctl", "browse", "scada", "/Objects/2:Line", "-o", "csv", "--stable", "--socket", gw.Socket())
	took := time.Since(began)
	_, anon := gw.Proc().Memory(t)
	t.Logf("%d nodes through the gateway in %v; the gateway has %.0f MB", nodes, took.Round(time.Millisecond), anon)
	if anon > 200 {
		t.Errorf("the gateway has %.0f MB", anon)
	}
	if directly := ctl(t, "edge-ctl", "browse", url, "/Objects/2:Line", "-o", "csv", "--stable", "--direct"); directly != through {
		t.Errorf("directly it finds %d bytes, through the gateway %d", len(directly), len(through))
	}
	if n := strings.Count(through, "\n"); n < nodes+40 {
		t.Errorf("%d lines", n)
	}
	var some []struct{ Path, Node, Type, Access string }
	text := ctl(t, "edge-ctl", "browse", "scada", "/Objects/2:Line", "--filter", "N1[02]", "-o", "json", "--socket", gw.Socket())
	if err := json.Unmarshal([]byte(text), &some); err != nil || len(some) != 2 || some[0].Path != "/2:N10" || some[1].Node != "ns=2;s=N12" || some[1].Type != "Int32" {
		t.Errorf("N10 and N12 are %+v, %v", some, err)
	}
	if probe := ctl(t, "edge-ctl", "probe", "scada", "-o", "json", "--socket", gw.Socket()); !strings.Contains(probe, `"state": "Running"`) || !strings.Contains(probe, "Basic256Sha256") {
		t.Errorf("probe says %s", probe)
	}

	csv := gw.Dir + "/points.csv"
	if err := os.WriteFile(csv, []byte(through), 0o600); err != nil {
		t.Fatal(err)
	}
	var first, again struct {
		Added, Changed, Same int
		Conflicts            []string
	}
	for _, res := range []any{&first, &again} {
		if err := json.Unmarshal([]byte(ctl(t, "edge-cfg", "import", csv, "--into", gw.Dir+"/config", "--driver", "line", "-o", "json")), res); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(through, "\n") - 1; first.Added != lines || first.Changed+first.Same+len(first.Conflicts) != 0 || again.Same != lines || again.Added != 0 {
		t.Errorf("%d lines: %+v, then %+v", lines, first, again)
	}
	ctl(t, "edge-cfg", "lint", gw.Dir+"/config")
	want := float64(strings.Count(through, "\n") - 1 - strings.Count(through, ",W,")) // beside those of before
	if !long() {                                                                      // it watches the directory
		peer.WaitFor(t, 2*patience, "the nodes to be watched", func() bool { n, _ := gw.Metric(`opcua_monitored_items{driver_id="line"}`); return n >= want })
	}
}
