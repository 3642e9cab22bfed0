package s7

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func (g *gateway) diagnose() map[string]string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	facts, err := g.Driver.(driver.Diagnoser).Diagnose(ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	m := map[string]string{}
	for _, f := range facts {
		g.t.Logf("%s: %s", f.Name, f.Value)
		m[f.Name] = f.Value
	}
	return m
}

// The PLC tells who it is, and whether its program runs.
func TestDiagnose(t *testing.T) {
	srv := serve(t, settings{Blocks: map[int]string{1: "0001"}})
	g := run(t, srv.cfg.Port, nil, []config.Variable{variable("a", "DB1.DBW0", config.TypeInt16)})
	g.wait("a", "1")
	facts := g.diagnose()
	for name, want := range map[string]string{"order number": "6ES7 315-2EH14-0AB0", "firmware": "V3.2.6", "CPU state": "RUN", "module type": "CPU 315-2 PN/DP", "protection level": "1 (full access)"} {
		if facts[name] != want {
			t.Errorf("%s is %q, want %q", name, facts[name], want)
		}
	}
	srv.do(map[string]any{"do": "cpu", "run": false})
	if got := g.diagnose()["CPU state"]; got != "STOP" {
		t.Errorf("CPU state %q, want STOP", got)
	}
	srv.set(1, []byte{0, 2})
	g.wait("a", "2") // a CPU in STOP is read all the same
	if facts["diagnostics buffer 1"] == "" {
		t.Error("no entry of the diagnostics buffer")
	}
}

// A server that is killed makes each tag bad once; back again, it is read, and written.
func TestServerKilled(t *testing.T) {
	srv := serve(t, settings{Blocks: map[int]string{1: "00010002"}})
	g := run(t, srv.cfg.Port, nil, []config.Variable{variable("a", "DB1.DBW0", config.TypeInt16), variable("b", "DB1.DBW2", config.TypeInt16)})
	for round := range 2 {
		g.wait("a", "1")
		g.wait("b", "2")
		srv.Kill()
		g.waitBad("a")
		g.waitBad("b")
		g.eventually("fault", func() bool { return g.Status().State == driver.Fault })
		if g.bad["a"] != round+1 || g.bad["b"] != round+1 {
			t.Errorf("round %d: told bad %d and %d times", round, g.bad["a"], g.bad["b"])
		}
		if _, err := g.write("a", frame.IntValue(5)); err == nil || strings.Contains(err.Error(), "outcome unknown") {
			t.Errorf("a write to a server that is away: %v", err)
		}
		srv.begin()
	}
	g.wait("a", "1")
	g.eventually("running", func() bool { return g.Status().State == driver.Running })
	if r, err := g.write("a", frame.IntValue(5)); err != nil || r.ReadBack != frame.IntValue(5) {
		t.Errorf("%+v, %v", r, err)
	}
	if got := hex.EncodeToString(srv.get(1)); got != "00050002" {
		t.Errorf("the server holds %s", got)
	}
}

// Two gateways read and write one PLC at the same time.
func TestTwoGateways(t *testing.T) {
	srv := serve(t, settings{Blocks: map[int]string{1: strings.Repeat("00", 400)}})
	var both []*gateway
	for range 2 {
		var vars []config.Variable
		for i := range 200 {
			vars = append(vars, variable(fmt.Sprintf("w%03d", i), fmt.Sprintf("DB1.DBW%d", 2*i), config.TypeInt16))
		}
		both = append(both, run(t, srv.cfg.Port, map[string]any{"polling": "10ms"}, vars))
	}
	for i := range 20 {
		g, other := both[i%2], both[(i+1)%2]
		if _, err := g.write(fmt.Sprintf("w%03d", i), frame.IntValue(int64(100+i))); err != nil {
			t.Fatal(err)
		}
		other.wait(fmt.Sprintf("w%03d", i), fmt.Sprint(100+i))
	}
	for _, g := range both {
		if st := g.Status(); st.Errors > 0 {
			t.Errorf("%+v", st)
		}
	}
}

// A PLC without a connection left hangs up. The driver says so, waits, and reads as soon
// as there is one.
func TestConnectionLimit(t *testing.T) {
	srv := serve(t, settings{Clients: 1, Blocks: map[int]string{1: "0001"}})
	vars := func() []config.Variable { return []config.Variable{variable("a", "DB1.DBW0", config.TypeInt16)} }
	first := run(t, srv.cfg.Port, nil, vars())
	first.wait("a", "1")
	second := run(t, srv.cfg.Port, nil, vars())
	second.waitBad("a")
	away, _ := second.Driver.(driver.Reasoner).Reasons()
	if !strings.Contains(away.Text, "closed the connection") || !strings.Contains(away.Hint, "connection left") {
		t.Errorf("reason %+v", away)
	}
	first.stop()
	second.wait("a", "1")
}
