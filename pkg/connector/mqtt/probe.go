package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
)

// Test implements [connector.Connector]: name, TCP, TLS, WebSocket, CONNECT, the
// right to publish on the data's topic and on the status topic, and to subscribe
// to commands. It connects as CLIENT_ID-test, since the broker would end the
// connection in use if its client id came twice. The message that it publishes
// on the data's topic holds no frames.
func (c *Connector) Test(ctx context.Context, report func(connector.Step)) {
	for _, srv := range c.servers {
		t := tester{c: c, report: report}
		if len(c.servers) > 1 {
			t.prefix = srv.String() + " "
		}
		t.try(ctx, srv)
	}
}

// tester tests one server.
type tester struct {
	c      *Connector
	report func(connector.Step)
	prefix string
}

// step runs one step and reports it.
func (t *tester) step(name string, do func() (string, error)) error {
	began := time.Now()
	text, err := do()
	t.report(connector.Step{Name: t.prefix + name, Err: err, Text: text, Took: time.Since(began)})
	return err
}

// try goes through the steps until one fails, which has been reported then.
func (t *tester) try(ctx context.Context, srv server) {
	d := dialer{server: srv, tls: t.c.config().TLS, secret: t.c.deps.Secret}
	nc, err := d.dial(ctx, t.step)
	if err != nil {
		return
	}
	client := paho.NewClient(paho.ClientConfig{Conn: nc, PacketTimeout: dialTimeout})
	err = t.step("connect", func() (string, error) { return t.connect(ctx, client, srv) })
	if err != nil {
		_ = nc.Close() // paho has closed it in most cases
		return
	}
	defer func() { _ = client.Disconnect(&paho.Disconnect{}) }() // nothing depends on it
	steps := []struct {
		name string
		do   func() error
	}{
		{"publish data", func() error { return testPublish(ctx, client, t.c.testTopic(), "[]") }},
		{"publish status", func() error { return testPublish(ctx, client, t.c.statusTopic()+"/test", "") }},
	}
	if t.c.commands != nil {
		steps = append(steps, struct {
			name string
			do   func() error
		}{"subscribe to commands", func() error { return subscribe(ctx, client, t.c.commands.topic) }})
	}
	for _, s := range steps {
		if t.step(s.name, func() (string, error) { return "", s.do() }) != nil {
			return
		}
	}
}

func (t *tester) connect(ctx context.Context, client *paho.Client, srv server) (string, error) {
	p := &paho.Connect{ClientID: t.c.clientID + "-test", KeepAlive: 30, CleanStart: true, Properties: &paho.ConnectProperties{RequestProblemInfo: true}}
	if err := t.c.credentials(p); err != nil {
		return "", err
	}
	ack, err := client.Connect(ctx, p)
	if ack != nil && ack.ReasonCode >= 0x80 {
		return "", &refusal{code: ack.ReasonCode, text: ack.Properties.ReasonString}
	}
	if err != nil {
		return "", explainConnect(err)
	}
	l := readLimits((&packets.Properties{ReceiveMaximum: ack.Properties.ReceiveMaximum, MaximumPacketSize: ack.Properties.MaximumPacketSize,
		TopicAliasMaximum: ack.Properties.TopicAliasMaximum, MaximumQOS: ack.Properties.MaximumQoS}))
	if t.c.config().QoS > l.maxQoS {
		return "", &refusal{code: 0x9B, text: fmt.Sprintf("it takes QoS %d at most", l.maxQoS)}
	}
	return fmt.Sprintf("QoS up to %d, packets up to %d bytes, %d topic aliases", l.maxQoS, l.packetSize, l.aliases), nil
}

// explainConnect adds what an answer that is none may mean.
func explainConnect(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer to CONNECT in 10 s: is it an MQTT 5 broker, and is TLS what it expects?")
	}
	return fmt.Errorf("%w: the broker may not speak MQTT 5, or expects TLS", err)
}

// testTopic is the data's topic, with names that the gateway uses for itself.
func (c *Connector) testTopic() string {
	return strings.NewReplacer("{driver}", ownDriver, "{tag}", "sys.test").Replace(c.template)
}

func testPublish(ctx context.Context, client *paho.Client, topic, payload string) error {
	p := &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(payload), Properties: &paho.PublishProperties{ContentType: "application/json"}}
	p.Properties.User.Add("encoding", "identity")
	p.Properties.User.Add("test", "1")
	resp, err := client.Publish(ctx, p)
	if resp != nil && resp.ReasonCode >= 0x80 {
		return fmt.Errorf("%s: %w", topic, &refusal{code: resp.ReasonCode, text: resp.Properties.ReasonString})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", topic, err)
	}
	return nil
}
