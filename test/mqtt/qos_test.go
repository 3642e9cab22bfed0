package mqtt

import (
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// TestQoSNotTaken has brokers take no QoS 2, each in its way: without lower_qos that is
// told, with the setting that helps; with it everything arrives, and it is told what that
// means. A broker that takes QoS 2 and hangs up for another reason keeps it.
func TestQoSNotTaken(t *testing.T) {
	at2 := func(a fakebroker.Answer) func(*fakebroker.Packet) fakebroker.Answer {
		return func(p *fakebroker.Packet) fakebroker.Answer {
			if p.Type() == packets.Publish && p.FixedHeader.Qos == 2 || p.Type() == packets.Pubrel {
				return a
			}
			return fakebroker.Answer{}
		}
	}
	announced := fakebroker.Script{Connack: packets.Properties{MaximumQos: 1, MaximumQosFlag: true}, On: at2(fakebroker.Answer{Disconnect: 0x9B, Lost: true})}
	cases := []struct {
		name    string
		version string
		script  fakebroker.Script
		words   string // without lower_qos
	}{
		{"announced", "5", announced, "it takes QoS 1 at most; lower_qos: true"},
		{"DISCONNECT 0x9B", "5", fakebroker.Script{On: at2(fakebroker.Answer{Disconnect: 0x9B, Lost: true})}, "0x9B: QoS not supported; lower qos"},
		{"PUBREC 0x9B", "5", fakebroker.Script{On: at2(fakebroker.Answer{Code: 0x9B})}, "0x9B: QoS not supported; lower qos"},
		{"hangs up", "5", fakebroker.Script{On: at2(fakebroker.Answer{Close: true, Lost: true})}, "may take QoS 1 at most, as Azure IoT Hub does: set qos: 1, or lower_qos: true"},
		{"hangs up, 3.1.1", "3.1.1", fakebroker.Script{Versions: []byte{4}, On: at2(fakebroker.Answer{Close: true, Lost: true})}, "set qos: 1, or lower_qos: true"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := fakebroker.Start(t, c.script)
			r := newRig(t, b.URL(), map[string]any{"payload": "json", "version": c.version})
			r.start()
			r.publish(300)
			r.words("fault", c.words)
			r.stopConnector()
			r.cfg["lower_qos"] = true
			r.start()
			r.publish(300)
			r.waitDelivered(20 * time.Second)
			r.words("up", "takes QoS 1 at most", "may arrive twice", "set qos: 1")
			for _, p := range b.Delivered() {
				if p.TopicName == dataTopic && p.FixedHeader.Qos != 1 {
					t.Errorf("a message with QoS %d", p.FixedHeader.Qos)
				}
			}
			if c.version == "5" {
				n, _, gaps := summed(b.Ledger())
				if n != 600 || gaps != 0 {
					t.Errorf("%d frames, %d gaps", n, gaps)
				}
			}
		})
	}
	t.Run("it was the size", func(t *testing.T) {
		t.Parallel()
		b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
			big := data(p) && p.Size > 3000
			return fakebroker.Answer{Close: big, Lost: big}
		}})
		r := newRig(t, b.URL(), map[string]any{"payload": "json", "lower_qos": true})
		r.start()
		r.publish(1000)
		r.waitDelivered(20 * time.Second)
		checkOnce(t, b, 1000)
		r.publish(10)
		r.waitDelivered(10 * time.Second)
		if e := r.conn.Status().Error; strings.Contains(e, "QoS") {
			t.Errorf("status says %q", e)
		}
		last := byte(0)
		for _, p := range b.Delivered() {
			if p.TopicName == dataTopic {
				last = p.FixedHeader.Qos
			}
		}
		if last != 2 {
			t.Errorf("the last message has QoS %d", last)
		}
	})
}

// TestCommandsGrantedLess: a broker that grants QoS 0 for commands is told.
func TestCommandsGrantedLess(t *testing.T) {
	b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if p.Type() == packets.Subscribe && p.Filters[0].Filter == "/edge/cmd/acme/line-1/#" {
			return fakebroker.Answer{Raw: []byte{0x90, 4, byte(p.PacketID >> 8), byte(p.PacketID), 0, 0}}
		}
		return fakebroker.Answer{}
	}})
	r := newRig(t, b.URL(), map[string]any{"commands": map[string]any{"enable": true, "allow": []any{"*"}}})
	newPlant(r)
	r.start()
	r.words("up", "grants QoS 0 only")
}
