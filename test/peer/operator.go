package peer

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// Operator is a plain MQTT client that sends commands to the gateway of these tests and
// hears the answers.
type Operator struct {
	client *paho.Client
	mu     sync.Mutex
	got    map[int]map[string]any // by seq
}

// NewOperator connects to the broker at addr until the test ends.
func NewOperator(t testing.TB, addr string) *Operator {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o := &Operator{got: map[int]map[string]any{}}
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

// Send publishes a command.
func (o *Operator) Send(t testing.TB, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := o.client.Publish(ctx, &paho.Publish{Topic: "/edge/cmd/acme/line-1/write", QoS: 1, Payload: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
}

// Answer is the last answer to the command with a seq, nil before there is one.
func (o *Operator) Answer(seq int) map[string]any {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.got[seq]
}
