package mqtt

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
)

// strict is a broker that refuses some messages, or hangs up at them. As a receiver it
// is one of the three kinds, and its answers to PUBREL are worth something or not.
type strict struct {
	*receiver
	honest bool
	wants  func(p *packets.Publish) byte // 0: takes it
	hangs  func(p *packets.Publish) bool
	loses  bool // the answers of this connection do not arrive
}

// take answers what is on the wire and reports whether the connection lives.
func (r *strict) take(b *bench) (alive bool) {
	for b.wire.buf.Len() > 0 {
		p, err := packets.ReadPacket(&b.wire.buf)
		if err != nil {
			r.t.Fatal(err)
		}
		switch c := p.Content.(type) {
		case *packets.Publish:
			if r.hangs != nil && r.hangs(c) {
				return false
			}
			if code := r.wants(c); code != 0 {
				kind := packets.PUBREC
				if c.QoS == 1 {
					kind = packets.PUBACK
				}
				b.ack(kind, c.PacketID, code)
				continue
			}
			r.publish(b, c)
		case *packets.Pubrel:
			code := byte(0)
			open := r.open[c.PacketID]
			if r.kind == compares && open != nil {
				r.deliver(open)
			}
			if open == nil && r.honest {
				code = codeNotFound
			}
			delete(r.open, c.PacketID)
			b.ack(packets.PUBCOMP, c.PacketID, code)
		}
	}
	if r.loses {
		b.session.takeAcks()
		return false
	}
	return true
}

// run has sender and broker work until all is delivered, a connection after the other,
// and returns how many there were; it gives up after most.
func (r *strict) run(b *bench, most int) (connections int) {
	for connections = 1; connections <= most; connections++ {
		for range 200 {
			b.read()
			if _, err := b.sender.turn(true); err != nil {
				r.t.Fatal(err)
			}
			if !r.take(b) {
				b.conn.suspicion.note(b.sender, fmt.Errorf("connection lost: %w", io.EOF))
				b.connect(true)
				break
			}
			if len(b.session.inflight) == 0 && len(b.reader.windows) == 0 && !b.log.Has(b.reader.live.cursor, nil) && b.wire.buf.Len() == 0 {
				return connections
			}
		}
	}
	return most + 1
}

// brokers are the ways in which brokers keep what they have received.
var brokers = []struct {
	name   string
	kind   int
	honest bool
	once   bool // whatever happens
}{
	{"EMQX", saysInUse, true, true},
	{"Mosquitto", compares, false, true},
	{"HiveMQ", swallows, true, true},
	{"0x91 alone", saysInUse, false, true},
	{"a silent liar", swallows, false, false},
}

// onTopic is the reason code of a broker that takes messages only below a prefix.
func onTopic(prefix string) func(*packets.Publish) byte {
	return func(p *packets.Publish) byte {
		if !strings.HasPrefix(p.Topic, prefix) {
			return codeNotAuthorized
		}
		return 0
	}
}

// TestRefusedThenCorrected has a broker refuse a topic, and the configuration changed to
// one that it takes: with the message refused at once or as a repeat, which the broker
// has from before or has not. The frames go out on the new topic, all of them, once.
func TestRefusedThenCorrected(t *testing.T) {
	templates := []string{"new/data", "new/{tag}", "new/{driver}"}
	for _, broker := range brokers {
		for _, before := range []string{"old/data", "old/{tag}", "old/{driver}"} {
			for _, after := range templates {
				for _, repeat := range []string{"first", "repeat", "repeat that it has"} {
					t.Run(fmt.Sprintf("%s/%s to %s/%s", broker.name, before, after, repeat), func(t *testing.T) {
						b := newBench(t, before, 2)
						r := &strict{receiver: newReceiver(t, broker.kind), honest: broker.honest, wants: onTopic("new/")}
						b.connect(false)
						b.log.Publish(frames(5), frames(5), frames(5))
						b.read()
						if repeat != "first" {
							if repeat != "repeat" {
								r.wants = onTopic("")
							}
							r.loses = true
							b.turnInto(r)
							r.loses, r.wants = false, onTopic("new/")
							b.connect(true)
						}
						b.turnInto(r) // refused
						b.turnInto(r)
						b.cfg.Topic = after
						b.open()
						b.connect(true)
						b.log.Publish(frames(5))
						if n := r.run(b, 5); n > 1 {
							t.Fatalf("%d connections", n)
						}
						least, most := r.times(20)
						if least != 1 || most != 1 && (broker.once || repeat == "first") {
							t.Errorf("frames arrived %d to %d times", least, most)
						}
						if b.log.Acked() != 20 {
							t.Errorf("acknowledged up to %d", b.log.Acked())
						}
					})
				}
			}
		}
	}
}

// turnInto has sender and broker work for one exchange.
func (b *bench) turnInto(r *strict) {
	b.t.Helper()
	if _, err := b.sender.turn(true); err != nil {
		b.t.Fatal(err)
	}
	r.take(b)
}

// TestDiesAtTheMessage has a broker hang up at messages over a size that it does not
// announce, having taken the message or not. It ends with messages that pass, and they
// hold every frame, once.
func TestDiesAtTheMessage(t *testing.T) {
	for _, broker := range brokers {
		for _, had := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, had it %v", broker.name, had), func(t *testing.T) {
				b := newBench(t, "t", 2)
				r := &strict{receiver: newReceiver(t, broker.kind), honest: broker.honest, wants: onTopic("")}
				limit := 700
				r.hangs = func(p *packets.Publish) bool {
					if len(p.Payload) <= limit {
						return false
					}
					if had && r.open[p.PacketID] == nil && !p.Duplicate { // it has it, but the answer was too much
						r.publish(b, p)
					}
					return true
				}
				b.connect(false)
				b.log.Publish(frames(100), frames(100))
				if n := r.run(b, 40); n > 30 {
					t.Fatalf("%d connections and no end", n)
				}
				b.log.Publish(frames(100))
				if n := r.run(b, 4); n > 3 { // the limit may be met once more, by a few bytes
					t.Errorf("messages of before the broker's limit are made again: %d connections", n)
				}
				least, most := r.times(300)
				if least != 1 || most != 1 && broker.once && broker.name != "0x91 alone" { // which piece it stands for is not stored
					t.Errorf("frames arrived %d to %d times", least, most)
				}
				if w := b.conn.suspicion.words; w == nil || !strings.Contains(w.Error(), "set max_bytes") {
					t.Errorf("words: %v", w)
				}
			})
		}
	}
}

// TestDiesWhateverTheSize has a broker that hangs up at a topic. The size is not taken
// for the reason in the end, the message counts as refused, and a corrected topic passes.
func TestDiesWhateverTheSize(t *testing.T) {
	for _, broker := range brokers {
		t.Run(broker.name, func(t *testing.T) {
			b := newBench(t, "old/data", 2)
			r := &strict{receiver: newReceiver(t, broker.kind), honest: broker.honest, wants: onTopic("")}
			r.hangs = func(p *packets.Publish) bool { return !strings.HasPrefix(p.Topic, "new/") }
			b.connect(false)
			b.log.Publish(frames(20))
			if n := r.run(b, 30); n <= 30 {
				t.Fatalf("all delivered on connection %d", n)
			}
			if n := b.conn.suspicion.learned.Load(); n > 0 && !b.conn.suspicion.halving {
				t.Errorf("a limit of %d bytes is taken for known", n)
			}
			var refused *refusedError
			if !slices.ContainsFunc(b.faults, func(err error) bool {
				return errors.As(err, &refused) && strings.Contains(err.Error(), "check the topic")
			}) {
				t.Errorf("faults: %v", b.faults)
			}
			b.cfg.Topic = "new/data"
			b.open()
			b.connect(true)
			if n := r.run(b, 20); n > 20 {
				t.Fatal("the corrected topic has no effect")
			}
			if least, most := r.times(20); least != 1 || most != 1 {
				t.Errorf("frames arrived %d to %d times", least, most)
			}
		})
	}
}

// TestTooLargeInWords has a broker refuse messages over a size, in words (0x95). They
// are made smaller at once.
func TestTooLargeInWords(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		b := newBench(t, "t", qos)
		r := &strict{receiver: newReceiver(t, saysInUse), honest: true, wants: func(p *packets.Publish) byte {
			if len(p.Payload) > 400 {
				return codeTooLarge
			}
			return 0
		}}
		b.connect(false)
		b.log.Publish(frames(64))
		if n := r.run(b, 1); n > 1 {
			for _, m := range b.session.inflight {
				t.Logf("%+v %v refused %v", m.record, m.phase, m.refused)
			}
			t.Fatalf("QoS %d: it is not delivered: %v, learned %d", qos, len(b.faults), b.conn.suspicion.learned.Load())
		}
		if least, most := r.times(64); least != 1 || most != 1 {
			t.Errorf("QoS %d: frames arrived %d to %d times", qos, least, most)
		}
	}
}

// TestCrashesInDoubt crashes at each commit while a message in doubt is made anew, with
// what was synced or with all. No frame is lost; with an honest broker a repeat comes
// only from the crash behind PUBREL.
func TestCrashesInDoubt(t *testing.T) {
	for _, broker := range brokers {
		for crash := 1; crash < 12; crash++ {
			t.Run(fmt.Sprintf("%s, turn %d", broker.name, crash), func(t *testing.T) {
				b := newBench(t, "old/data", 2)
				r := &strict{receiver: newReceiver(t, broker.kind), honest: broker.honest, wants: onTopic(""), loses: true}
				b.connect(false)
				b.log.Publish(frames(5))
				b.read()
				b.turnInto(r)
				r.loses, r.wants = false, onTopic("new/")
				b.connect(true)
				b.turnInto(r)
				b.turnInto(r)
				b.cfg.Topic = "new/{tag}"
				b.open()
				b.connect(true)
				for range crash {
					b.read()
					b.turnInto(r)
				}
				b.log.Crash()
				b.open()
				b.connect(true)
				if n := r.run(b, 3); n > 1 {
					t.Fatalf("%d connections", n)
				}
				if least, _ := r.times(5); least < 1 {
					t.Error("frames are missing")
				}
			})
		}
	}
}

// TestChainsOfRemade keeps prev_seq true when messages change their topic or are cut.
func TestChainsOfRemade(t *testing.T) {
	b := newBench(t, "old", 2)
	r := &strict{receiver: newReceiver(t, saysInUse), honest: true, wants: onTopic("old")}
	b.connect(false)
	b.log.Publish(frames(3))
	if n := r.run(b, 1); n > 1 {
		t.Fatal("not delivered")
	}
	r.wants = onTopic("new")
	b.log.Publish(frames(3))
	b.read()
	b.turnInto(r)
	b.turnInto(r)
	b.cfg.Topic = "new"
	b.open()
	b.connect(true)
	if n := r.run(b, 1); n > 1 {
		t.Fatal("not delivered")
	}
	if got := b.session.chains; got[chain{"old", ""}] != 3 || got[chain{"new", ""}] != 6 {
		t.Errorf("chains: %v, want old up to 3 and new up to 6", got)
	}
}

// TestParkedOrInFlight crashes at each turn while a message is put aside and sent again:
// it is always in exactly one of both places, and arrives once.
func TestParkedOrInFlight(t *testing.T) {
	for crash := range 12 {
		b := newBench(t, "{tag}", 2)
		b.cfg.OnRefused = refusedParks
		b.open()
		forbidden := true
		r := &strict{receiver: newReceiver(t, saysInUse), honest: true, wants: func(p *packets.Publish) byte {
			if forbidden && p.Topic == "t1" {
				return codeNotAuthorized
			}
			return 0
		}}
		b.connect(false)
		b.log.Publish(frames(3))
		for i := range 20 {
			if i == crash {
				b.log.Crash()
				b.open()
				b.connect(true)
			}
			b.read()
			b.turnInto(r)
			places := 0
			records, err := b.log.Records()
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range records {
				if rec.Pin == (bus.Range{First: 2, Last: 2}) || strings.HasPrefix(rec.Key, keyMessage) && strings.Contains(string(rec.Value), `"topic":"t1"`) {
					places++
				}
			}
			if i > 0 && places != 1 {
				t.Fatalf("crash at %d, turn %d: the message is in %d places", crash, i, places)
			}
		}
		forbidden = false
		records, err := b.log.Records()
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range records {
			if !bus.IsParked(rec) {
				continue
			}
			p, err := bus.ParseParked(rec)
			if err != nil {
				t.Fatal(err)
			}
			p.Retry = true
			if rec, err = p.Record(); err != nil {
				t.Fatal(err)
			}
			if err := b.log.Commit(bus.Commit{Put: []bus.Record{rec}, Sync: true}); err != nil {
				t.Fatal(err)
			}
		}
		b.open()
		b.connect(true)
		if n := r.run(b, 1); n > 1 {
			t.Fatalf("crash at %d: not delivered", crash)
		}
		if least, most := r.times(3); least != 1 || most != 1 || b.log.Acked() != 3 {
			t.Errorf("crash at %d: frames arrived %d to %d times, acknowledged up to %d", crash, least, most, b.log.Acked())
		}
	}
}
