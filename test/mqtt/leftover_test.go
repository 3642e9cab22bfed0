package mqtt

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

const gatewayID = "gw-test" // the client id too

func command(seq int) string { return fmt.Sprintf(`{"seq":%d,"tag":"plant.x","value":%d}`, seq, seq) }

// commandFilters returns the filters of the gateway's session, without those with which
// it looks for its own status.
func commandFilters(b *fakebroker.Broker) []string {
	return slices.DeleteFunc(b.Subscriptions(gatewayID), func(f string) bool { return strings.HasPrefix(f, "/edge/status/") })
}

// TestSubscriptionTakenBack changes what commands are subscribed to while the gateway is
// stopped: the broker delivers what came on the old topic meanwhile, and goes on if it
// does not unsubscribe. Nothing of it reaches a device.
func TestSubscriptionTakenBack(t *testing.T) {
	const old, narrow = "/edge/cmd/acme/line-1/#", "/edge/cmd/acme/line-1/press/+"
	refuse := func(p *fakebroker.Packet) fakebroker.Answer {
		if p.Type() == packets.Unsubscribe {
			return fakebroker.Answer{Code: 0x87}
		}
		return fakebroker.Answer{}
	}
	enabled := map[string]any{"enable": true, "allow": []any{"plant.*"}, "topic": narrow}
	cases := []struct {
		name     string
		commands map[string]any
		script   fakebroker.Script
		left     []string // filters that the session has afterwards
		status   string   // in its words
		executed int      // of one command on each topic
	}{
		{name: "narrowed", commands: enabled, left: []string{narrow}, executed: 1},
		{name: "disabled", commands: map[string]any{"enable": false}, left: nil},
		{name: "broker does not let go", commands: enabled, script: fakebroker.Script{On: refuse}, left: []string{old, narrow}, executed: 1,
			status: "unsubscribe from " + old + ", which the configuration does not name any more (what comes on it is ignored): the broker said 0x87: not authorized"},
		{name: "session lost", commands: enabled, script: fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
			return fakebroker.Answer{Forget: p.Type() == packets.Connect}
		}}, left: []string{narrow}, executed: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := fakebroker.Start(t, fakebroker.Script{})
			r := newRig(t, b.URL(), map[string]any{"commands": map[string]any{"enable": true, "allow": []any{"plant.*"}}})
			p := newPlant(r)
			r.start()
			b.WaitFor(5*time.Second, "the first subscription", func() bool { return slices.Equal(commandFilters(b), []string{old}) })
			r.stopConnector()
			if n := b.Send("/edge/cmd/acme/line-1/write", command(1)); n != 1 {
				t.Fatalf("%d sessions take the command", n)
			}
			r.cfg["commands"] = c.commands
			b.Change(func(s *fakebroker.Script) { *s = c.script })
			r.start()
			b.WaitFor(5*time.Second, "the subscriptions to be put right", func() bool { return slices.Equal(commandFilters(b), c.left) })
			b.Send("/edge/cmd/acme/line-1/write", command(2))
			b.Send("/edge/cmd/acme/line-1/press/write", command(3))
			b.WaitFor(5*time.Second, "the command of now", func() bool { _, n := p.counts(); return n >= c.executed })
			r.publish(100)
			r.waitDelivered(5 * time.Second)
			if _, n := p.counts(); n != c.executed {
				t.Errorf("%d commands were executed, want %d", n, c.executed)
			}
			if e := r.conn.Status().Error; !strings.Contains(e, c.status) || (e == "") != (c.status == "") {
				t.Errorf("status says %q, want %q", e, c.status)
			}
		})
	}
}

// TestSubscriptionUnknown delivers on a subscription that nothing here knows of.
func TestSubscriptionUnknown(t *testing.T) {
	b := fakebroker.Start(t, fakebroker.Script{})
	r := newRig(t, b.URL(), map[string]any{"commands": map[string]any{"enable": true, "allow": []any{"plant.*"}, "topic": "cmd/press"}})
	p := newPlant(r)
	r.start()
	b.WaitFor(5*time.Second, "the subscription", func() bool { return len(commandFilters(b)) == 1 })
	b.Subscribe(gatewayID, "#")
	b.Send("cmd/oven", command(1))
	b.Send("cmd/press", command(2))
	b.WaitFor(5*time.Second, "both to be acknowledged", func() bool { return len(b.Packets(packets.Puback)) == 2 })
	b.WaitFor(5*time.Second, "the command", func() bool { _, n := p.counts(); return n > 0 })
	if logged, executed := p.counts(); logged != 1 || executed != 1 {
		t.Errorf("%d commands logged, %d executed; want the one on the topic that is configured", logged, executed)
	}
}

// TestLoggedThenForbidden stops the gateway between the acceptance of a command and its
// execution, and takes the right away meanwhile.
func TestLoggedThenForbidden(t *testing.T) {
	b := fakebroker.Start(t, fakebroker.Script{})
	r := newRig(t, b.URL(), map[string]any{"commands": map[string]any{"enable": true, "allow": []any{"plant.*"}}})
	p := newPlant(r)
	p.block = make(chan struct{}) // the first one occupies the tag
	r.start()
	b.WaitFor(5*time.Second, "the subscription", func() bool { return len(commandFilters(b)) == 1 })
	b.Send(cmdTopic, command(1))
	b.Send(cmdTopic, command(2))
	b.WaitFor(5*time.Second, "both to be logged", func() bool { n, _ := p.counts(); return n == 2 })
	b.WaitFor(5*time.Second, "both to be acknowledged", func() bool { return len(b.Packets(packets.Puback)) == 2 })
	r.stopConnector()
	r.cfg["commands"] = map[string]any{"enable": true, "allow": []any{"plant.other"}}
	r.start()
	b.WaitFor(5*time.Second, "an answer to the second", func() bool {
		return slices.ContainsFunc(b.Delivered(), func(p *fakebroker.Packet) bool {
			return strings.Contains(string(p.Payload), `"seq":2`) && strings.Contains(string(p.Payload), "does not allow it any more")
		})
	})
	if _, n := p.counts(); n != 1 {
		t.Errorf("%d commands were executed", n)
	}
}

// TestStatusTakenBack changes the device, so that the status topic is another one: the
// old message goes, unless another gateway has the topic now.
func TestStatusTakenBack(t *testing.T) {
	t.Parallel()
	const before, now = "/edge/status/acme/line-1", "/edge/status/acme/line-2"
	t.Run("fake broker", func(t *testing.T) {
		b := fakebroker.Start(t, fakebroker.Script{})
		r := newRig(t, b.URL(), nil)
		r.start()
		b.WaitFor(5*time.Second, "the first status", func() bool { return b.Retained(before) != nil })
		r.stopConnector()
		b.WaitFor(5*time.Second, "the will", func() bool { return strings.Contains(string(b.Retained(before)), "offline") })
		r.device = "line-2"
		r.start()
		b.WaitFor(5*time.Second, "the old status to be removed", func() bool {
			return b.Retained(before) == nil && b.Retained(now) != nil && b.Retained(before+"/seq") == nil
		})
		b.WaitFor(5*time.Second, "no subscription to be left", func() bool { return len(b.Subscriptions(gatewayID)) == 0 })
		if e := r.conn.Status().Error; e != "" {
			t.Errorf("status says %q", e)
		}
	})
	t.Run("topic has passed on", func(t *testing.T) {
		broker := peer.StartMosquitto(t)
		operator := dial(t, broker.Addr, "operator")
		r := newRig(t, broker.URL(), nil)
		r.start()
		r.waitState("up")
		operator.subscribe(t, "/edge/status/#")
		peer.WaitFor(t, 5*time.Second, "the first status", func() bool { return len(operator.received()) > 0 })
		r.stopConnector()
		other := `{"status":"online","gateway":"gw-other"}`
		operator.publish(t, &paho.Publish{Topic: before, QoS: 1, Retain: true, Payload: []byte(other)})
		r.device = "line-2"
		r.start()
		peer.WaitFor(t, 5*time.Second, "the new status", func() bool {
			return slices.ContainsFunc(operator.received(), func(p *paho.Publish) bool { return p.Topic == now })
		})
		late := dial(t, broker.Addr, "late")
		late.subscribe(t, "/edge/status/#")
		peer.WaitFor(t, 5*time.Second, "both messages", func() bool { return len(late.received()) == 2 })
		for _, p := range late.received() {
			if p.Topic == before && string(p.Payload) != other {
				t.Errorf("%s holds %q", p.Topic, p.Payload)
			}
		}
	})
	t.Run("may not be read", func(t *testing.T) {
		b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
			if p.Type() == packets.Subscribe {
				return fakebroker.Answer{Code: 0x87}
			}
			return fakebroker.Answer{}
		}})
		r := newRig(t, b.URL(), nil)
		r.start()
		b.WaitFor(5*time.Second, "the first status", func() bool { return b.Retained(before) != nil })
		r.stopConnector()
		r.device = "line-2"
		r.start()
		b.WaitFor(5*time.Second, "words", func() bool { return strings.Contains(r.conn.Status().Error, "may be retained on "+before) })
		if r.conn.Status().State != "up" {
			t.Errorf("state %s", r.conn.Status().State)
		}
	})
}
