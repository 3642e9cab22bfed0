package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/connector/connectortest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/mqttreason"
)

// wire collects what the sender writes.
type wire struct {
	net.Conn
	buf bytes.Buffer
	err error
}

func (w *wire) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	return w.buf.Write(p)
}

func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// take returns the packets written since the last call, as "PUBLISH 1 dup".
func (w *wire) take(t testing.TB) []string {
	t.Helper()
	var out []string
	for w.buf.Len() > 0 {
		p, err := packets.ReadPacket(&w.buf)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%s %d", p.PacketType(), p.PacketID())
		switch c := p.Content.(type) {
		case *packets.Publish:
			if c.Duplicate {
				text += " dup"
			}
		case *packets.Pubrel:
			if c.ReasonCode != 0 {
				text += fmt.Sprintf(" %02x", c.ReasonCode)
			}
		}
		out = append(out, text)
	}
	return out
}

// bench is a sender on a log in memory and a wire; the test plays the broker.
type bench struct {
	t       testing.TB
	log     *connectortest.Log
	session *session
	sender  *sender
	reader  *reader
	wire    *wire
	faults  []error
	limits  limits
	cfg     Config
	conn    *Connector
}

func newBench(t testing.TB, topic string, qos byte) *bench {
	t.Helper()
	cfg := defaults()
	cfg.Topic, cfg.QoS, cfg.Payload, cfg.MaxInterval = topic, qos, payloadJSON, 1
	b := &bench{t: t, log: connectortest.NewLog(), cfg: cfg, limits: readLimits(nil)}
	b.open()
	return b
}

// open makes a connector on the log, as a start of the process does.
func (b *bench) open() {
	b.t.Helper()
	c, err := newConnector("mqtt", b.cfg, connector.Deps{Identity: connector.Identity{Gateway: "gw"}, Source: b.log, Log: slog.New(slog.DiscardHandler)},
		testMetrics(b.t))
	if err != nil {
		b.t.Fatal(err)
	}
	b.conn, b.session = c, c.session
}

// connect begins a connection.
func (b *bench) connect(present bool) {
	b.t.Helper()
	st, err := b.session.load()
	if err != nil {
		b.t.Fatal(err)
	}
	b.wire = new(wire)
	b.session.expect("mqtt://broker")
	if err := b.session.ConAckReceived(b.wire, &packets.Connect{ClientID: "gw"}, &packets.Connack{SessionPresent: present, Properties: &packets.Properties{}}); err != nil {
		b.t.Fatal(err)
	}
	up, err := b.conn.newUplink(&link{conn: newConn(b.wire, &bounded{Conn: b.wire})}, st, b.limits)
	if err != nil {
		b.t.Fatal(err)
	}
	b.sender, b.reader = up.sender, up.reader
	b.sender.options.fault = func(err error) { b.faults = append(b.faults, err) }
	b.sender.options.backoff = func(int) time.Duration { return 0 }
	for _, w := range up.rest {
		if err := b.reader.complete(w); err != nil {
			b.t.Fatal(err)
		}
		b.reader.windows <- w
	}
}

// read moves what the log has into windows.
func (b *bench) read() {
	b.t.Helper()
	for len(b.reader.windows) < aheadBy && (len(b.reader.live.ready) > 0 || b.log.Has(b.reader.live.cursor, b.reader.skip)) {
		w, err := b.reader.next(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		b.reader.windows <- w
	}
}

// turn lets the sender work until there is nothing more to do.
func (b *bench) turn() []string {
	b.t.Helper()
	for more := true; more; {
		var err error
		if more, err = b.sender.turn(true); err != nil {
			b.t.Fatal(err)
		}
	}
	return b.wire.take(b.t)
}

func (b *bench) ack(kind byte, id uint16, code byte) {
	b.session.queue(ack{kind: kind, id: id, code: code})
}

func (b *bench) expect(what string, got []string, want ...string) {
	b.t.Helper()
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		b.t.Errorf("%s: wrote %q, want %q", what, got, want)
	}
}

// frames returns a batch of n frames of as many tags.
func frames(n int) *frame.Batch {
	set := &frame.TagSet{Driver: "d"}
	b := &frame.Batch{Set: set}
	for i := range n {
		set.Tags = append(set.Tags, frame.Tag{Name: fmt.Sprintf("t%d", i)})
		b.Frames = append(b.Frames, frame.Frame{Value: frame.IntValue(int64(i)), TS: 1e18, Tag: uint32(i)})
	}
	return b
}

func last(c []bus.Commit) bus.Commit { return c[len(c)-1] }

// TestHandshake goes through every state and answer of QoS 2.
func TestHandshake(t *testing.T) {
	b := newBench(t, "t", 2)
	b.connect(false)
	b.log.Publish(frames(3))
	b.read()
	b.expect("first", b.turn(), "PUBLISH 1")
	if c := last(b.log.Commits()); !c.Sync || len(c.Put) != 2 {
		t.Errorf("before PUBLISH: %+v, want message and chain, synced", c)
	}
	b.ack(packets.PUBCOMP, 9, 0)
	b.ack(packets.PUBREC, 9, 0)
	b.expect("unknown identifiers", b.turn(), "PUBREL 9 92")
	b.ack(packets.PUBREC, 1, 0)
	b.expect("received", b.turn(), "PUBREL 1")
	if c := last(b.log.Commits()); !c.Sync {
		t.Error("the release was not synced before PUBREL")
	}
	b.ack(packets.PUBREC, 1, 0)
	b.expect("received again", b.turn(), "PUBREL 1")
	b.ack(packets.PUBCOMP, 1, 0)
	b.expect("complete", b.turn())
	if c := last(b.log.Commits()); c.Sync || len(c.Delete) != 1 || len(c.Ack) != 1 {
		t.Errorf("at the end: %+v, want record deleted and range acknowledged in one commit that is not synced", c)
	}
	if b.log.Acked() != 3 || len(b.session.inflight) != 0 {
		t.Errorf("acked %d, %d in flight", b.log.Acked(), len(b.session.inflight))
	}
}

// TestCrashes crashes at each step and goes on with what was synced.
func TestCrashes(t *testing.T) {
	steps := []struct {
		name    string
		answers []ack
		want    []string // first packets of the next connection
	}{
		{"stored, perhaps sent", nil, []string{"PUBLISH 1 dup"}},
		{"released", []ack{{kind: packets.PUBREC, id: 1}}, []string{"PUBREL 1"}},
		{"complete, not synced", []ack{{kind: packets.PUBREC, id: 1}, {kind: packets.PUBCOMP, id: 1}}, []string{"PUBREL 1"}},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			b := newBench(t, "t", 2)
			b.connect(false)
			b.log.Publish(frames(3))
			b.read()
			b.turn()
			for _, a := range s.answers {
				b.ack(a.kind, a.id, a.code)
				b.turn()
			}
			b.log.Crash()
			b.open()
			b.connect(true)
			b.log.Publish(frames(2))
			b.expect("after the crash", b.turn(), s.want...)
			b.read()
			b.expect("new frames", b.turn(), "PUBLISH 2")
			if got := b.session.byID[2].record; got.First != 4 || got.Prev != 3 {
				t.Errorf("the next message begins at %d after %d, want 4 after 3", got.First, got.Prev)
			}
		})
	}
}

// TestRefusals checks what follows each reason code.
func TestRefusals(t *testing.T) {
	cases := []struct {
		name string
		dup  bool
		code byte
		want []string
	}{
		{"no subscribers", false, 0x10, []string{"PUBREL 1"}},
		{"in use, after a repeat: the broker has it", true, codeInUse, []string{"PUBREL 1"}},
		{"in use, by somebody else", false, codeInUse, []string{"PUBLISH 2"}},
		{"quota", false, codeQuotaExceeded, []string{"PUBLISH 1"}},
		{"not authorized", false, codeNotAuthorized, []string{"PUBLISH 1"}},
		{"topic name invalid", false, 0x90, []string{"PUBLISH 1"}},
		{"one frame too large", false, codeTooLarge, []string{"PUBLISH 1"}},
		{"payload format invalid", false, 0x99, []string{"PUBLISH 1"}},
		{"not authorized after a repeat", true, codeNotAuthorized, []string{"PUBLISH 1 dup"}}, // it may have the first
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, "t", 2)
			b.connect(false)
			n := 3
			if c.code == codeTooLarge {
				n = 1 // more would be cut
			}
			b.log.Publish(frames(n))
			b.read()
			b.turn()
			if c.dup {
				b.connect(true)
				b.turn()
			}
			b.ack(packets.PUBREC, 1, c.code)
			b.log.Publish(frames(3)) // must not overtake
			got := b.turn()
			if len(got) == 0 { // the back-off is over at once
				got = b.turn()
			}
			b.expect("answer", got, c.want...)
			if b.log.Acked() != 0 {
				t.Errorf("acknowledged up to %d", b.log.Acked())
			}
			refused := c.code >= 0x80 && c.code != codeInUse
			if refused != (len(b.faults) > 0) {
				t.Errorf("faults: %v", b.faults)
			}
			if !refused {
				return
			}
			b.read()
			b.expect("while it is refused", b.turn())
			b.ack(packets.PUBREC, 1, 0)
			b.ack(packets.PUBCOMP, 1, 0)
			b.expect("accepted at last", b.turn(), "PUBREL 1", "PUBLISH 2")
			if last := b.faults[len(b.faults)-1]; last != nil {
				t.Errorf("the fault was not taken back: %v", last)
			}
		})
	}
}

// TestFaultStates says which refusals need a person, and shows each in words.
func TestFaultStates(t *testing.T) {
	b := newBench(t, "t", 2)
	for code, want := range map[byte]string{codeQuotaExceeded: "up", 0x89: "up", 0x96: "up",
		codeNotAuthorized: "fault", 0x90: "fault", codeTooLarge: "fault", 0x99: "fault", 0x9B: "fault"} {
		b.conn.setFault(fmt.Errorf("message on t refused: %w", &refusal{code: code}))
		st := b.conn.Status()
		if st.State != want || !strings.Contains(st.Error, mqttreason.Text(code)) {
			t.Errorf("0x%02X: state %s (%s), want %s", code, st.State, st.Error, want)
		}
	}
	b.conn.setFault(nil)
	if st := b.conn.Status(); st.State != "up" || st.Error != "" {
		t.Errorf("after all: %+v", st)
	}
}

// TestStoreFails writes nothing that was not stored, and goes on from the records.
func TestStoreFails(t *testing.T) {
	b := newBench(t, "t", 2)
	b.connect(false)
	b.log.Publish(frames(3))
	b.read()
	boom := errors.New("disk")
	b.log.FailNext(boom)
	if _, err := b.sender.turn(true); !errors.Is(err, boom) {
		t.Fatalf("turn: %v", err)
	}
	b.expect("without a record", b.wire.take(t))
	b.connect(true)
	b.read()
	b.expect("on the next connection", b.turn(), "PUBLISH 2")
	b.log.FailNext(boom)
	b.ack(packets.PUBREC, 2, 0)
	if _, err := b.sender.turn(true); !errors.Is(err, boom) {
		t.Fatalf("turn: %v", err)
	}
	b.expect("without a release", b.wire.take(t))
	b.connect(true)
	b.expect("on the next connection", b.turn(), "PUBLISH 2 dup")
}

// TestSessionLost sends everything anew, also what was released, and remembers
// that durably before.
func TestSessionLost(t *testing.T) {
	b := newBench(t, "t/{tag}", 2)
	b.connect(false)
	b.log.Publish(frames(3))
	b.read()
	b.expect("first", b.turn(), "PUBLISH 1", "PUBLISH 2", "PUBLISH 3")
	b.ack(packets.PUBREC, 2, 0)
	b.turn()
	b.connect(false)
	b.log.Crash()
	b.open()
	b.connect(true)
	b.expect("anew", b.turn(), "PUBLISH 1 dup", "PUBLISH 2 dup", "PUBLISH 3 dup")
}

// TestHistories runs random histories of answers, cuts, crashes and lost commits
// against a broker that keeps its session, and checks that each frame is
// delivered exactly once, in order.
func TestHistories(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 50
	}
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			history(t, rand.New(rand.NewPCG(uint64(seed), 7)))
		})
	}
}

// fakeBroker keeps the receiving side of QoS 2: it delivers on PUBLISH.
type fakeBroker struct {
	open      map[uint16]bool
	delivered []uint64 // seqs, in order of arrival
}

func history(t *testing.T, r *rand.Rand) {
	topic := []string{"t", "t/{tag}", "t/{driver}"}[r.IntN(3)]
	b := newBench(t, topic, 2)
	b.limits.inflight = 1 + r.IntN(6)
	broker := &fakeBroker{open: map[uint16]bool{}}
	b.connect(false)
	published := uint64(0)
	for step := range 120 {
		last := step > 90 // nothing goes wrong any more
		switch x := r.IntN(10); {
		case x < 3 && !last:
			k := 1 + r.IntN(4)
			b.log.Publish(frames(k))
			published += uint64(k)
		case x == 3 && !last:
			b.connect(true) // the connection was cut
			continue
		case x == 4 && !last:
			b.log.Crash()
			b.open()
			b.connect(true)
			continue
		}
		b.read()
		if _, err := b.sender.turn(true); err != nil {
			t.Fatal(err)
		}
		broker.receive(t, b, r, last)
	}
	for range 200 {
		b.read()
		if _, err := b.sender.turn(true); err != nil {
			t.Fatal(err)
		}
		broker.receive(t, b, r, true)
	}
	if b.log.Acked() != published || len(b.session.inflight) != 0 {
		t.Fatalf("acknowledged up to %d of %d, %d in flight", b.log.Acked(), published, len(b.session.inflight))
	}
	seen := map[uint64]int{}
	for _, s := range broker.delivered {
		seen[s]++
	}
	for s := uint64(1); s <= published; s++ {
		if seen[s] != 1 {
			t.Fatalf("frame %d was delivered %d times", s, seen[s])
		}
	}
	for i := 1; topic == "t" && i < len(broker.delivered); i++ {
		if broker.delivered[i] != broker.delivered[i-1]+1 {
			t.Fatalf("frame %d follows %d", broker.delivered[i], broker.delivered[i-1])
		}
	}
}

// receive takes what is on the wire, loses the rest of it or the answers at times.
func (f *fakeBroker) receive(t *testing.T, b *bench, r *rand.Rand, reliable bool) {
	t.Helper()
	for b.wire.buf.Len() > 0 {
		p, err := packets.ReadPacket(&b.wire.buf)
		if err != nil {
			t.Fatal(err)
		}
		if !reliable && r.IntN(12) == 0 { // cut: what was written is lost
			b.wire.buf.Reset()
			b.connect(true)
			return
		}
		switch c := p.Content.(type) {
		case *packets.Publish:
			if !f.open[c.PacketID] {
				f.open[c.PacketID] = true
				samples, err := frame.DecodeJSON(c.Payload, frame.Milliseconds)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range samples {
					f.delivered = append(f.delivered, s.Seq)
				}
			} else if !c.Duplicate {
				t.Fatalf("identifier %d is used anew while its handshake is open", c.PacketID)
			}
			b.ack(packets.PUBREC, c.PacketID, 0)
		case *packets.Pubrel:
			code := byte(codeNotFound)
			if f.open[c.PacketID] {
				delete(f.open, c.PacketID)
				code = 0
			}
			b.ack(packets.PUBCOMP, c.PacketID, code)
		}
	}
}
