package mqtt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// What brokers do with a PUBLISH whose identifier is in use with another content.
const (
	saysInUse = iota // and keeps what it has: EMQX, mochi
	compares         // and takes the new one: Mosquitto
	swallows         // and keeps what it has without a word
)

// headerRoom is about what a PUBLISH of the tests has beside its payload, in bytes.
const headerRoom = 200

// receiver is the receiving side of a broker with a limit for packets.
type receiver struct {
	t         testing.TB
	kind      int
	limit     int // bytes of a packet
	open      map[uint16][]byte
	delivered []uint64
}

func newReceiver(t testing.TB, kind int) *receiver {
	return &receiver{t: t, kind: kind, limit: maxPacketSize, open: map[uint16][]byte{}}
}

func (r *receiver) deliver(payload []byte) {
	samples, err := frame.DecodeJSON(payload, frame.Milliseconds)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range samples {
		r.delivered = append(r.delivered, s.Seq)
	}
}

// take answers what is on the wire. Mosquitto delivers on PUBREL, the others on
// PUBLISH.
func (r *receiver) take(b *bench) {
	for b.wire.buf.Len() > 0 {
		before := b.wire.buf.Len()
		p, err := packets.ReadPacket(&b.wire.buf)
		if err != nil {
			r.t.Fatal(err)
		}
		if n := before - b.wire.buf.Len(); n > r.limit {
			r.t.Fatalf("a packet of %d bytes for a broker that takes %d", n, r.limit)
		}
		switch c := p.Content.(type) {
		case *packets.Publish:
			r.publish(b, c)
		case *packets.Pubrel:
			if r.kind == compares && r.open[c.PacketID] != nil {
				r.deliver(r.open[c.PacketID])
			}
			delete(r.open, c.PacketID)
			b.ack(packets.PUBCOMP, c.PacketID, 0) // Mosquitto says so in any case
		}
	}
}

func (r *receiver) publish(b *bench, p *packets.Publish) {
	if p.QoS < 2 {
		r.deliver(p.Payload)
		if p.QoS == 1 {
			b.ack(packets.PUBACK, p.PacketID, 0)
		}
		return
	}
	code := byte(0)
	switch old, inUse := r.open[p.PacketID]; {
	case !inUse && r.kind != compares:
		r.deliver(p.Payload)
		r.open[p.PacketID] = p.Payload
	case !inUse || r.kind == compares && !bytes.Equal(old, p.Payload):
		r.open[p.PacketID] = p.Payload
	case r.kind == saysInUse:
		code = codeInUse
	}
	b.ack(packets.PUBREC, p.PacketID, code)
}

// settle runs sender and broker until nothing is in flight.
func (r *receiver) settle(b *bench) {
	for range 10_000 {
		b.read()
		if _, err := b.sender.turn(true); err != nil {
			r.t.Fatal(err)
		}
		r.take(b)
		if len(b.session.inflight) == 0 && len(b.reader.windows) == 0 && b.wire.buf.Len() == 0 {
			return
		}
	}
	r.t.Fatalf("%d messages are in flight still", len(b.session.inflight))
}

// times returns how often the frames 1…n arrived: the least and the most.
func (r *receiver) times(n uint64) (least, most int) {
	seen := make([]int, n)
	for _, s := range r.delivered {
		seen[s-1]++
	}
	return slices.Min(seen), slices.Max(seen)
}

// inFlight returns a bench with messages in flight of 40 frames each, which the
// broker has received or not.
func inFlight(t *testing.T, topic string, r *receiver, received bool) *bench {
	b := newBench(t, topic, 2)
	b.connect(false)
	for range 2 {
		b.log.Publish(frames(40))
		b.read()
		if _, err := b.sender.turn(true); err != nil {
			t.Fatal(err)
		}
	}
	if received {
		r.take(b)
		b.session.takeAcks() // lost
	}
	return b
}

// TestPacketSizeLowered resumes with a broker that takes smaller packets than the
// messages in flight need.
func TestPacketSizeLowered(t *testing.T) {
	for _, topic := range []string{"t", "t/{driver}"} {
		for kind, name := range []string{"says in use", "compares", "swallows"} {
			for _, received := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/received=%t", topic, name, received), func(t *testing.T) {
					r := newReceiver(t, kind)
					b := inFlight(t, topic, r, received)
					r.limit = headerRoom + 1000
					b.limits.packetSize = r.limit
					b.connect(true)
					b.log.Publish(frames(40))
					r.settle(b)
					least, most := r.times(120)
					if least != 1 || most != 1 && !(kind == swallows && received) {
						t.Errorf("frames arrived %d to %d times", least, most)
					}
					if !slices.IsSorted(r.delivered) && most == 1 {
						t.Errorf("out of order: %v", r.delivered)
					}
					if b.log.Acked() != 120 || len(b.log.Pinned()) != 0 {
						t.Errorf("acknowledged up to %d, records pin %v", b.log.Acked(), b.log.Pinned())
					}
				})
			}
		}
	}
}

// TestPacketSizeTooSmall keeps a frame that no packet can hold, and says so.
func TestPacketSizeTooSmall(t *testing.T) {
	r := newReceiver(t, compares)
	b := inFlight(t, "t", r, false)
	b.limits.packetSize = headerRoom + 10
	b.connect(true)
	_, err := b.sender.turn(true)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("frame 1 on t makes a packet of")) {
		t.Errorf("error: %v", err)
	}
	b.limits.packetSize = maxPacketSize
	b.connect(true)
	r.settle(b)
	if least, most := r.times(80); least != 1 || most != 1 {
		t.Errorf("frames arrived %d to %d times", least, most)
	}
}

// TestNoIdentifiersForPieces has all packet identifiers but one in use, so that a
// message can't be cut: nothing of it is lost.
func TestNoIdentifiersForPieces(t *testing.T) {
	r := newReceiver(t, compares)
	b := inFlight(t, "t", r, false)
	r.limit = headerRoom + 500
	b.limits.packetSize = r.limit
	b.connect(true)
	var taken []uint16
	for {
		id, err := b.session.takeID()
		if err != nil {
			break
		}
		taken = append(taken, id)
	}
	b.session.freeID(taken[0])
	if _, err := b.sender.turn(true); err == nil || !strings.Contains(err.Error(), "cut message") {
		t.Fatalf("error: %v", err)
	}
	for _, id := range taken[1:] {
		b.session.freeID(id)
	}
	b.connect(true)
	r.settle(b)
	if least, most := r.times(80); least != 1 || most != 1 {
		t.Errorf("frames arrived %d to %d times", least, most)
	}
}

// TestBackoffStaysWithin has a long outage and a long base: doubling it must not
// overflow.
func TestBackoffStaysWithin(t *testing.T) {
	b := newBench(t, "t", 2)
	cfg := b.cfg
	cfg.Backoff = Backoff{Base: config.Duration(20 * time.Minute), Max: config.Duration(24 * time.Hour)}
	b.conn.cfg.Store(&cfg)
	for attempt := range 100 {
		most := 24 * time.Hour
		if attempt < 7 { // 20 min × 2⁶ is the last below a day
			most = 20 * time.Minute << attempt
		}
		if d := b.conn.backoff(attempt); d < most/2 || d > most {
			t.Errorf("attempt %d: %v, expected %v to %v", attempt, d, most/2, most)
		}
	}
}

// TestWindowBegunUnderAnotherLimit has messages that were never stored, of a window
// that was, and that are too large now.
func TestWindowBegunUnderAnotherLimit(t *testing.T) {
	r := newReceiver(t, compares)
	b := newBench(t, "t/{tag}", 2)
	b.limits.inflight = 2
	b.connect(false)
	set := &frame.TagSet{Driver: "d", Tags: []frame.Tag{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}}
	batch := &frame.Batch{Set: set}
	for i := range 80 {
		batch.Frames = append(batch.Frames, frame.Frame{Value: frame.IntValue(int64(i)), TS: 1e18, Tag: uint32(i % 4)})
	}
	b.log.Publish(batch)
	b.read()
	if _, err := b.sender.turn(true); err != nil {
		t.Fatal(err)
	}
	r.limit = headerRoom + 600
	b.limits.packetSize = r.limit
	b.wire.buf.Reset() // lost
	b.connect(true)
	r.settle(b)
	if least, most := r.times(80); least != 1 || most != 1 {
		t.Errorf("frames arrived %d to %d times", least, most)
	}
	if b.log.Acked() != 80 || len(b.log.Pinned()) != 0 {
		t.Errorf("acknowledged up to %d, records pin %v", b.log.Acked(), b.log.Pinned())
	}
}

// TestQoSLowered goes on with a lower QoS, since the broker has come back with one,
// and messages of QoS 2 in flight.
func TestQoSLowered(t *testing.T) {
	for _, qos := range []byte{1, 0} {
		for _, received := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/received=%t", qos, received), func(t *testing.T) {
				r := newReceiver(t, compares)
				b := inFlight(t, "t", r, received)
				b.cfg.QoS, b.limits.maxQoS = qos, qos
				b.open()
				b.connect(true)
				b.log.Publish(frames(40))
				r.settle(b)
				if least, most := r.times(120); least != 1 || most > 2 || most > 1 && !received {
					t.Errorf("frames arrived %d to %d times", least, most)
				}
				if b.log.Acked() != 120 || len(b.log.Pinned()) != 0 {
					t.Errorf("acknowledged up to %d, records pin %v", b.log.Acked(), b.log.Pinned())
				}
			})
		}
	}
}

// TestFramesGone has frames of messages in flight disappear from the log, as a
// repair has it: what is left arrives, and nothing is held up.
func TestFramesGone(t *testing.T) {
	for _, c := range []struct {
		name, topic string
		first, last uint64
		received    bool
		arrive      int
	}{
		{"some", "t", 10, 20, false, 109}, {"some, received", "t", 10, 20, true, 120},
		{"all of a message", "t", 1, 40, false, 80}, {"all of a message, received", "t", 1, 40, true, 120},
		{"some topics", "t/{tag}", 10, 20, false, 109}, {"all but two of a window", "t/{tag}", 3, 40, false, 82},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t, saysInUse)
			b := inFlight(t, c.topic, r, c.received)
			b.log.Lose(c.first, c.last)
			b.connect(true)
			b.log.Publish(frames(40))
			r.settle(b)
			if _, most := r.times(120); most != 1 || len(r.delivered) != c.arrive {
				t.Errorf("%d frames arrived, up to %d times; want %d, once", len(r.delivered), most, c.arrive)
			}
			if b.log.Acked() != 120 || len(b.log.Pinned()) != 0 {
				t.Errorf("acknowledged up to %d, records pin %v", b.log.Acked(), b.log.Pinned())
			}
		})
	}
}

// TestLimitsHistories changes what the broker takes again and again, among cuts and
// crashes: no frame is lost, and with a broker that compares none comes twice.
func TestLimitsHistories(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 50
	}
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			limitsHistory(t, rand.New(rand.NewPCG(uint64(seed), 11)))
		})
	}
}

func limitsHistory(t *testing.T, rnd *rand.Rand) {
	kind := rnd.IntN(3)
	b := newBench(t, []string{"t", "t/{tag}", "t/{driver}"}[rnd.IntN(3)], 2)
	b.limits.inflight = 1 + rnd.IntN(6)
	r := newReceiver(t, kind)
	b.connect(false)
	published := uint64(0)
	for range 60 {
		switch x := rnd.IntN(8); {
		case x < 3:
			k := 1 + rnd.IntN(40)
			b.log.Publish(frames(k))
			published += uint64(k)
		case x == 3:
			r.limit = headerRoom + 200 + rnd.IntN(3000)
			b.limits.packetSize = r.limit
			if rnd.IntN(2) == 0 {
				b.log.Crash()
				b.open()
			}
			b.wire.buf.Reset() // lost
			b.connect(true)
		case x == 4:
			if rnd.IntN(2) == 0 {
				b.log.Crash()
				b.open()
			}
			b.connect(true)
		}
		b.read()
		if _, err := b.sender.turn(true); err != nil {
			t.Fatal(err)
		}
		if rnd.IntN(3) > 0 {
			r.take(b)
		}
	}
	r.settle(b)
	least, most := r.times(published)
	if least < 1 || most > 1 && kind == compares {
		t.Errorf("broker %d: frames arrived %d to %d times", kind, least, most)
	}
	if b.log.Acked() != published || len(b.log.Pinned()) != 0 {
		t.Errorf("acknowledged up to %d of %d, records pin %v", b.log.Acked(), published, b.log.Pinned())
	}
}
