package mqtt

import (
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// TestLiveStreamNeverGoesBack restarts with less of a backlog left than makes one:
// it is backlog still, since the live stream has sent later frames.
func TestLiveStreamNeverGoesBack(t *testing.T) {
	b := newBench(t, "t", 2)
	b.cfg.LiveFirst, b.cfg.MaxBytes = true, 64<<10
	b.open()
	b.connect(false)
	complete := func() {
		for _, answer := range []byte{packets.PUBREC, packets.PUBCOMP} {
			for id := range b.session.byID {
				b.ack(answer, id, 0)
			}
			b.turn()
		}
	}
	window := func() {
		w, err := b.reader.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.reader.windows <- w
		b.turn()
		complete()
	}
	b.log.Publish(frames(6000)) // more than behindBy: a backlog
	for b.log.Acked() < 3000 {
		window()
	}
	b.log.Publish(frames(100))
	for b.session.chains[chain{"t", streamLive}] == 0 {
		window()
	}
	if b.log.Acked() >= 6000 {
		t.Fatal("the backlog is through already")
	}
	if left := 6000 - b.log.Acked(); left > behindBy {
		t.Fatalf("%d frames of backlog are left; they would make one anyway", left)
	}
	b.open()
	b.connect(true)
	for b.log.Acked() < 6100 {
		w, err := b.reader.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.reader.windows <- w
		b.turn()
		for _, m := range b.session.byID {
			if first := m.record.First; m.record.Prev >= first {
				t.Fatalf("stream %q: frames from %d on are sent after %d", m.record.Stream, first, m.record.Prev)
			}
		}
		complete()
	}
}
