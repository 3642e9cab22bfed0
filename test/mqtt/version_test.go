package mqtt

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/receiver"
	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// TestVersion311 delivers to a broker that speaks MQTT 3.1.1 only, once, through lost
// connections and a restart of the connector, in each encoding.
func TestVersion311(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{"json", "json+zstd", "protobuf", "protobuf+zstd"} {
		t.Run(payload, func(t *testing.T) {
			t.Parallel()
			b, r := fakeRig(t, fakebroker.Script{Versions: []byte{4}}, map[string]any{"version": "3.1.1", "envelope": true, "payload": payload})
			r.start()
			r.waitState("up")
			deliver(t, b, r)
			for i := range 3 { // the answers to what is in flight get lost
				b.Change(func(s *fakebroker.Script) {
					s.On = func(p *fakebroker.Packet) fakebroker.Answer {
						return fakebroker.Answer{Close: p.Type() == []byte{packets.Publish, packets.Pubrel, packets.Publish}[i] && p.FixedHeader.Qos != 0, Lost: i == 2}
					}
				})
				r.publish(200)
				r.waitState("down")
				b.Change(func(s *fakebroker.Script) { s.On = nil })
				deliver(t, b, r)
			}
			r.stopConnector()
			r.start()
			deliver(t, b, r)
			dup := slices.ContainsFunc(b.Packets(packets.Publish), func(p *fakebroker.Packet) bool { return p.FixedHeader.Dup })
			if !dup {
				t.Error("nothing was sent again")
			}
		})
	}
}

// TestVersionAuto finds out that a broker speaks MQTT 3.1.1 only, whether it says so
// or hangs up, and asks it once.
func TestVersionAuto(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*fakebroker.Packet) fakebroker.Answer{
		"says so": nil,
		"hangs up": func(p *fakebroker.Packet) fakebroker.Answer {
			return fakebroker.Answer{Close: p.Type() == packets.Connect && p.ProtocolVersion == 5, Lost: p.ProtocolVersion == 5}
		},
		"says 0x84": func(p *fakebroker.Packet) fakebroker.Answer {
			if p.Type() == packets.Connect && p.ProtocolVersion == 5 {
				return fakebroker.Answer{Raw: []byte("\x20\x03\x00\x84\x00"), Lost: true}
			}
			return fakebroker.Answer{}
		},
	}
	for name, on := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, r := fakeRig(t, fakebroker.Script{Versions: []byte{4}, On: on}, map[string]any{"version": "auto"})
			r.start()
			r.waitState("up")
			deliver(t, b, r)
			if s := r.conn.Status(); s.Error != "" {
				t.Errorf("status: %s", s.Error)
			}
			if s := testSteps(t, r.conn)["connect"]; s.Err != nil || !strings.Contains(s.Text, "MQTT 3.1.1") {
				t.Errorf("test: connect %v %q", s.Err, s.Text)
			}
			before := len(connects(b))
			b.Drop()
			deliver(t, b, r)
			if n := len(connects(b)) - before; name != "hangs up" && n != 1 {
				t.Errorf("%d CONNECTs to come back", n)
			}
		})
	}
}

// TestVersionAutoKeeps5 speaks version 5 with a broker that does.
func TestVersionAutoKeeps5(t *testing.T) {
	t.Parallel()
	b, r := fakeRig(t, fakebroker.Script{}, map[string]any{"version": "auto"})
	r.start()
	r.waitState("up")
	deliver(t, b, r)
	if p := b.Packets(packets.Publish)[0]; p.ProtocolVersion != 5 {
		t.Errorf("version %d", p.ProtocolVersion)
	}
}

// TestVersionRefused says what to do about a broker of the other version.
func TestVersionRefused(t *testing.T) {
	t.Parallel()
	_, r := fakeRig(t, fakebroker.Script{Versions: []byte{4}}, nil)
	r.start()
	says(t, r, "fault", "does not speak MQTT 5", "version: 3.1.1")
}

// TestOldPassword has a broker of 3.1.1 refuse the password in its own way.
func TestOldPassword(t *testing.T) {
	t.Parallel()
	_, r := fakeRig(t, fakebroker.Script{Versions: []byte{4}, On: func(*fakebroker.Packet) fakebroker.Answer {
		return fakebroker.Answer{Raw: []byte("\x20\x02\x00\x04"), Lost: true}
	}}, map[string]any{"version": "3.1.1"})
	r.start()
	says(t, r, "fault", "check username and password")
}

// TestOldCommands takes commands over MQTT 3.1.1 and answers them.
func TestOldCommands(t *testing.T) {
	t.Parallel()
	b, r := fakeRig(t, fakebroker.Script{Versions: []byte{4}}, map[string]any{"version": "3.1.1", "commands": map[string]any{"enable": true, "allow": []any{"line.*"}}})
	plant := newPlant(r)
	r.commands = plant
	r.start()
	peer.WaitFor(t, 5*time.Second, "the subscription", func() bool { return len(b.Subscriptions("gw-test")) == 1 })
	if n := b.Send("/edge/cmd/acme/line-1/x", `{"seq":1,"tag":"line.t00","value":5}`); n != 1 {
		t.Fatalf("sent to %d sessions", n)
	}
	peer.WaitFor(t, 10*time.Second, "the answer", func() bool {
		return slices.ContainsFunc(b.Delivered(), func(p *fakebroker.Packet) bool {
			return p.TopicName == "/edge/cmd-result/acme/line-1" && strings.Contains(string(p.Payload), `"result":"ok"`)
		})
	})
	if _, executed := plant.counts(); executed != 1 {
		t.Errorf("executed %d times", executed)
	}
}

// TestOldWithMosquitto delivers in MQTT 3.1.1 through a real broker, cut off again
// and again, to a consumer that speaks 3.1.1 too.
func TestOldWithMosquitto(t *testing.T) {
	t.Parallel()
	said := filepath.Join(t.TempDir(), "mosquitto.log")
	broker := peer.StartMosquitto(t, "log_dest file "+said, "log_type subscribe")
	ledger, err := receiver.OpenLedger("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- receiver.Run(ctx, receiver.Config{Broker: broker.URL(), Topic: "/edge/#", ClientID: "old", QoS: 2, Old: true, SessionExpiry: time.Hour,
			Unit: frame.Milliseconds, Ledger: ledger, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	p := newProxy(t, broker.Addr)
	r := newRig(t, p.url(), map[string]any{"version": "3.1.1"})
	peer.WaitFor(t, 20*time.Second, "the consumer's subscription", func() bool {
		text, err := os.ReadFile(said)
		return err == nil && strings.Contains(string(text), "old 2 /edge/#")
	})
	r.start()
	r.waitState("up")
	for range 5 {
		r.publish(500)
		time.Sleep(50 * time.Millisecond) // so that something is in flight
		p.cutAll()
		p.heal()
	}
	r.waitDelivered(20 * time.Second)
	peer.WaitFor(t, 10*time.Second, "all frames", func() bool {
		rep := ledger.Report()
		return len(rep.Gateways) == 1 && rep.Gateways[0].Frames == uint64(r.value)
	})
	if rep := ledger.Report(); rep.Bad != 0 || rep.Gateways[0].Repeats != 0 || len(rep.Gateways[0].Gaps) != 0 {
		t.Errorf("report %+v", rep)
	}
}

// TestEnvelope puts the envelope into payloads of MQTT 5 too, and leaves it out of
// those of 3.1.1, as configured.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]struct {
		envelope any
		object   bool
	}{"5": {true, true}, "3.1.1": {false, false}} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b, r := fakeRig(t, fakebroker.Script{}, map[string]any{"version": version, "envelope": want.envelope, "payload": "json"})
			r.start()
			r.publish(200)
			r.waitDelivered(10 * time.Second)
			for _, p := range b.Delivered() {
				if p.TopicName != dataTopic {
					continue
				}
				if object := p.Payload[0] == '{'; object != want.object || !json.Valid(p.Payload) {
					t.Errorf("payload %.80s", p.Payload)
				}
			}
			if version == "5" {
				onceEach(t, b, r)
			}
		})
	}
}
