package opcua

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// product is one of those that are compared.
type product struct {
	proc      peer.Proc
	delivered func() int   // values at the broker
	counts    func() []int // of Count, in order
	stop      func()
	output    func() string
}

// TestBesideTelegraf measures the processor time of the gateway and of Telegraf for each
// value of the same server, at the same broker, one after the other, and what each
// delivers of a counter over a cut of a second. The gateway logs what it sends on disk,
// Telegraf keeps nothing there.
func TestBesideTelegraf(t *testing.T) {
	if os.Getenv("EDGE_OPCUA") != "peers" {
		t.Skip("EDGE_OPCUA=peers runs it; make bench-peers does")
	}
	for _, load := range []struct {
		nodes int
		every time.Duration
	}{{1000, 100 * time.Millisecond}, {10_000, time.Second}} {
		t.Run(fmt.Sprintf("%d nodes every %v", load.nodes, load.every), func(t *testing.T) {
			// Telegraf asks for all nodes at once, whatever the server says that it takes.
			srv := start(t, settings{Nodes: load.nodes, MaxNodes: 20_000, ChangeEvery: int(load.every.Milliseconds()), CountEvery: 100})
			cost := map[string]float64{}
			for _, name := range []string{"telegraf", "edge-gw"} {
				p := newProxy(t, net.JoinHostPort("127.0.0.1", itoa(srv.cfg.Port)))
				begin := map[string]func(*testing.T, int, int, time.Duration) product{"edge-gw": ourselves, "telegraf": telegraf}[name]
				cost[name] = measure(t, name, begin(t, p.port(), load.nodes, load.every), p)
			}
			ratio := cost["edge-gw"] / cost["telegraf"]
			t.Logf("edge-gw takes %.2f of Telegraf's processor time for a value", ratio)
			if ratio > 0.5 {
				t.Errorf("edge-gw takes %.2f of Telegraf's processor time for a value, want 0.5 at most", ratio)
			}
		})
	}
}

// measure returns the processor time for a value, in nanoseconds.
func measure(t *testing.T, name string, p product, way *proxy) float64 {
	t.Helper()
	defer p.stop()
	for end := time.Now().Add(3 * patience); p.delivered() < 20_000; time.Sleep(100 * time.Millisecond) { // it counts what a broker hands on
		if time.Now().After(end) {
			t.Fatalf("%s has delivered %d values in %v:\n%.4000s", name, p.delivered(), 3*patience, p.output())
		}
	}
	const period = 10 * time.Second
	values, cpu, began := p.delivered(), p.proc.CPU(t), time.Now()
	time.Sleep(period) // the measurement
	values, cpu = p.delivered()-values, p.proc.CPU(t)-cpu
	if values == 0 {
		t.Fatalf("%s delivers nothing any more:\n%.4000s", name, p.output())
	}
	each := float64(cpu.Nanoseconds()) / float64(values)
	rss, anon := p.proc.Memory(t)
	t.Logf("%-8s %6.0f values/s, %5.0f ns of processor time for each, %.0f MiB (anon %.0f)", name, float64(values)/time.Since(began).Seconds(), each, rss, anon)
	before := p.counts()
	way.cut()
	time.Sleep(time.Second) // the cut
	way.open()
	time.Sleep(11 * time.Second) // what comes, comes
	list := p.counts()
	missing, twice := 0, 0
	for i := len(before); i < len(list); i++ {
		switch d := list[i] - list[i-1]; {
		case d > 1:
			missing += d - 1
		case d < 1:
			twice++
		}
	}
	t.Logf("%-8s after a cut of 1 s: %d counts came in 12 s, %d are missing between them, %d came twice", name, len(list)-len(before), missing, twice)
	return each
}

// ourselves starts the gateway.
func ourselves(t *testing.T, port, nodes int, every time.Duration) product {
	t.Helper()
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "peers", "/edge/acme/line-1/data")
	tables := plant(port)
	var vars strings.Builder
	vars.WriteString("- {tag: Count, driver_id: line, access: R, address: {node: \"ns=2;s=Count\"}, datatype: uint32}\n")
	for i := range nodes {
		fmt.Fprintf(&vars, "- {tag: n%d, driver_id: line, access: R, address: {node: \"ns=2;s=N%d\"}, datatype: int32}\n", i, i)
	}
	tables["variables.yml"] = vars.String()
	tables["drivers.yml"] = fmt.Sprintf("line: {kind: static, endpoint_id: scada, proto: opcua, cfg: {polling: %s, publishing: 500ms, queue_size: 100}}\n", every/2)
	gw := peer.NewGateway(t, fmt.Sprintf("connectors:\n  mqtt: {kind: mqtt5, endpoint: %q, topic: \"/edge/{tenant}/{device}/data\"}\n", broker.URL()), tables)
	gw.Start(t)
	gw.WaitReady(t)
	return product{
		proc: gw.Proc(), delivered: sub.Count, output: gw.Output, stop: func() { gw.Stop(t) },
		counts: func() (out []int) {
			for _, f := range countsOf(sub) {
				out = append(out, int(f.Value.(float64)))
			}
			return out
		},
	}
}

// telegraf starts Telegraf.
func telegraf(t *testing.T, port, nodes int, every time.Duration) product {
	t.Helper()
	broker := peer.StartMosquitto(t)
	sub := listen(t, broker.Addr)
	var c strings.Builder
	fmt.Fprintf(&c, `[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_batch_size = 1000
  metric_buffer_limit = 100000
  omit_hostname = true

[[outputs.mqtt]]
  servers = ["tcp://%s"]
  protocol = "5"
  topic = "telegraf/data"
  qos = 2
  layout = "batch"
  data_format = "json"

[[inputs.opcua_listener]]
  name = "v"
  endpoint = "opc.tcp://127.0.0.1:%d"
  security_policy = "None"
  security_mode = "None"
  auth_method = "Anonymous"
  subscription_interval = "500ms"
  timestamp = "source"
  connect_fail_behavior = "retry"
`, broker.Addr, port)
	for i := -1; i < nodes; i++ {
		id := fmt.Sprintf("N%d", i)
		if i < 0 {
			id = "Count"
		}
		fmt.Fprintf(&c, `
  [[inputs.opcua_listener.nodes]]
    name = "%s"
    namespace = "2"
    identifier_type = "s"
    identifier = "%s"
    [inputs.opcua_listener.nodes.monitoring_params]
      sampling_interval = "%s"
      queue_size = 100
`, id, id, every/2)
	}
	p := peer.StartTelegraf(t, c.String())
	return product{proc: p.Proc(), delivered: sub.values, counts: sub.counts, output: p.Output, stop: func() { p.Stop(t) }}
}

// heard is what Telegraf sent.
type heard struct {
	mu      sync.Mutex
	metrics int
	count   []int
}

func listen(t *testing.T, addr string) *heard {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{}
	client := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(nc), OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			h.take(t, p.Packet.Payload)
			return true, nil
		},
	}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := client.Connect(ctx, &paho.Connect{ClientID: "peers", CleanStart: true, KeepAlive: 300}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(&paho.Disconnect{}) }) // the test is over
	if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "telegraf/data", QoS: 2}}}); err != nil {
		t.Fatal(err)
	}
	return h
}

// take counts the metrics of a message, each of which has one value.
func (h *heard) take(t *testing.T, payload []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.metrics += bytes.Count(payload, []byte(`"fields":`))
	for rest := payload; ; {
		i := bytes.Index(rest, []byte(`"Count":`))
		if i < 0 {
			return
		}
		rest = rest[i+len(`"Count":`):]
		var n int
		if err := json.NewDecoder(bytes.NewReader(rest)).Decode(&n); err != nil {
			t.Errorf("Telegraf sends the count %.20s", rest)
			return
		}
		h.count = append(h.count, n)
	}
}

func (h *heard) values() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.metrics
}

func (h *heard) counts() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]int(nil), h.count...)
}
