package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// plant is a commander with devices in memory.
type plant struct {
	r *rig

	mu       sync.Mutex
	values   map[string]frame.Value
	logged   []frame.Command
	executed []frame.Command
	block    chan struct{} // nil: executes at once
	refuse   bool          // logs nothing
	full     chan struct{} // not nil: the log is full until it is closed
}

func newPlant(r *rig) *plant {
	p := &plant{r: r, values: map[string]frame.Value{}}
	r.commands = p
	return p
}

func (p *plant) Log(ctx context.Context, cmd frame.Command) error {
	p.mu.Lock()
	refuse, full := p.refuse, p.full
	p.mu.Unlock()
	if refuse {
		return errors.New("the disk fails")
	}
	if full != nil {
		select {
		case <-full:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b := frame.Single(frame.Cmd, "", frame.Tag{Name: cmd.Tag}, frame.Frame{Value: cmd.Value, TS: cmd.Received.UnixNano()})
	if err := p.r.bus.PublishSync(ctx, b); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logged = append(p.logged, cmd)
	return nil
}

func (p *plant) Execute(ctx context.Context, cmd frame.Command) frame.CommandResult {
	p.mu.Lock()
	block := p.block
	p.executed = append(p.executed, cmd)
	p.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return frame.CommandResult{Reason: ctx.Err().Error()}
		}
	}
	if strings.HasSuffix(cmd.Tag, "broken") {
		return frame.CommandResult{Reason: "the device answers with exception 4"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values[cmd.Tag] = cmd.Value
	return frame.CommandResult{OK: true, ReadBack: cmd.Value, TS: time.Now().UnixNano()}
}

func (p *plant) ReadBack(_ context.Context, tag string) (frame.Value, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.values[tag]
	if !ok {
		return v, errors.New("no answer")
	}
	return v, nil
}

func (p *plant) counts() (logged, executed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.logged), len(p.executed)
}

const (
	cmdTopic    = "/edge/cmd/acme/line-1/write"
	resultTopic = "/edge/cmd-result/acme/line-1"
)

// commandRig is a rig with commands enabled, and a client that sees the results.
func commandRig(t *testing.T, broker *peer.Mosquitto, commands map[string]any) (*rig, *plant, *client) {
	t.Helper()
	cfg := map[string]any{"enable": true, "allow": []any{"plant.*"}, "rate": "1000/s"}
	for k, v := range commands {
		cfg[k] = v
	}
	r := newRig(t, broker.URL(), map[string]any{"commands": cfg})
	p := newPlant(r)
	c := dial(t, broker.Addr, "operator")
	c.subscribe(t, resultTopic+"/#")
	r.start()
	r.waitState("up")
	waitOnline(t, broker)
	return r, p, c
}

// waitOnline waits until the gateway says that it is online, which it does once it has
// subscribed to commands.
func waitOnline(t *testing.T, broker *peer.Mosquitto) {
	t.Helper()
	w := dial(t, broker.Addr, "watcher")
	w.subscribe(t, "/edge/status/acme/line-1")
	peer.WaitFor(t, 10*time.Second, "the gateway to be online", func() bool {
		return slices.ContainsFunc(w.received(), func(m *paho.Publish) bool { return strings.Contains(string(m.Payload), `"online"`) })
	})
}

// results returns the answers that have come, by seq.
func (c *client) results(t *testing.T) map[int]map[string]any {
	t.Helper()
	out := map[int]map[string]any{}
	for _, m := range c.received() {
		var v map[string]any
		if err := json.Unmarshal(m.Payload, &v); err != nil {
			t.Fatalf("result %q: %v", m.Payload, err)
		}
		out[int(v["seq"].(float64))] = v
	}
	return out
}

func send(t *testing.T, c *client, payload string, props *paho.PublishProperties) {
	t.Helper()
	c.publish(t, &paho.Publish{Topic: cmdTopic, QoS: 1, Payload: []byte(payload), Properties: props})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	_, p, c := commandRig(t, broker, nil)
	gone := uint32(1)
	cases := []struct {
		payload        string
		props          *paho.PublishProperties
		result, reason string
	}{
		{`{"seq":1,"tag":"plant.setpoint","value":42.0}`, nil, "ok", ""},
		{`{"seq":2,"tag":"plant.on","value":true}`, &paho.PublishProperties{ResponseTopic: resultTopic + "/mine", CorrelationData: []byte("abc")}, "ok", ""},
		{`{"seq":3,"tag":"other.setpoint","value":1}`, nil, "error", "commands.allow"},
		{`{"seq":4,"tag":"plant.broken","value":1}`, nil, "error", "exception 4"},
		{`{"seq":5,"tag":"plant.setpoint"}`, nil, "error", "value is missing"},
		{`{"seq":6,"tag":"plant.setpoint","value":[1]}`, nil, "error", "expected a number"},
		{`{"seq":7,"tag":"plant.setpoint","value":1,"extra":1}`, nil, "error", "extra"},
	}
	for _, x := range cases {
		send(t, c, x.payload, x.props)
	}
	want := len(cases) - 1 // an unknown key leaves the command without its seq
	peer.WaitFor(t, 10*time.Second, "the results", func() bool { return len(c.received()) >= len(cases) })
	got := c.results(t)
	for i, x := range cases[:want] {
		r := got[i+1]
		reason, _ := r["reason"].(string)
		if r["result"] != x.result || !strings.Contains(reason, x.reason) {
			t.Errorf("%s: %v, want %s with %q", x.payload, r, x.result, x.reason)
		}
	}
	if v := got[1]["value"]; v != 42.0 {
		t.Errorf("value read back is %v, want 42", v)
	}
	for _, m := range c.received() {
		if mine := m.Topic == resultTopic+"/mine"; mine != (string(m.Properties.CorrelationData) == "abc") {
			t.Errorf("result on %s has correlation data %q", m.Topic, m.Properties.CorrelationData)
		}
	}

	// Repeats, by topic and seq and by correlation data, are executed once and
	// answered again.
	logged, executed := p.counts()
	for range 3 {
		send(t, c, cases[0].payload, nil)
		send(t, c, `{"seq":99,"tag":"plant.on","value":true}`, cases[1].props)
	}
	before := len(c.received())
	peer.WaitFor(t, 10*time.Second, "an answer to a repeat", func() bool { return len(c.received()) > before })
	if l, e := p.counts(); l != logged || e != executed {
		t.Errorf("after repeats %d are logged and %d executed, want %d and %d", l, e, logged, executed)
	}

	// A stale command is not executed.
	block := make(chan struct{})
	p.mu.Lock()
	p.block = block
	p.mu.Unlock()
	send(t, c, `{"seq":20,"tag":"plant.slow","value":1}`, nil)
	send(t, c, `{"seq":21,"tag":"plant.slow","value":2}`, &paho.PublishProperties{MessageExpiry: &gone})
	time.Sleep(1200 * time.Millisecond) // until the second one has expired
	close(block)
	peer.WaitFor(t, 10*time.Second, "the stale one", func() bool { return c.results(t)[21] != nil })
	if r := c.results(t)[21]; r["result"] != "error" || !strings.Contains(r["reason"].(string), "expired") {
		t.Errorf("stale command: %v", r)
	}
	if v, err := p.ReadBack(t.Context(), "plant.slow"); err != nil || v != frame.IntValue(1) {
		t.Errorf("plant.slow is %v, %v; want 1", v, err)
	}
}

// TestCommandsRate turns down what exceeds the rate.
func TestCommandsRate(t *testing.T) {
	broker := peer.StartMosquitto(t)
	_, p, c := commandRig(t, broker, map[string]any{"rate": "3/h"})
	for i := range 5 {
		send(t, c, `{"seq":`+string(rune('1'+i))+`,"tag":"plant.a","value":1}`, nil)
	}
	peer.WaitFor(t, 10*time.Second, "all answers", func() bool { return len(c.results(t)) == 5 })
	if _, n := p.counts(); n != 3 {
		t.Errorf("%d were executed, want 3", n)
	}
	if r := c.results(t)[5]; !strings.Contains(r["reason"].(string), "3/h") {
		t.Errorf("answer: %v", r)
	}
}

// Who may retain commands does not have thousands of them come with each connection, beyond
// what the gateway takes, so that it reconnects for ever.
func TestRetainedCommandsAreNotSent(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	attacker := dial(t, broker.Addr, "attacker")
	for i := range 300 {
		attacker.publish(t, &paho.Publish{Topic: fmt.Sprint(cmdTopic, "/", i), QoS: 1, Retain: true, Payload: []byte(`{"seq":1,"tag":"plant.a","value":1}`)})
	}
	r, p, c := commandRig(t, broker, nil)
	send(t, c, `{"seq":7,"tag":"plant.b","value":1}`, nil)
	peer.WaitFor(t, 10*time.Second, "the answer", func() bool { return c.results(t)[7]["result"] == "ok" })
	if n := len(c.received()); n != 1 {
		t.Errorf("%d answers, want that to the command that is not retained", n)
	}
	if logged, _ := p.counts(); logged != 1 || r.conn.Status().Reconnects != 0 {
		t.Errorf("%d are logged, %d reconnections", logged, r.conn.Status().Reconnects)
	}
}

// Who floods the commands' topics while the gateway is away makes the broker send more than
// the gateway takes, and the gateway reconnect often. It says so now and then.
func TestFloodFillsNoLog(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	r, _, c := commandRig(t, broker, map[string]any{"rate": "10/s"})
	r.close()
	for i := range 2000 {
		send(t, c, fmt.Sprintf(`{"seq":%d,"tag":"plant.a","value":1}`, 1000+i), nil)
	}
	r.start()
	last, began := 10_000, time.Now()
	peer.WaitFor(t, 60*time.Second, "a command to be executed behind the flood", func() bool {
		last++
		send(t, c, fmt.Sprintf(`{"seq":%d,"tag":"plant.b","value":1}`, last), nil)
		return slices.ContainsFunc(slices.Collect(maps.Values(c.results(t))), func(a map[string]any) bool { return a["tag"] == "plant.b" && a["result"] == "ok" })
	})
	told := strings.Count(r.logs.String(), "beyond the receive maximum")
	if took := time.Since(began); told > 2+int(took/(10*time.Second)) {
		t.Errorf("%d of %d reconnections are told in %v", told, r.conn.Status().Reconnects, took)
	}
}

// Who floods the commands' topics at a broker that limits nothing keeps neither answers nor
// data away, whether the gateway is connected or comes to it.
func TestFloodHoldsNothingUp(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t, "max_inflight_messages 0", "max_inflight_bytes 0")
	sub := peer.Subscribe(t, broker.Addr, "flood", dataTopic)
	r, _, c := commandRig(t, broker, map[string]any{"rate": "10/s"})
	for _, away := range []bool{false, true} {
		if away {
			r.close()
		}
		for i := range 5000 {
			send(t, c, fmt.Sprintf(`{"seq":%d,"tag":"other.a","value":1}`, 1000+i), nil)
		}
		if away {
			r.start()
		}
		before, last := sub.Count(), 10_000
		r.publish(10)
		peer.WaitFor(t, 60*time.Second, "data and an answer behind the flood", func() bool {
			last++
			send(t, c, fmt.Sprintf(`{"seq":%d,"tag":"plant.b","value":1}`, last), nil)
			return sub.Count() > before && slices.ContainsFunc(slices.Collect(maps.Keys(c.results(t))), func(seq int) bool { return seq > 10_000 })
		})
		if n := r.conn.Status().Reconnects; n > 20 {
			t.Errorf("away %v: %d connections", away, n)
		}
	}
}

// TestCommandsRestart stops the gateway with commands in every state.
func TestCommandsRestart(t *testing.T) {
	broker := peer.StartMosquitto(t)
	r, p, c := commandRig(t, broker, nil)
	p.mu.Lock()
	p.block = make(chan struct{})
	p.values["plant.same"] = frame.IntValue(5)
	p.values["plant.other"] = frame.IntValue(6)
	p.mu.Unlock()
	send(t, c, `{"seq":1,"tag":"plant.same","value":5}`, nil)  // started: the device holds it
	send(t, c, `{"seq":2,"tag":"plant.other","value":7}`, nil) // started: the device holds another value
	send(t, c, `{"seq":3,"tag":"plant.mute","value":7}`, nil)  // started: the device cannot be read
	peer.WaitFor(t, 10*time.Second, "three commands in execution", func() bool { _, n := p.counts(); return n == 3 })
	send(t, c, `{"seq":4,"tag":"plant.same","value":8}`, nil) // logged, behind the first
	peer.WaitFor(t, 10*time.Second, "the fourth to be logged", func() bool { n, _ := p.counts(); return n == 4 })
	r.close()
	p.mu.Lock()
	p.block, p.executed = nil, nil
	p.mu.Unlock()
	r.start()
	peer.WaitFor(t, 10*time.Second, "all answers", func() bool { return len(c.results(t)) == 4 })
	for seq, want := range map[int]string{1: "", 2: "another value", 3: "cannot be read", 4: ""} {
		res := c.results(t)[seq]
		reason, _ := res["reason"].(string)
		if !strings.Contains(reason, want) || (res["result"] == "ok") != (want == "") {
			t.Errorf("command %d: %v, want %q", seq, res, want)
		}
	}
	if _, n := p.counts(); n != 1 {
		t.Errorf("%d commands were executed after the restart, want the one that was only logged", n)
	}
	send(t, c, `{"seq":2,"tag":"plant.other","value":7}`, nil)
	before := len(c.received())
	peer.WaitFor(t, 10*time.Second, "an answer to the repeat", func() bool { return len(c.received()) > before })
	if _, n := p.counts(); n != 1 {
		t.Error("a repeat from before the restart was executed")
	}
}

// TestCommandNotLogged does not acknowledge what could not be logged: the broker
// delivers it again.
func TestCommandNotLogged(t *testing.T) {
	broker := peer.StartMosquitto(t)
	r, p, c := commandRig(t, broker, nil)
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	send(t, c, `{"seq":1,"tag":"plant.a","value":1}`, nil)
	peer.WaitFor(t, 10*time.Second, "the connection to be dropped", func() bool { return r.conn.Status().Reconnects > 1 })
	p.mu.Lock()
	p.refuse = false
	p.mu.Unlock()
	peer.WaitFor(t, 10*time.Second, "the answer", func() bool { return c.results(t)[1]["result"] == "ok" })
	if _, n := p.counts(); n != 1 {
		t.Errorf("executed %d times", n)
	}
}

// TestCommandsWhileLogIsFull floods the connector with commands of every QoS that
// it cannot log: data flows on meanwhile, a stop is not held up, and what had to
// be acknowledged is executed when there is room.
func TestCommandsWhileLogIsFull(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	r, p, c := commandRig(t, broker, nil)
	full := make(chan struct{})
	p.mu.Lock()
	p.full = full
	p.mu.Unlock()
	const reliable = 100
	for i := range reliable {
		c.publish(t, &paho.Publish{Topic: cmdTopic, QoS: byte(1 + i%2), Payload: fmt.Appendf(nil, `{"seq":%d,"tag":"plant.a","value":%d}`, i+1, i)})
		c.publish(t, &paho.Publish{Topic: cmdTopic, Payload: fmt.Appendf(nil, `{"seq":%d,"tag":"plant.b","value":%d}`, 1000+i, i)})
	}
	for range 5 {
		r.publish(1000)
		r.waitDelivered(5 * time.Second)
	}
	if n := r.conn.Status().Reconnects; n != 0 {
		t.Errorf("%d reconnects", n)
	}
	if logged, _ := p.counts(); logged != 0 {
		t.Fatalf("%d commands were logged", logged)
	}
	if took := r.stopConnector(); took > 2200*time.Millisecond {
		t.Errorf("the connector took %s to stop; want 2 s at most", took)
	}
	close(full)
	r.start()
	executed := func() (n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, cmd := range p.executed {
			if cmd.Tag == "plant.a" {
				n++
			}
		}
		return n
	}
	peer.WaitFor(t, 20*time.Second, "the commands with QoS 1 and 2", func() bool { return executed() == reliable })
}
