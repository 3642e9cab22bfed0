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

// keptOn subscribes as somebody who comes late and returns the topics on which a broker
// has kept a message.
func keptOn(t *testing.T, addr, client, filter string, want []string) {
	t.Helper()
	var got []string
	for i := 0; i < 40; i++ {
		late := dial(t, addr, fmt.Sprint(client, i))
		late.subscribe(t, filter)
		time.Sleep(200 * time.Millisecond) // nobody says that there is no more
		got = nil
		for _, p := range late.received() {
			if p.Retain {
				got = append(got, p.Topic)
			}
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("the broker keeps %v, want %v", got, want)
}

// TestRetainTopics has the broker keep the last message of some topics, and takes them
// back when the configuration asks for others; what another gateway keeps there stays.
func TestRetainTopics(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	r := newRig(t, broker.URL(), map[string]any{"topic": "re/{gateway}/{tag}", "payload": "json",
		"retain_topics": []any{"re/{gateway}/line.t01", "re/+/line.t02"}})
	r.start()
	r.publish(300)
	r.waitDelivered(10 * time.Second)
	keptOn(t, broker.Addr, "a", "re/#", []string{"re/gw-test/line.t01", "re/gw-test/line.t02"})
	operator := dial(t, broker.Addr, "operator")
	foreign := &paho.Publish{Topic: "re/gw-test/line.t02", QoS: 1, Retain: true, Payload: []byte("[]"), Properties: &paho.PublishProperties{}}
	foreign.Properties.User.Add("gw", "gw-other")

	r.stopConnector()
	operator.publish(t, foreign)
	r.cfg["topic"], r.cfg["retain_topics"] = "new/{tag}", []any{"#"}
	r.start()
	r.publish(2)
	r.waitDelivered(10 * time.Second)
	keptOn(t, broker.Addr, "b", "re/#", []string{"re/gw-test/line.t02"})
	keptOn(t, broker.Addr, "c", "new/#", []string{"new/line.t00", "new/line.t01"})

	r.stopConnector()
	delete(r.cfg, "retain_topics")
	r.start()
	keptOn(t, broker.Addr, "d", "new/#", nil)
	if e := r.conn.Status().Error; e != "" {
		t.Errorf("status says %q", e)
	}
}

// TestRetainUnavailable: data goes all the same, without retain, and that is told.
func TestRetainUnavailable(t *testing.T) {
	b := fakebroker.Start(t, fakebroker.Script{Connack: packets.Properties{RetainAvailable: 0, RetainAvailableFlag: true},
		On: func(p *fakebroker.Packet) fakebroker.Answer {
			if p.Type() == packets.Publish && p.FixedHeader.Retain {
				return fakebroker.Answer{Disconnect: 0x9A, Lost: true}
			}
			return fakebroker.Answer{}
		}})
	r := newRig(t, b.URL(), map[string]any{"retain_topics": []any{"#"}, "status": map[string]any{"retain": false}})
	r.start()
	r.publish(100)
	r.waitDelivered(10 * time.Second)
	r.words("up", "data is sent without retain", "retain_topics: []")
	checkOnce(t, b, 100)
	if n := b.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if strings.Contains(r.conn.Status().Error, "0x9A") {
		t.Errorf("status: %s", r.conn.Status().Error)
	}
}
