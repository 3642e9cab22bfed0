package mqtt

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// busBench is a bench whose consumer is a real bus's.
type busBench struct {
	*bench
	bus *bus.Bus
	c   *bus.Reader
}

func newBusBench(t *testing.T, topic string, mod func(*bus.Config)) *busBench {
	t.Helper()
	cfg := bus.DefaultConfig(t.TempDir())
	cfg.WALFlush, cfg.MinFree, cfg.Retain = time.Millisecond, 0, 0
	if mod != nil {
		mod(&cfg)
	}
	bb, err := bus.Open(cfg, bus.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bb.Close() })
	c, err := bb.OpenReader("mqtt", bus.StartOldest)
	if err != nil {
		t.Fatal(err)
	}
	m := defaults()
	m.Topic, m.QoS, m.Payload, m.MaxInterval = topic, 2, payloadJSON, 1
	b := &bench{t: t, cfg: m, limits: readLimits(nil)}
	r := &busBench{b, bb, c}
	r.reopen()
	return r
}

func (r *busBench) reopen() {
	conn, err := newConnector("mqtt", r.cfg, connector.Deps{Identity: connector.Identity{Gateway: "gw"}, Source: r.c, Log: slog.New(slog.DiscardHandler)},
		testMetrics(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn, r.session = conn, conn.session
}

func (r *busBench) pub(t *testing.T, b *frame.Batch) {
	t.Helper()
	if err := r.bus.PublishSync(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

// TestLogDropsAroundWindow has the log drop its oldest frames while a window of many
// messages is half stored: the window is pinned, and goes out.
func TestLogDropsAroundWindow(t *testing.T) {
	r := newBusBench(t, "t/{tag}", func(c *bus.Config) { c.Overflow = bus.DropOldest; c.WALMaxBytes = 1 << 20 })
	r.connect(false)
	r.pub(t, frames(100)) // 100 topics: 100 messages, 64 in flight at most
	w, err := r.reader.next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.reader.windows <- w
	if sent := len(r.turn()); sent == 0 || sent >= 100 {
		t.Fatalf("%d messages were sent of a window of 100", sent)
	}
	// the broker is away; the log overflows
	for r.bus.Archive().Stats().FirstSeq < 5000 {
		r.pub(t, frames(1000))
		time.Sleep(2 * time.Millisecond) // the collector works beside
	}
	for try := range 2 {
		r.connect(true)
		for {
			more, err := r.sender.turn(true)
			if err != nil {
				t.Errorf("connection %d: %v", try, err)
				break
			}
			for _, p := range r.wire.take(t) {
				var kind string
				var id uint16
				fmt.Sscanf(p, "%s %d", &kind, &id)
				switch kind {
				case "PUBLISH":
					r.ack(packets.PUBREC, id, 0)
				case "PUBREL":
					r.ack(packets.PUBCOMP, id, 0)
				}
				more = true
			}
			if !more {
				break
			}
		}
	}
	if r.c.Acked() < 100 || len(r.session.inflight) != 0 {
		t.Errorf("acknowledged up to %d, %d messages in flight", r.c.Acked(), len(r.session.inflight))
	}
}

// TestAckBeforeFirstRead has the last message in flight complete between the making
// of the reader and its first read: what was finished out of order before is not
// read again.
func TestAckBeforeFirstRead(t *testing.T) {
	r := newBusBench(t, "t", nil)
	for range 4 {
		r.pub(t, frames(10)) // 1…40
	}
	// 1…10 in flight and released; 11…20 delivered (its PUBCOMP came first); 21…40 new
	rec := messageRecord{ID: 1, Order: 1, Released: true, QoS: 2, Topic: "t", First: 1, Last: 10, Template: "t", encoding: encoding{Payload: payloadJSON, Unit: frame.Milliseconds}}
	p, _ := put(rec.key(), rec, bus.Range{First: 1, Last: 10})
	s, _ := put(keySession, sessionRecord{Epoch: r.c.Epoch(), ClientID: "gw", Servers: []string{"mqtt://broker"}}, bus.Range{})
	if err := r.c.Commit(bus.Commit{Put: []bus.Record{p, s}, Ack: []bus.Range{{First: 11, Last: 20}}, Sync: true}); err != nil {
		t.Fatal(err)
	}
	r.connect(true)
	r.turn()
	r.ack(packets.PUBCOMP, 1, 0)
	r.turn()
	if r.c.Acked() != 20 {
		t.Fatal("setup")
	}
	w, err := r.reader.next(t.Context()) // the reader gets the processor only now
	if err != nil {
		t.Fatal(err)
	}
	if w.record.First <= 20 {
		t.Errorf("frames %d…%d are delivered again, %d were delivered", w.record.First, w.record.Last, r.c.Acked())
	}
}

// TestSetBack has an operator set the consumer back: the frames go again, in a
// chain that a consumer understands.
func TestSetBack(t *testing.T) {
	r := newBusBench(t, "t", func(c *bus.Config) { c.Retain = time.Hour })
	r.connect(false)
	for range 2 {
		b := frames(10)
		for i := range b.Frames {
			b.Frames[i].TS = time.Now().UnixNano() // or retention would be over
		}
		r.pub(t, b)
	}
	r.deliverUpTo(t, 20)
	r.reopen()
	if err := r.bus.Rewind(5); err != nil {
		t.Fatal(err)
	}
	r.connect(true)
	r.deliverUpTo(t, 20)
	if c := r.session.chains[chain{"t", ""}]; c != 20 {
		t.Errorf("the chain ends at %d, want 20", c)
	}
}

// deliverUpTo delivers up to last, and holds each message's prev_seq against its frames.
func (r *busBench) deliverUpTo(t *testing.T, last uint64) {
	t.Helper()
	for r.c.Acked() < last {
		w, err := r.reader.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		first := w.record.First
		r.reader.windows <- w
		r.turn()
		for id, m := range r.session.byID {
			if m.record.Prev != first-1 {
				t.Errorf("frames from %d on are sent with prev_seq %d", first, m.record.Prev)
			}
			r.ack(packets.PUBREC, id, 0)
		}
		r.turn()
		for id := range r.session.byID {
			r.ack(packets.PUBCOMP, id, 0)
		}
		r.turn()
	}
}
