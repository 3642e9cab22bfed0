package mqtt

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// fakeRig returns a fake broker and a rig that is not started. What the broker has
// got in the end must be each frame once.
func fakeRig(t *testing.T, s fakebroker.Script, cfg map[string]any) (*fakebroker.Broker, *rig) {
	t.Helper()
	b := fakebroker.Start(t, s)
	return b, newRig(t, b.URL(), cfg)
}

// onceEach checks that the broker has got each frame once, and none is missing.
func onceEach(t *testing.T, b *fakebroker.Broker, r *rig) {
	t.Helper()
	report := b.Ledger()
	if len(report.Gateways) != 1 {
		t.Fatalf("ledger: %+v", report)
	}
	if g := report.Gateways[0]; g.Frames != uint64(r.value) || g.Repeats != 0 || len(g.Gaps) != 0 {
		t.Errorf("%d frames, %d repeats, gaps %v; %d frames were published", g.Frames, g.Repeats, g.Gaps, r.value)
	}
}

// deliver publishes frames and checks that the broker gets them once.
func deliver(t *testing.T, b *fakebroker.Broker, r *rig) {
	t.Helper()
	r.publish(300)
	r.waitDelivered(15 * time.Second)
	b.WaitFor(5*time.Second, "what was written with QoS 0 to be read", func() bool { n, _, _ := summed(b.Ledger()); return n >= 300 })
	onceEach(t, b, r)
}

// says waits until the connector is in a state and its error holds all the words.
func says(t *testing.T, r *rig, state string, words ...string) {
	t.Helper()
	ok := func() bool {
		s := r.conn.Status()
		return s.State == state && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s.Error, w) })
	}
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) { // the connector works elsewhere
		if time.Now().After(deadline) {
			t.Fatalf("status %+v; want %s with %q", r.conn.Status(), state, words)
		}
	}
}

// connects returns the CONNECTs that came with the connector's own client id.
func connects(b *fakebroker.Broker) (out []*fakebroker.Packet) {
	for _, p := range b.Packets(packets.Connect) {
		if p.Client == "gw-test" {
			out = append(out, p)
		}
	}
	return out
}

// quota is a broker that takes one CONNECT in a second, and turns the others away
// in its way.
func quota(refuse fakebroker.Answer) func(*fakebroker.Packet) fakebroker.Answer {
	last := time.Time{}
	return func(p *fakebroker.Packet) fakebroker.Answer {
		if p.Type() != packets.Connect {
			return fakebroker.Answer{}
		}
		defer func() { last = p.At }()
		if p.At.Sub(last) < time.Second {
			return refuse
		}
		return fakebroker.Answer{}
	}
}

// TestConnectQuota connects to brokers that take one CONNECT in a second: at the
// first attempt where nothing is to be ended there, and soon otherwise.
func TestConnectQuota(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]fakebroker.Answer{"rate exceeded": {Code: 0x9F}, "closed": {Close: true, Lost: true}, "busy": {Code: 0x89}, "quota": {Code: 0x97}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, r := fakeRig(t, fakebroker.Script{On: quota(refuse)}, nil)
			r.start()
			r.waitState("up")
			deliver(t, b, r)
			if n := len(connects(b)); n != 1 {
				t.Errorf("%d CONNECTs; a session that nobody has had needs one", n)
			}
			b.Drop() // within the second
			deliver(t, b, r)
			if n := len(connects(b)); n > 4 {
				t.Errorf("%d CONNECTs in all; the broker takes one in a second", n)
			}
		})
	}
}

// TestForeignSession finds a session under its client id at a broker with a quota:
// it is ended, and what another client left in it is not taken.
func TestForeignSession(t *testing.T) {
	t.Parallel()
	for name, keeps := range map[string]bool{"ended by DISCONNECT": false, "ended by a clean start": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := quota(fakebroker.Answer{Code: 0x9F})
			b, r := fakeRig(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
				if keeps && p.Type() == packets.Disconnect {
					return fakebroker.Answer{Close: true, Lost: true} // and the session stays
				}
				return q(p)
			}}, nil)
			b.Subscribe("gw-test", "/old/#")
			r.start()
			r.waitState("up")
			deliver(t, b, r)
			if s := b.Subscriptions("gw-test"); slices.Contains(s, "/old/#") {
				t.Errorf("the session of before is still there, with %q", s)
			}
			want := 2
			if keeps {
				want = 4
			}
			if n := len(connects(b)); n != want {
				t.Errorf("%d CONNECTs, want %d", n, want)
			}
		})
	}
}

// TestBusyBroker counts how often a broker is asked that says that it is busy.
func TestBusyBroker(t *testing.T) {
	t.Parallel()
	b, r := fakeRig(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer { return fakebroker.Answer{Code: 0x88} }}, nil)
	r.start()
	says(t, r, "down", "0x88", "less often")
	time.Sleep(1500 * time.Millisecond) // in which a back-off of 20 to 300 ms would try six times and more
	if n := len(connects(b)); n != 1 {
		t.Errorf("%d CONNECTs in the first second and a half", n)
	}
	b.Heal()
	r.waitState("up")
	deliver(t, b, r)
}

// TestNoRetain connects to brokers that take no retained last will, in each way in
// which they say so, or do not.
func TestNoRetain(t *testing.T) {
	t.Parallel()
	unavailable := packets.Properties{RetainAvailableFlag: true, RetainAvailable: 0}
	cases := map[string]struct {
		refuse  fakebroker.Answer
		connack packets.Properties
		most    int // CONNECTs
	}{
		"0x9A":                     {refuse: fakebroker.Answer{Code: 0x9A}, connack: unavailable, most: 2},
		"0x9A without the flag":    {refuse: fakebroker.Answer{Code: 0x9A}, most: 2},
		"closed":                   {refuse: fakebroker.Answer{Close: true, Lost: true}, connack: unavailable, most: 3},
		"closed without the flag":  {refuse: fakebroker.Answer{Close: true, Lost: true}, most: 3},
		"implementation specific":  {refuse: fakebroker.Answer{Code: 0x83}, most: 3},
		"unspecified":              {refuse: fakebroker.Answer{Code: 0x80}, most: 3},
		"disconnect with its code": {refuse: fakebroker.Answer{Disconnect: 0x9A, Lost: true}, connack: unavailable, most: 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, r := fakeRig(t, fakebroker.Script{Connack: c.connack, On: func(p *fakebroker.Packet) fakebroker.Answer {
				if p.Type() == packets.Connect && p.Connect.WillRetain {
					return c.refuse
				}
				return fakebroker.Answer{}
			}}, nil)
			r.start()
			says(t, r, "up", "set status.retain: false")
			deliver(t, b, r)
			if n := len(connects(b)); n > c.most {
				t.Errorf("%d CONNECTs, want %d at most", n, c.most)
			}
			peer.WaitFor(t, 5*time.Second, "the status, not retained", func() bool {
				return slices.ContainsFunc(b.Delivered(), func(p *fakebroker.Packet) bool {
					return p.TopicName == "/edge/status/acme/line-1" && !p.FixedHeader.Retain
				})
			})
			steps := testSteps(t, r.conn)
			if s := steps["connect"]; s.Err != nil || !strings.Contains(s.Text, "status.retain") {
				t.Errorf("test: connect %v %q", s.Err, s.Text)
			}
			if s := steps["publish status"]; s.Err != nil {
				t.Errorf("test: publish status %v", s.Err)
			}
			r.stopConnector()
			r.cfg["status"] = map[string]any{"retain": false}
			before := len(connects(b))
			r.start()
			says(t, r, "up")
			deliver(t, b, r)
			if s := r.conn.Status(); s.Error != "" || len(connects(b)) != before+1 {
				t.Errorf("with status.retain: false: %q after %d CONNECTs", s.Error, len(connects(b))-before)
			}
		})
	}
}

// TestNoWill connects to a broker that does not let the gateway set a last will.
func TestNoWill(t *testing.T) {
	t.Parallel()
	b, r := fakeRig(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if p.Type() == packets.Connect && p.Connect.WillFlag {
			return fakebroker.Answer{Code: 0x87}
		}
		return fakebroker.Answer{}
	}}, nil)
	r.start()
	says(t, r, "up", "last will", "status.enable: false", "0x87")
	deliver(t, b, r)
	r.stopConnector()
	r.cfg["status"] = map[string]any{"enable": false}
	r.start()
	says(t, r, "up")
	n := len(b.Delivered())
	deliver(t, b, r)
	for _, p := range b.Delivered()[n:] {
		if p.TopicName != dataTopic {
			t.Errorf("a message on %s with status.enable: false", p.TopicName)
		}
	}
}

// TestStatusTopic has status and will where they are configured.
func TestStatusTopic(t *testing.T) {
	b, r := fakeRig(t, fakebroker.Script{}, map[string]any{"status": map[string]any{"topic": "plant/{device}/state"}})
	r.start()
	r.waitState("up")
	peer.WaitFor(t, 5*time.Second, "the status", func() bool { return strings.Contains(string(b.Retained("plant/line-1/state")), `"online"`) })
	if w := connects(b)[0].Connect; w.WillTopic != "plant/line-1/state" || !w.WillRetain {
		t.Errorf("will on %q, retained %v", w.WillTopic, w.WillRetain)
	}
}

// TestWrongPassword is not taken for a matter of the last will.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	b, r := fakeRig(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer { return fakebroker.Answer{Code: 0x86} }}, nil)
	r.start()
	says(t, r, "fault", "0x86", "check username and password")
	time.Sleep(2 * time.Second) // for some attempts
	for _, p := range connects(b) {
		if !p.Connect.WillRetain {
			t.Error("a CONNECT without the whole last will")
		}
	}
}

// TestShortfalls has brokers lack other features: data flows, and the status says
// what does not work, and what to do.
func TestShortfalls(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		connack packets.Properties
		cfg     map[string]any
		words   []string
	}{
		"wildcards": {packets.Properties{WildcardSubAvailableFlag: true}, nil, []string{"commands", "/edge/cmd/acme/line-1/#", "without + and #"}},
		"shared subscriptions": {packets.Properties{SharedSubAvailableFlag: true},
			map[string]any{"commands": map[string]any{"enable": true, "topic": "$share/g/cmd"}}, []string{"commands", "without $share"}},
		"retain": {packets.Properties{RetainAvailableFlag: true}, nil, []string{"status", "set status.retain: false"}},
		"session expiry": {packets.Properties{SessionExpiryIntervalFlag: true, SessionExpiryInterval: 600}, nil,
			[]string{"session", "10m0s", "24h0m0s", "may arrive twice"}},
		"no session": {packets.Properties{SessionExpiryIntervalFlag: true}, nil, []string{"session", "0s", "may arrive twice"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := map[string]any{"commands": map[string]any{"enable": true}}
			for k, v := range c.cfg {
				cfg[k] = v
			}
			b, r := fakeRig(t, fakebroker.Script{Connack: c.connack}, cfg)
			r.commands = newPlant(r)
			r.start()
			says(t, r, "up", c.words...)
			deliver(t, b, r)
			says(t, r, "up", c.words...)
			steps := testSteps(t, r.conn)
			text := ""
			for _, s := range steps {
				text += s.Text
				if s.Err != nil {
					text += s.Err.Error()
				}
			}
			for _, w := range c.words {
				if w != "commands" && !strings.Contains(text, w) {
					t.Errorf("test says %q, which lacks %q", text, w)
				}
			}
		})
	}
}

// TestSmallLimits delivers within small limits, with what they need left over for
// the connector's own messages.
func TestSmallLimits(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		connack packets.Properties
		cfg     map[string]any
		state   string
	}{
		"receive maximum 1":   {connack: packets.Properties{ReceiveMaximum: 1}},
		"no alias":            {cfg: map[string]any{"topic": "/e/{tag}"}},
		"one alias":           {connack: packets.Properties{TopicAliasMaximum: 1}, cfg: map[string]any{"topic": "/e/{tag}"}},
		"QoS 1":               {connack: packets.Properties{MaximumQosFlag: true, MaximumQos: 1}, cfg: map[string]any{"qos": 1}},
		"QoS 0":               {connack: packets.Properties{MaximumQosFlag: true}, cfg: map[string]any{"qos": 0}},
		"packets of 400":      {connack: packets.Properties{MaximumPacketSize: 400}, cfg: map[string]any{"payload": "json"}},
		"packets of 700":      {connack: packets.Properties{MaximumPacketSize: 700}, cfg: map[string]any{"payload": "json"}},
		"packets of 700, tag": {connack: packets.Properties{MaximumPacketSize: 700}, cfg: map[string]any{"payload": "json", "topic": "/e/{tag}"}},
		"keep alive 1":        {connack: packets.Properties{ServerKeepAliveFlag: true, ServerKeepAlive: 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			most := int(c.connack.MaximumPacketSize)
			b, r := fakeRig(t, fakebroker.Script{Connack: c.connack, On: func(p *fakebroker.Packet) fakebroker.Answer {
				if most > 0 && p.Type() != packets.Connect && p.Size > most {
					return fakebroker.Answer{Disconnect: 0x95, Lost: true}
				}
				return fakebroker.Answer{}
			}}, c.cfg)
			r.start()
			r.waitState("up")
			deliver(t, b, r)
			if s := r.conn.Status(); s.State != "up" || s.Reconnects != 0 || s.Refused != 0 {
				t.Errorf("status %+v", s)
			}
			if most > 0 && len(b.Packets(packets.Publish)) > 320 {
				t.Errorf("%d messages for 300 frames", len(b.Packets(packets.Publish)))
			}
		})
	}
}

// TestPingLost has a broker that answers pings no more: that is what the status
// says, and nobody is suspected.
func TestPingLost(t *testing.T) {
	t.Parallel()
	deaf := func(p *fakebroker.Packet) fakebroker.Answer {
		return fakebroker.Answer{Lost: p.Type() == packets.Pingreq}
	}
	b, r := fakeRig(t, fakebroker.Script{On: deaf}, map[string]any{"keepalive": "1s", "backoff": map[string]any{"base": "5s", "max": "10s"}})
	r.start()
	r.waitState("up")
	says(t, r, "down", "no answer to a ping within 2s")
	if s := r.conn.Status(); strings.Contains(s.Error, "closed network") || strings.Contains(s.Error, "second gateway") {
		t.Errorf("status: %s", s.Error)
	}
	b.Heal()
	r.conn.Reconnect()
	r.waitState("up")
	deliver(t, b, r)
}

// TestHungUp tells a broker that hangs up from a connection that this side closed.
func TestHungUp(t *testing.T) {
	t.Parallel()
	b, r := fakeRig(t, fakebroker.Script{}, map[string]any{"backoff": map[string]any{"base": "5s", "max": "10s"}})
	r.start()
	r.waitState("up")
	deliver(t, b, r)
	b.Drop()
	says(t, r, "down", "the broker closed the connection without a reason")
	if s := r.conn.Status().Error; strings.Contains(s, "closed network") {
		t.Errorf("status: %s", s)
	}
}

// TestRedirect is sent to another broker, by CONNACK and by DISCONNECT.
func TestRedirect(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]byte{"for once": 0x9C, "for good": 0x9D} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			second := fakebroker.Start(t, fakebroker.Script{})
			first, r := fakeRig(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
				return fakebroker.Answer{Code: code, Properties: &packets.Properties{ServerReference: second.Addr}}
			}}, nil)
			r.start()
			want := map[byte]string{0x9C: "down", 0x9D: "fault"}[code]
			says(t, r, want, second.Addr, "follow_redirect: true")
			r.stopConnector()
			r.cfg["follow_redirect"] = true
			asked := len(connects(first))
			r.start()
			r.waitState("up")
			deliver(t, second, r)
			second.Drop()
			deliver(t, second, r)
			times := len(connects(first)) - asked
			if code == 0x9D && times != 1 || code == 0x9C && times < 2 {
				t.Errorf("the first broker was asked %d times", times)
			}
		})
	}
}

// TestLastingRefusal has a broker refuse messages for a reason that it does not
// name: after some attempts nothing is ready any more.
func TestLastingRefusal(t *testing.T) {
	t.Parallel()
	b, r := fakeRig(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if p.Type() == packets.Publish && p.FixedHeader.Qos == 2 {
			return fakebroker.Answer{Code: 0x83}
		}
		return fakebroker.Answer{}
	}}, nil)
	r.start()
	r.publish(100)
	says(t, r, "up", "0x83")
	says(t, r, "fault", "0x83", dataTopic)
	b.Heal()
	r.waitState("up")
	r.waitDelivered(10 * time.Second)
	deliver(t, b, r)
}

// TestWrongDoor connects to what is no MQTT 5 broker on this port, and says what it
// is.
func TestWrongDoor(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer []byte
		state  string
		words  []string
	}{
		"TLS":                  {[]byte("\x15\x03\x01\x00\x02\x02\x46"), "fault", []string{"TLS", "mqtts://"}},
		"HTTP":                 {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "fault", []string{"HTTP", "ws://"}},
		"something else":       {[]byte("SSH-2.0-OpenSSH_9.6\r\n"), "down", []string{"SSH-2.0", "check host and port"}},
		"MQTT 3.1.1, refused":  {[]byte("\x20\x02\x00\x01"), "fault", []string{"does not speak MQTT 5", "version: 3.1.1"}},
		"MQTT 3.1.1, accepted": {[]byte("\x20\x02\x00\x00"), "fault", []string{"does not speak MQTT 5", "version: 3.1.1"}},
		"MQTT 3.1.1, password": {[]byte("\x20\x02\x00\x04"), "fault", []string{"check username and password"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, r := fakeRig(t, fakebroker.Script{On: func(*fakebroker.Packet) fakebroker.Answer { return fakebroker.Answer{Raw: c.answer} }}, nil)
			r.start()
			says(t, r, c.state, c.words...)
		})
	}
}
