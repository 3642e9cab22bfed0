package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestCommandReachesThePLC sends commands at the broker: what may be written stands
// in the PLC then and is answered with the value read back; a repeat is not written
// again, also after the gateway was killed.
func TestCommandReachesThePLC(t *testing.T) {
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	tab := tables(plc.Addr, 3, "50ms")
	tab["drivers.yml"] = strings.Replace(tab["drivers.yml"], "unit_id: 1", "unit_id: 1, enable_write: true", 1)
	tab["variables.yml"] += `- tag: line.setpoint
  driver_id: line
  access: RW
  address: {type: holding, addr: 41101}
  datatype: uint16
  scale: value / 10
`
	gw := peer.NewGateway(t, connector(broker.URL(), "    commands: {enable: true, allow: [line.setpoint]}\n"), tab)
	gw.Start(t)
	gw.WaitReady(t)
	op := peer.NewOperator(t, broker.Addr)
	peer.WaitFor(t, 10*time.Second, "the gateway to hear commands", func() bool {
		op.Send(t, `{"seq":1,"tag":"line.setpoint","value":12.5}`)
		return op.Answer(1) != nil
	})
	if a := op.Answer(1); a["result"] != "ok" || a["value"] != 12.5 || a["gw"] != "gw-test" {
		t.Errorf("answer: %v", a)
	}
	if v := plc.Register(1100); v != 125 {
		t.Errorf("the PLC holds %d, want 125", v)
	}
	op.Send(t, `{"seq":2,"tag":"line.r0000","value":1}`)
	peer.WaitFor(t, 10*time.Second, "an answer", func() bool { return op.Answer(2) != nil })
	if a := op.Answer(2); a["result"] != "error" || !strings.Contains(a["reason"].(string), "commands.allow") {
		t.Errorf("answer: %v", a)
	}

	gw.Kill(t)
	op.Send(t, `{"seq":3,"tag":"line.setpoint","value":20}`) // waits at the broker
	op.Send(t, `{"seq":1,"tag":"line.setpoint","value":12.5}`)
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 20*time.Second, "the command that has waited", func() bool { return op.Answer(3) != nil })
	peer.WaitFor(t, 20*time.Second, "the repeat to be counted", func() bool {
		n, _ := gw.Metric(`mqtt_commands_total{connector="mqtt",result="duplicate"}`)
		return n == 1
	})
	if v := plc.Register(1100); v != 200 {
		t.Errorf("the PLC holds %d, want 200", v)
	}
	// The record of the command that came before the tags were known names the driver too.
	out := run(t, "edge-bus", "--socket", gw.Socket(), "replay", "--from", "0", "--commands", "--tag", "line.setpoint", "-o", "csv")
	if lines := strings.Split(strings.TrimSpace(out), "\n")[1:]; slices.ContainsFunc(lines, func(line string) bool { return !strings.HasSuffix(line, ",line") }) {
		t.Errorf("a record of the tag names no driver:\n%s", out)
	}
}
