package mqtt

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
)

// Test implements [connector.Connector]: name, TCP, TLS, WebSocket, CONNECT, the
// right to publish on the data's topic and on the status topic, and to subscribe
// to commands. It connects as CLIENT_ID-test, because the broker would end the
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
	terms  *terms
	will   willMode // what was taken of the last will
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
	client, l := t.connect(ctx, srv)
	if client == nil {
		return
	}
	never := uint32(0) // the session of the test ends with it
	defer func() {
		_ = client.Disconnect(&paho.Disconnect{Properties: &paho.DisconnectProperties{SessionExpiryInterval: &never}}) // nothing depends on it
	}()
	type check struct {
		name string
		do   func() (text string, err error)
	}
	steps := []check{{"publish data", func() (string, error) { return "", testPublish(ctx, client, t.c.testTopic(), "[]", false, l) }}}
	if t.c.config().Status.Enable {
		retain := t.c.config().Status.Retain && !l.noRetain && t.will == willWhole
		steps = append(steps, check{"publish status", func() (string, error) { return "", testPublish(ctx, client, t.c.statusTopic()+"/test", "", retain, l) }})
	}
	if t.c.commands != nil {
		steps = append(steps, check{"subscribe to commands", func() (string, error) {
			if err := l.takesFilter(t.c.commands.topic); err != nil {
				return "", err
			}
			less, err := subscribe(ctx, client, t.c.commands.topic)
			if less != nil {
				return less.Error(), err
			}
			return "", err
		}})
	}
	for _, s := range steps {
		if t.step(s.name, s.do) != nil {
			return
		}
	}
}

// connect makes a connection with the CONNECT that the connector uses, but for its
// client id, and takes the same smaller steps when the last will may be what is
// refused. It reports the last attempt.
func (t *tester) connect(ctx context.Context, srv server) (client *paho.Client, l limits) {
	t.terms = newTerms(t.c.config())
	t.terms.taken = 1 // a person waits: one refusal is enough to go on
	for first := true; ; first = false {
		run := t.step
		if !first {
			run = plainStep
			if t.c.pauseBetween(ctx) != nil {
				return nil, l
			}
		}
		last := connector.Step{Name: t.prefix + connectStep}
		v := &visit{dialer: t.c.dialer(srv, t.terms), name: connectStep, run: func(name string, do func() (string, error)) error {
			if name != connectStep {
				return run(name, do)
			}
			began := time.Now()
			last.Text, last.Err = do()
			last.Took = time.Since(began)
			return last.Err
		}}
		before := *t.terms
		err := v.pay(ctx, func(nc *conn, c *paho.Client) (text string, err error) {
			client = c
			text, l, err = t.call(ctx, c, nc)
			return text, err
		})
		switch {
		case err == nil:
			t.report(last)
			return client, l
		case v.arrived:
			t.terms.refused(err)
			if t.terms.at > before.at || t.terms.qos0 != before.qos0 || len(t.terms.offers) != len(before.offers) {
				continue
			}
		case first: // the step was reported
			return nil, l
		}
		last.Err = err
		t.report(last)
		return nil, l
	}
}

// connectStep is the step that sends CONNECT.
const connectStep = "connect"

// call sends the CONNECT and says what the broker allows.
func (t *tester) call(ctx context.Context, client *paho.Client, nc *conn) (string, limits, error) {
	p, err := t.c.connectPacket(t.c.clientID+"-test", t.terms)
	if err != nil {
		return "", limits{}, err
	}
	p.CleanStart = true
	if p.WillMessage != nil { // should the test be cut off, it tells no lie
		if p.WillMessage.Payload, err = json.Marshal(t.c.statusMessage(t.c.onlineNow())); err != nil {
			return "", limits{}, err
		}
	}
	ack, err := call(ctx, client, nc, p)
	if err != nil {
		return "", limits{}, err
	}
	l := readLimits(connackProperties(ack))
	t.will = t.terms.next().will
	if t.c.config().QoS > l.maxQoS && !t.c.config().Lower {
		return "", l, &refusal{code: codeNoQoS, own: true, why: fmt.Sprintf("it takes QoS %d at most; lower_qos: true goes on with that", l.maxQoS)}
	}
	text := l.String()
	if t.terms.next().old {
		text = "MQTT 3.1.1, " + text
	}
	if will := t.terms.accepted(!l.noRetain); will != nil {
		text += "; " + will.Error()
	}
	for _, s := range t.c.shortfalls(l) {
		text += "; " + s.part + ": " + s.err.Error()
	}
	return text, l, nil
}

// connackProperties returns the properties of a CONNACK as they were on the wire.
func connackProperties(a *paho.Connack) *packets.Properties {
	p := a.Properties
	flag := func(yes bool) *byte {
		if yes {
			return nil
		}
		return new(byte)
	}
	return &packets.Properties{ReceiveMaximum: p.ReceiveMaximum, MaximumPacketSize: p.MaximumPacketSize, TopicAliasMaximum: p.TopicAliasMaximum,
		MaximumQOS: p.MaximumQoS, SessionExpiryInterval: p.SessionExpiryInterval, ServerKeepAlive: p.ServerKeepAlive,
		RetainAvailable: flag(p.RetainAvailable), WildcardSubAvailable: flag(p.WildcardSubAvailable), SharedSubAvailable: flag(p.SharedSubAvailable)}
}

// onlineNow returns the status that the gateway has at the broker.
func (c *Connector) onlineNow() string {
	if c.currentLink() == nil {
		return "offline"
	}
	return "online"
}

// testTopic is the data's topic, with names that the gateway uses for itself.
func (c *Connector) testTopic() string {
	return strings.NewReplacer("{driver}", ownDriver, "{tag}", "sys.test").Replace(c.template)
}

func testPublish(ctx context.Context, client *paho.Client, topic, payload string, retain bool, l limits) error {
	p := &paho.Publish{Topic: topic, QoS: min(1, l.maxQoS), Retain: retain, Payload: []byte(payload), Properties: &paho.PublishProperties{ContentType: "application/json"}}
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
