package e2e

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

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
	op := newOperator(t, broker.Addr)
	peer.WaitFor(t, 10*time.Second, "the gateway to hear commands", func() bool {
		op.send(t, `{"seq":1,"tag":"line.setpoint","value":12.5}`)
		return op.answer(1) != nil
	})
	if a := op.answer(1); a["result"] != "ok" || a["value"] != 12.5 || a["gw"] != "gw-test" {
		t.Errorf("answer: %v", a)
	}
	if v := plc.Register(1100); v != 125 {
		t.Errorf("the PLC holds %d, want 125", v)
	}
	op.send(t, `{"seq":2,"tag":"line.r0000","value":1}`)
	peer.WaitFor(t, 10*time.Second, "an answer", func() bool { return op.answer(2) != nil })
	if a := op.answer(2); a["result"] != "error" || !strings.Contains(a["reason"].(string), "commands.allow") {
		t.Errorf("answer: %v", a)
	}

	gw.Kill(t)
	op.send(t, `{"seq":3,"tag":"line.setpoint","value":20}`) // waits at the broker
	op.send(t, `{"seq":1,"tag":"line.setpoint","value":12.5}`)
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 20*time.Second, "the command that has waited", func() bool { return op.answer(3) != nil })
	time.Sleep(500 * time.Millisecond) // the repeat came right behind it
	if v := plc.Register(1100); v != 200 {
		t.Errorf("the PLC holds %d, want 200", v)
	}
	if n, ok := gw.Metric(`mqtt_commands_total{connector="mqtt",result="duplicate"}`); !ok || n != 1 {
		t.Errorf("%v duplicates are counted (present: %v), want 1", n, ok)
	}
}

// operator is a plain MQTT client that sends commands and hears the answers.
type operator struct {
	client *paho.Client
	mu     sync.Mutex
	got    map[int]map[string]any // by seq
}

func newOperator(t *testing.T, addr string) *operator {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{got: map[int]map[string]any{}}
	o.client = paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(nc), OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			var a map[string]any
			if err := json.Unmarshal(p.Packet.Payload, &a); err != nil {
				t.Errorf("answer %q: %v", p.Packet.Payload, err)
				return true, nil
			}
			seq, _ := a["seq"].(float64)
			o.mu.Lock()
			defer o.mu.Unlock()
			o.got[int(seq)] = a
			return true, nil
		}}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := o.client.Connect(ctx, &paho.Connect{ClientID: "operator", CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.client.Disconnect(&paho.Disconnect{}) }) // the test is over
	if _, err := o.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "/edge/cmd-result/acme/line-1", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *operator) send(t *testing.T, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := o.client.Publish(ctx, &paho.Publish{Topic: "/edge/cmd/acme/line-1/write", QoS: 1, Payload: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
}

func (o *operator) answer(seq int) map[string]any {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.got[seq]
}
