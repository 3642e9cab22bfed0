package mqtt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/receiver"
	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// follow runs the reference consumer on a broker until the test ends.
func follow(t *testing.T, addr, filter string) *receiver.Ledger {
	t.Helper()
	ledger, err := receiver.OpenLedger(filepath.Join(t.TempDir(), "ledger.json"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg := receiver.Config{Broker: "mqtt://" + addr, Topic: filter, ClientID: "follow " + t.Name(), QoS: 2, SessionExpiry: time.Hour,
		Unit: frame.Milliseconds, Ledger: ledger, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	go func() { done <- receiver.Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("consumer: %v", err)
		}
	})
	// Until the subscription is there, nothing that is published is for it.
	c := dial(t, addr, "follow-probe")
	peer.WaitFor(t, 10*time.Second, "the consumer's subscription", func() bool {
		c.publish(t, &paho.Publish{Topic: strings.NewReplacer("+", "x", "#", "x").Replace(filter), QoS: 1, Payload: []byte("probe")})
		return ledger.Report().Bad > 0
	})
	return ledger
}

// checkLedger fails the test unless frames frames arrived, with no gap.
func checkLedger(t *testing.T, l *receiver.Ledger, frames uint64) receiver.Report {
	t.Helper()
	total := func() (n uint64) {
		for _, g := range l.Report().Gateways {
			n += g.Frames
		}
		return n
	}
	peer.WaitFor(t, 20*time.Second, "all frames", func() bool { return total() >= frames })
	r := l.Report()
	if n := total(); n != frames {
		t.Errorf("%d frames arrived, want %d", n, frames)
	}
	for _, g := range r.Gateways {
		if len(g.Gaps) > 0 || g.Repeats > 0 {
			t.Errorf("%s: %d repeats, gaps %v", g.Gateway, g.Repeats, g.Gaps)
		}
	}
	return r
}

// client is a plain MQTT client for what a test does itself at the broker.
type client struct {
	*paho.Client
	mu  sync.Mutex
	got []*paho.Publish
}

func dial(t *testing.T, addr, id string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := new(client)
	c.Client = paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(nc), OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got = append(c.got, p.Packet)
			return true, nil
		}}})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) }) // the test may have ended it
	return c
}

func (c *client) publish(t *testing.T, p *paho.Publish) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := c.Publish(ctx, p); err != nil {
		t.Fatal(err)
	}
}

func (c *client) subscribe(t *testing.T, filter string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
}

func (c *client) received() []*paho.Publish {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*paho.Publish(nil), c.got...)
}

// publishes returns a tap that keeps the PUBLISH packets with QoS 2 that go to
// the broker.
func (p *proxy) recordPublishes() func() [][]byte {
	var got [][]byte
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tap = func(packet []byte, fromBroker bool) {
		if !fromBroker && packet[0]>>4 == publish && packet[0]>>1&3 == 2 {
			got = append(got, bytes.Clone(packet))
		}
	}
	return func() [][]byte {
		p.mu.Lock()
		defer p.mu.Unlock()
		return got
	}
}

// Test_qos2_dup loses the PUBREC: the message goes again with the same
// identifier, the same bytes and the flag DUP, and arrives once.
func Test_qos2_dup(t *testing.T) {
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	p := newProxy(t, broker.Addr)
	packets := p.recordPublishes()
	r := newRig(t, p.url(), nil)
	r.start()
	r.waitState("up")
	p.cutTimes(pubrec, 2) // a third in a row would have the message taken for the reason
	r.publish(100)
	peer.WaitFor(t, 10*time.Second, "three attempts", func() bool { return len(packets()) >= 3 })
	r.waitDelivered(10 * time.Second)
	checkAll(t, sub, 100)
	all := packets()
	for i, p := range all {
		if dup := p[0]&8 != 0; dup != (i > 0) {
			t.Errorf("attempt %d: DUP is %t", i, dup)
		}
		// All but the flag, and the topic alias that each connection gives anew,
		// is the same.
		if !bytes.Equal(p[1:], all[0][1:]) {
			t.Errorf("attempt %d differs from the first", i)
		}
	}
	if n := r.conn.Status().Resent; n < 2 {
		t.Errorf("%d messages were counted as resent, want 2 or more", n)
	}
}

// Test_disconnect makes the broker fall silent without a word: the keep-alive
// finds out, nothing is lost.
func Test_disconnect(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	row := faults.Open(t, "broker-black-hole")
	p := newProxy(t, broker.Addr)
	r := newRig(t, p.url(), map[string]any{"keepalive": "1s"})
	r.start()
	r.publish(500)
	r.waitDelivered(10 * time.Second)
	p.blackhole()
	r.publish(500)
	peer.WaitFor(t, 15*time.Second, "the silence to be noticed", func() bool { return r.conn.Status().Reconnects > 0 })
	if s := r.conn.Status(); s.Error == "" {
		t.Errorf("no reason is given: %+v", s)
	}
	r.publish(500)
	p.heal()
	p.cutAll()
	row.Fault(1)
	healed := time.Now()
	r.waitDelivered(20 * time.Second)
	row.Recovered(time.Since(healed))
	checkAll(t, sub, 1500)
	row.Count(sub.Account(1, 1500))
}

// TestSessionLost makes the broker forget the session while messages are in
// flight in every state: all arrives, and it is counted that some may have come
// twice.
func TestSessionLost(t *testing.T) {
	t.Parallel()
	for _, kind := range []byte{publish, pubrec, pubrel, pubcomp} {
		t.Run(packetNames[kind], func(t *testing.T) {
			broker := peer.StartMosquitto(t)
			sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
			p := newProxy(t, broker.Addr)
			r := newRig(t, p.url(), nil)
			r.start()
			r.waitState("up")
			p.cutAt(moment{kind: kind}, 1)
			p.mu.Lock()
			cut := p.cut
			p.cut = func(kind byte) (bool, bool) {
				yes, after := cut(kind)
				p.refuse = p.refuse || yes
				return yes, after
			}
			p.mu.Unlock()
			r.publish(300)
			peer.WaitFor(t, 10*time.Second, "the cut", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.refuse })
			dial(t, broker.Addr, "gw-test") // a clean start ends the old session, and this one ends at once
			p.heal()
			r.waitDelivered(20 * time.Second)
			peer.WaitFor(t, 10*time.Second, "all frames", func() bool { return sub.LastSeq() == 300 })
			seen := map[uint64]bool{}
			for _, m := range sub.Messages() {
				for _, f := range m.Frames {
					seen[f.Seq] = true
				}
			}
			if len(seen) != 300 {
				t.Errorf("%d different frames arrived, want 300", len(seen))
			}
		})
	}
}

// TestRefused has the broker deny the right to publish and give it later: the
// fault is shown in words, and nothing is lost or skipped.
func TestRefused(t *testing.T) {
	t.Parallel()
	acl := filepath.Join(t.TempDir(), "acl")
	write := func(text string) {
		if err := os.WriteFile(acl, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("topic read #\n")
	// With max_queued_messages 0, Mosquitto 2.0.11 ends the connection of whoever
	// it refuses a message.
	broker := peer.StartMosquitto(t, "acl_file "+acl, "max_queued_messages 1000000", "pid_file "+acl+".pid")
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, broker.URL(), nil)
	r.start()
	r.publish(1000)
	r.waitState("fault")
	if s := r.conn.Status(); !strings.Contains(s.Error, "not authorized") || s.Refused == 0 {
		t.Errorf("status: %+v", s)
	}
	time.Sleep(500 * time.Millisecond) // several attempts
	if n := r.consumer.Acked(); n != 0 {
		t.Errorf("acknowledged up to %d although nothing was accepted", n)
	}
	write("topic readwrite #\n")
	text, err := os.ReadFile(acl + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil { // it reads the list again
		t.Fatal(err)
	}
	r.waitDelivered(20 * time.Second)
	checkAll(t, sub, 1000)
	r.waitState("up")
	if s := r.conn.Status(); strings.Contains(s.Error, "message on") {
		t.Errorf("still an error: %s", s.Error)
	}
}

// TestReceiveMaximum counts the messages in flight against a broker that allows
// three.
func TestReceiveMaximum(t *testing.T) {
	broker := peer.StartMosquitto(t, "max_inflight_messages 3")
	sub := peer.Subscribe(t, broker.Addr, "sub", "d/#")
	p := newProxy(t, broker.Addr)
	open, most, allowed := map[uint16]bool{}, 0, 0
	p.watch(func(b []byte, fromBroker bool) {
		switch kind := b[0] >> 4; {
		case fromBroker && kind == connack:
			ca, err := packets.ReadPacket(bytes.NewReader(b))
			if err == nil && ca.Content.(*packets.Connack).Properties.ReceiveMaximum != nil {
				allowed = int(*ca.Content.(*packets.Connack).Properties.ReceiveMaximum)
			}
			clear(open)
		case !fromBroker && kind == publish && b[0]>>1&3 > 0:
			cp, err := packets.ReadPacket(bytes.NewReader(b))
			if err == nil {
				open[cp.Content.(*packets.Publish).PacketID] = true
			}
			most = max(most, len(open))
		case fromBroker && (kind == puback || kind == pubcomp):
			delete(open, binary.BigEndian.Uint16(b[2:4]))
		}
	})
	r := newRig(t, p.url(), map[string]any{"topic": "d/{tag}"})
	r.start()
	r.publish(3000)
	r.waitDelivered(20 * time.Second)
	p.cutAll()
	r.publish(3000)
	r.waitDelivered(20 * time.Second)
	peer.WaitFor(t, 10*time.Second, "all frames", func() bool { return sub.Count() == 6000 })
	p.mu.Lock()
	defer p.mu.Unlock()
	if allowed != 3 || most > allowed || most < 2 {
		t.Errorf("%d messages were in flight, the broker allows %d", most, allowed)
	}
}

// TestPacketSize sends through a broker that takes small packets only.
func TestPacketSize(t *testing.T) {
	broker := peer.StartMosquitto(t, "max_packet_size 4000")
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, broker.URL(), map[string]any{"payload": "json"})
	r.start()
	r.publish(2000)
	r.waitDelivered(20 * time.Second)
	checkAll(t, sub, 2000)
	if n := len(sub.Messages()); n < 50 {
		t.Errorf("%d messages; 2,000 frames of 90 bytes cannot fit", n)
	}
}

// TestPayloadsAndQoS delivers in every encoding and quality of service.
func TestPayloadsAndQoS(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	for _, payload := range []string{"json", "json+zstd", "protobuf", "protobuf+zstd"} {
		for qos := range 3 {
			t.Run(fmt.Sprintf("%s/%d", payload, qos), func(t *testing.T) {
				topic := fmt.Sprintf("p/%s/%d", strings.ReplaceAll(payload, "+", "-"), qos)
				ledger := follow(t, broker.Addr, topic)
				r := newRig(t, broker.URL(), map[string]any{"topic": topic, "payload": payload, "qos": qos})
				r.start()
				for range 5 {
					r.publish(400)
					r.waitDelivered(10 * time.Second)
				}
				checkLedger(t, ledger, 2000)
			})
		}
	}
}

// TestTopics spreads the frames over topics by driver and tag, through cuts and
// restarts.
func TestTopics(t *testing.T) {
	t.Parallel()
	broker := peer.StartMosquitto(t)
	p := newProxy(t, broker.Addr)
	ledger := follow(t, broker.Addr, "by/#")
	r := newRig(t, p.url(), map[string]any{"topic": "by/{gateway}/{driver}/{tag}"})
	n := 0
	p.plan(func(kind byte) (bool, bool) {
		if kind == pubcomp || kind == pubrec {
			n++
		}
		return (kind == pubcomp || kind == pubrec) && n%300 == 0, n%600 == 0
	})
	for range 4 {
		r.start()
		stop := make(chan struct{})
		wait := r.publishAt(10_000, stop)
		time.Sleep(300 * time.Millisecond) // let it be in full flight; nothing to wait for
		close(stop)
		wait()
		r.close()
	}
	p.heal()
	r.start()
	r.waitDelivered(30 * time.Second)
	checkLedger(t, ledger, uint64(r.value))
}

// TestBirthAndWill follows the status topic: online with version and revision,
// offline after a stop and after the connection has just ended.
func TestBirthAndWill(t *testing.T) {
	broker := peer.StartMosquitto(t)
	p := newProxy(t, broker.Addr)
	c := dial(t, broker.Addr, "watch")
	c.subscribe(t, "/edge/status/#")
	last := func() map[string]any {
		got := c.received()
		if len(got) == 0 {
			return nil
		}
		m := map[string]any{}
		if err := json.Unmarshal(got[len(got)-1].Payload, &m); err != nil {
			t.Errorf("status: %v", err)
		}
		return m
	}
	r := newRig(t, p.url(), nil)
	r.start()
	peer.WaitFor(t, 10*time.Second, "online", func() bool { return last()["status"] == "online" })
	m := last()
	if m["gateway"] != "gw-test" || m["version"] != "test" || m["config_rev"] != 7.0 {
		t.Errorf("birth: %v", m)
	}
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.cutAll()
	peer.WaitFor(t, 10*time.Second, "offline after a cut", func() bool { return last()["status"] == "offline" })
	p.heal()
	peer.WaitFor(t, 10*time.Second, "online again", func() bool { return last()["status"] == "online" })
	r.stopConnector()
	peer.WaitFor(t, 10*time.Second, "offline after a stop", func() bool { return last()["status"] == "offline" })
	late := dial(t, broker.Addr, "late")
	late.subscribe(t, "/edge/status/acme/line-1")
	peer.WaitFor(t, 10*time.Second, "the retained status", func() bool { return len(late.received()) > 0 })
	if !late.received()[0].Retain {
		t.Error("the status is not retained")
	}
}

// TestFailover has a dead broker first in the list.
func TestFailover(t *testing.T) {
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, "mqtt://"+peer.FreeAddr(t)+", "+broker.URL(), nil)
	r.start()
	r.publish(200)
	r.waitDelivered(10 * time.Second)
	checkAll(t, sub, 200)
	if peer := r.conn.Status().Peer; peer != broker.URL() {
		t.Errorf("peer is %s", peer)
	}
}

// TestPause stops delivery and continues it, with the connection up.
func TestPause(t *testing.T) {
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, broker.URL(), nil)
	r.start()
	r.publish(100)
	r.waitDelivered(10 * time.Second)
	r.conn.SetPaused(true)
	r.waitState("paused")
	r.publish(500)
	time.Sleep(300 * time.Millisecond) // six times max_interval: it would have been sent
	if n := sub.Count(); n != 100 {
		t.Errorf("%d frames arrived while paused, want 100", n)
	}
	r.conn.SetPaused(false)
	r.waitDelivered(10 * time.Second)
	checkAll(t, sub, 600)
	if n := r.conn.Status().Reconnects; n != 0 {
		t.Errorf("%d reconnects", n)
	}
}

// TestReplay sends old frames again, marked and apart.
func TestReplay(t *testing.T) {
	broker := peer.StartMosquitto(t)
	ledger := follow(t, broker.Addr, "r/#")
	r := newRig(t, broker.URL(), map[string]any{"topic": "r/data"})
	r.start()
	r.conn.SetPaused(true)
	r.publish(300)
	peer.WaitFor(t, 10*time.Second, "the frames to be durable", func() bool { return r.consumer.Head() == 300 })
	batches, err := r.consumer.Fetch(1, 300)
	if err != nil {
		t.Fatal(err)
	}
	r.conn.SetPaused(false)
	r.waitDelivered(10 * time.Second)
	checkLedger(t, ledger, 300)
	where, err := r.conn.Replay(t.Context(), "id-1", batches)
	if err != nil || where != "r/data/replay/id-1" {
		t.Fatalf("replay: %q, %v", where, err)
	}
	peer.WaitFor(t, 10*time.Second, "the replay", func() bool { return ledger.Report().Gateways[0].Replays["id-1"] == 300 })
	checkLedger(t, ledger, 300)
	r.stopConnector()
	if _, err := r.conn.Replay(t.Context(), "id-2", batches); err == nil || !strings.Contains(err.Error(), connector.ErrDown.Error()) {
		t.Errorf("replay without a connection: %v", err)
	}
}
