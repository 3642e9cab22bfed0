package fakebroker

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/mochi-mqtt/server/v2/packets"
)

// dial connects a client that speaks MQTT 5.
func dial(t *testing.T, b *Broker, id string, received func(*paho.Publish)) (*paho.Client, *paho.Connack) {
	t.Helper()
	nc, err := net.Dial("tcp", b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{Conn: nc, PacketTimeout: 2 * time.Second, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) { received(p.Packet); return true, nil }}})
	expiry := uint32(60)
	ack, err := c.Connect(context.Background(), &paho.Connect{ClientID: id, KeepAlive: 10, Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry},
		WillMessage: &paho.WillMessage{Topic: "will", Payload: []byte("gone"), Retain: true}})
	if err != nil {
		t.Fatal(err)
	}
	return c, ack
}

// TestGood plays a good broker: sessions, subscriptions, wills, each message once.
func TestGood(t *testing.T) {
	b := Start(t, Script{})
	got := make(chan string, 4)
	c, ack := dial(t, b, "a", func(p *paho.Publish) { got <- string(p.Payload) })
	if ack.SessionPresent {
		t.Error("a new client has a session")
	}
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "x/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	for qos := range byte(3) {
		if _, err := c.Publish(t.Context(), &paho.Publish{Topic: "data", QoS: qos, Payload: []byte("1"), Retain: true}); err != nil {
			t.Fatal(err)
		}
	}
	b.Send("x/y", "now")
	if g := <-got; g != "now" {
		t.Errorf("got %q", g)
	}
	b.WaitFor(time.Second, "its PUBACK", func() bool { return len(b.Packets(packets.Puback)) == 1 })
	b.Drop()
	<-c.Done()
	b.WaitFor(time.Second, "the will", func() bool { return string(b.Retained("will")) == "gone" })
	b.Send("x/y", "later")
	c, ack = dial(t, b, "a", func(p *paho.Publish) { got <- string(p.Payload) })
	if !ack.SessionPresent {
		t.Error("the session is gone")
	}
	if g := <-got; g != "later" {
		t.Errorf("got %q", g)
	}
	if n := len(b.Delivered()); n != 3 {
		t.Errorf("%d messages delivered, want 3", n)
	}
	if f := b.Subscriptions("a"); len(f) != 1 || f[0] != "x/#" || string(b.Retained("data")) != "1" {
		t.Errorf("subscriptions %q, retained %q", f, b.Retained("data"))
	}
	if err := c.Disconnect(&paho.Disconnect{}); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
}

// TestScript gives scripted answers.
func TestScript(t *testing.T) {
	cases := []struct {
		name   string
		answer Answer
		code   byte // of the answer
		fails  bool // none comes
	}{
		{name: "refused", answer: Answer{Code: 0x87, Reason: "no"}, code: 0x87},
		{name: "late", answer: Answer{Delay: 50 * time.Millisecond}},
		{name: "swallowed", answer: Answer{Swallow: true}, fails: true},
		{name: "closed", answer: Answer{Close: true, Lost: true}, fails: true},
		{name: "disconnect", answer: Answer{Disconnect: 0x95}, fails: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := Start(t, Script{On: func(p *Packet) Answer {
				if p.Type() == packets.Publish && p.Nth == 2 {
					return c.answer
				}
				return Answer{}
			}})
			client, _ := dial(t, b, "a", func(*paho.Publish) {})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := client.Publish(ctx, &paho.Publish{Topic: "data", QoS: 1}); err != nil {
				t.Fatal(err)
			}
			resp, err := client.Publish(ctx, &paho.Publish{Topic: "data", QoS: 1})
			if c.fails != (err != nil && resp == nil) || resp != nil && resp.ReasonCode != c.code {
				t.Errorf("answer %+v, error %v", resp, err)
			}
			if n := len(b.Packets(packets.Publish)); n != 2 {
				t.Errorf("%d packets arrived", n)
			}
		})
	}
}

// TestVersions refuses a version as a broker of the other one does.
func TestVersions(t *testing.T) {
	b := Start(t, Script{Versions: []byte{4}})
	nc, err := net.Dial("tcp", b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }() // the broker has closed it
	if _, err := nc.Write([]byte{0x10, 0x0e, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 9, 0, 0, 1, 'a'}); err != nil {
		t.Fatal(err)
	}
	var answer [8]byte
	n, _ := nc.Read(answer[:])
	if string(answer[:n]) != "\x20\x02\x00\x01" {
		t.Errorf("answer % x", answer[:n])
	}
}
