package mqtt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// data reports whether a packet is a message with frames.
func data(p *fakebroker.Packet) bool { return p.Type() == packets.Publish && p.User("first_seq") != "" }

// words waits until the connector's state is the given one and its error holds the texts.
func (r *rig) words(state string, texts ...string) {
	r.t.Helper()
	var st connector.Status
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // polling a status
		st = r.conn.Status()
		ok := st.State == state
		for _, text := range texts {
			ok = ok && strings.Contains(st.Error, text)
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("status is %s %q; want %s with %q", st.State, st.Error, state, texts)
		}
	}
}

// TestRefusedThenCorrected has a broker that does not take what is sent, until the
// configuration is changed: the frames that wait take it over, and arrive once.
func TestRefusedThenCorrected(t *testing.T) {
	code := func(code byte, bad func(*fakebroker.Packet) bool) func(*fakebroker.Packet) fakebroker.Answer {
		return func(p *fakebroker.Packet) fakebroker.Answer {
			if data(p) && bad(p) {
				return fakebroker.Answer{Code: code, Reason: "says the test"}
			}
			return fakebroker.Answer{}
		}
	}
	oldTopic := func(p *fakebroker.Packet) bool { return !strings.HasPrefix(p.TopicName, "new/") }
	large := func(p *fakebroker.Packet) bool { return p.Size > 3000 }
	hangUp := func(bad func(*fakebroker.Packet) bool) func(*fakebroker.Packet) fakebroker.Answer {
		return func(p *fakebroker.Packet) fakebroker.Answer {
			gone := data(p) && bad(p)
			return fakebroker.Answer{Lost: gone, Close: gone}
		}
	}
	cases := []struct {
		name   string
		qos    int
		on     func(*fakebroker.Packet) fakebroker.Answer
		change map[string]any
		update bool // while it runs
		state  string
		words  []string
	}{
		{"topic, PUBREC", 2, code(0x87, oldTopic), map[string]any{"topic": "new/data"}, false, "fault",
			[]string{"message on /edge/acme/line-1/data with the frames 1 to ", "0x87: not authorized", "says the test", "at once when the configuration changes", "on_refused: park"}},
		{"topic, PUBACK", 1, code(0x87, oldTopic), map[string]any{"topic": "new/data"}, false, "fault", []string{"0x87"}},
		{"topic of each tag", 2, code(0x90, oldTopic), map[string]any{"topic": "new/{tag}"}, false, "fault", []string{"0x90: topic name invalid"}},
		{"payload", 2, code(0x99, func(p *fakebroker.Packet) bool { return p.Properties.ContentType == "application/json" }),
			map[string]any{"payload": "protobuf"}, false, "fault", []string{"0x99"}},
		{"size, another code", 2, code(0x80, large), map[string]any{"max_bytes": 1024}, true, "fault", []string{"0x80"}},
		{"hangs up at the topic", 2, hangUp(oldTopic), map[string]any{"topic": "new/data"}, false, "fault",
			[]string{"without an answer", "/edge/acme/line-1/data"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := fakebroker.Start(t, fakebroker.Script{On: c.on})
			r := newRig(t, b.URL(), map[string]any{"qos": c.qos, "payload": "json", "max_bytes": 8192})
			r.start()
			r.publish(100)
			time.Sleep(100 * time.Millisecond) // so that there is a message before the next
			r.publish(300)
			r.words(c.state, c.words...)
			for k, v := range c.change {
				r.cfg[k] = v
			}
			if c.update {
				if !r.conn.(connector.Updater).Update(r.cfg) {
					t.Fatal("the change was not taken over")
				}
			} else {
				r.stopConnector()
				r.start()
			}
			r.publish(100)
			r.waitDelivered(20 * time.Second)
			r.words("up")
			if e := r.conn.Status().Error; e != "" {
				t.Errorf("status says %q", e)
			}
			if c.qos == 2 {
				checkOnce(t, b, 500)
			} else if n, _, gaps := summed(b.Ledger()); n != 500 || gaps != 0 {
				t.Errorf("%d frames, %d gaps", n, gaps)
			}
		})
	}
}

// TestLimitNotAnnounced has a broker end the connection at a packet over a size that it
// does not announce, with a word, with an answer, or without one. Smaller messages are
// tried until they pass.
func TestLimitNotAnnounced(t *testing.T) {
	for name, answer := range map[string]fakebroker.Answer{
		"closes":          {Lost: true, Close: true},
		"closes, took it": {Close: true},
		"DISCONNECT 0x95": {Lost: true, Disconnect: 0x95},
		"PUBREC 0x95":     {Code: 0x95},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
				if data(p) && p.Size > 3000 {
					return answer
				}
				return fakebroker.Answer{}
			}})
			r := newRig(t, b.URL(), map[string]any{"payload": "json"})
			r.start()
			r.publish(1000)
			r.words("up", "announces no such limit", "set max_bytes")
			r.waitDelivered(20 * time.Second)
			checkOnce(t, b, 1000)
			accepted := b.Accepted()
			r.publish(1000)
			r.waitDelivered(10 * time.Second)
			checkOnce(t, b, 2000)
			if n := b.Accepted(); n > accepted+6 { // what it took in spite of the limit taught nothing
				t.Errorf("%d more connections after the limit was found", n-accepted)
			}
		})
	}
}

// TestHangsUpWithAReason has a broker end the connection at a topic and say why. The
// size is not suspected, and what the operator corrects takes effect.
func TestHangsUpWithAReason(t *testing.T) {
	for code, words := range map[byte]string{0x87: "0x87", 0x90: "0x90"} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
				if data(p) && p.TopicName == "old/data" {
					return fakebroker.Answer{Lost: true, Disconnect: code}
				}
				return fakebroker.Answer{}
			}})
			r := newRig(t, b.URL(), map[string]any{"payload": "json", "topic": "old/data"})
			r.start()
			r.publish(500)
			r.words("fault", words, "check the topic")
			if s := r.conn.Status(); strings.Contains(s.Error, "max_bytes") {
				t.Errorf("the size is blamed: %s", s.Error)
			}
			r.stopConnector()
			r.cfg["topic"] = "new/data"
			r.start()
			r.waitDelivered(20 * time.Second)
			checkOnce(t, b, 500)
		})
	}
}

// TestForcedCollection trims the log by force while a message is refused: the message
// stays, and goes out when it may.
func TestForcedCollection(t *testing.T) {
	t.Parallel()
	b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if data(p) {
			return fakebroker.Answer{Code: 0x87}
		}
		return fakebroker.Answer{}
	}})
	r := newRig(t, b.URL(), map[string]any{"payload": "json", "max_bytes": 4096})
	r.start()
	r.publish(20)
	r.words("fault", "0x87")
	r.publish(5000)
	if err := r.bus.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.bus.Archive().GC(context.Background(), 0, false, true); err != nil {
		t.Fatal(err)
	}
	r.stopConnector()
	r.cfg["topic"] = "new/{tag}"
	b.Heal()
	r.start()
	r.publish(10)
	peer.WaitFor(t, 10*time.Second, "the position", func() bool { return r.consumer.Acked() == r.consumer.Head() })
	seen := map[string]int{}
	for _, p := range b.Delivered() {
		if p.User("first_seq") != "" {
			seen[p.User("first_seq")]++
		}
	}
	for seq := 1; seq <= 20; seq++ {
		if n := seen[fmt.Sprint(seq)]; n != 1 {
			t.Errorf("frame %d arrived %d times", seq, n)
		}
	}
	if n, repeats, _ := summed(b.Ledger()); repeats != 0 || n < 30 {
		t.Errorf("%d frames, %d repeats", n, repeats)
	}
}

// TestMosquittoForbids has a real broker forbid a topic, in its own way.
func TestMosquittoForbids(t *testing.T) {
	acl := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(acl, []byte("topic read #\ntopic write re/new/#\ntopic write /edge/#\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	broker := peer.StartMosquitto(t, "acl_file "+acl)
	sub := peer.Subscribe(t, broker.Addr, "sub", "re/#")
	r := newRig(t, broker.URL(), map[string]any{"topic": "re/old"})
	r.start()
	r.publish(300)
	r.words("fault", "re/old")
	r.stopConnector()
	r.cfg["topic"] = "re/new/{driver}"
	r.start()
	r.publish(100)
	r.waitDelivered(20 * time.Second)
	checkAll(t, sub, 400)
}

// TestStoppedInARetry: a message that was refused is tried again, and the gateway stops
// before the answer. What is new must not overtake it then: the answer may be no again.
func TestStoppedInARetry(t *testing.T) {
	tries := 0
	b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if !data(p) || p.TopicName != "re/old" {
			return fakebroker.Answer{}
		}
		if tries++; tries == 2 {
			return fakebroker.Answer{Lost: true}
		}
		return fakebroker.Answer{Code: 0x87, Delay: 100 * time.Millisecond}
	}})
	r := newRig(t, b.URL(), map[string]any{"topic": "re/old"})
	r.start()
	r.publish(1)
	b.WaitFor(10*time.Second, "the second try", func() bool {
		n := 0
		for _, p := range b.Packets(packets.Publish) {
			if data(p) {
				n++
			}
		}
		return n == 2
	})
	r.stopConnector()
	r.cfg["topic"] = "re/new"
	r.publish(100)
	r.start()
	r.waitDelivered(20 * time.Second)
	next := uint64(1)
	for _, p := range b.Delivered() {
		if !data(p) {
			continue
		}
		first, err := strconv.ParseUint(p.User("first_seq"), 10, 64)
		last, err2 := strconv.ParseUint(p.User("last_seq"), 10, 64)
		if err != nil || err2 != nil || first != next {
			t.Errorf("frames %s to %s came when %d was next", p.User("first_seq"), p.User("last_seq"), next)
		}
		next = last + 1
	}
	if next < 102 {
		t.Errorf("frame %d did not come", next)
	}
}

// TestParked puts messages aside that the broker refuses, goes on without them, and
// sends one again and drops another.
func TestParked(t *testing.T) {
	b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if data(p) && strings.Contains(p.TopicName, "t07") || strings.Contains(p.TopicName, "t08") {
			return fakebroker.Answer{Code: 0x87}
		}
		return fakebroker.Answer{}
	}})
	r := newRig(t, b.URL(), map[string]any{"topic": "d/{tag}", "payload": "json", "on_refused": "park"})
	r.start()
	r.publish(20)
	r.waitDelivered(10 * time.Second)
	r.words("up", "2 messages that the broker refused are put aside", "edge-bus parked list")
	gaps := ""
	peer.WaitFor(t, 5*time.Second, "the frames that tell of it", func() bool {
		gaps = ""
		for _, p := range b.Delivered() {
			if p.TopicName == "d/sys.gap" {
				gaps += string(p.Payload)
			}
		}
		return strings.Count(gaps, `"sys.gap"`) == 2
	})
	if !strings.Contains(gaps, `"from":8,"parked":`) || !strings.Contains(gaps, `"reason":"refused"`) || !strings.Contains(gaps, `"topic":"d/line.t07"`) {
		t.Errorf("sys.gap says %s", gaps)
	}
	// What is put aside survives everything that deletes.
	r.publish(5000)
	r.waitDelivered(10 * time.Second)
	if _, err := r.bus.Archive().GC(context.Background(), 0, false, true); err != nil {
		t.Fatal(err)
	}
	list, err := r.bus.Archive().Parked()
	if err != nil || len(list) < 2 || list[0].First != 8 || list[0].Topic != "d/line.t07" || !strings.Contains(list[0].Reason, "0x87") {
		t.Fatalf("parked: %+v, %v", list, err)
	}
	b.Heal()
	if err := r.bus.Archive().DropParked("mqtt", list[1].ID); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(list[:1:1], list[2:]...) {
		if err := r.bus.Archive().RetryParked("mqtt", p.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.bus.Archive().RetryParked("mqtt", list[1].ID); err == nil {
		t.Error("what was dropped is sent again")
	}
	peer.WaitFor(t, 10*time.Second, "all to be sent", func() bool {
		left, err := r.bus.Archive().Parked()
		return err == nil && len(left) == 0 && r.conn.Status().Inflight == 0 && r.consumer.Acked() == r.consumer.Head()
	})
	r.words("up")
	if e := r.conn.Status().Error; e != "" {
		t.Errorf("status says %q", e)
	}
	dropped := uint64(list[1].Frames)
	peer.WaitFor(t, 5*time.Second, "all but what was dropped", func() bool {
		n, _, _ := summed(b.Ledger())
		return n == r.consumer.Head()-dropped
	})
	if _, repeats, _ := summed(b.Ledger()); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
}
