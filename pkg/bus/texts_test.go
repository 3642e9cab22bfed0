package bus

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// longText returns a batch of one frame with a text of n bytes.
func longText(set *frame.TagSet, n int) *frame.Batch {
	return &frame.Batch{Set: set, Frames: []frame.Frame{{Value: frame.StringValue(strings.Repeat("x", n)), TS: 1}}}
}

// TestTextsFillNoMemory: a device that sends long texts has as few frames in memory as that
// takes. All of them are in the log, in order.
func TestTextsFillNoMemory(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{})
	b.ring.room = 4 << 20
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 1)
	const frames, size = 40, 256 << 10
	for range frames {
		publish(t, b, longText(set, size))
	}
	publish(t, b, batchOf(set, 100, frames))
	syncBus(t, b)
	b.ring.mu.RLock()
	texts, held := 0, b.ring.batches[b.ring.head:]
	texts = textsOf(held)
	if texts > 4<<20 || texts != b.ring.texts || len(held) < 10 {
		t.Errorf("the ring holds %d bytes of texts in %d batches, and counts %d", texts, len(held), b.ring.texts)
	}
	b.ring.mu.RUnlock()
	for at := uint64(1); at <= frames; {
		batches, err := c.Read(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if n := textsOf(batches); n > 9<<20 {
			t.Errorf("one read gives %d bytes", n)
		}
		for _, batch := range batches {
			if batch.FirstSeq != at {
				t.Fatalf("frame %d after %d", batch.FirstSeq, at-1)
			}
			at = batch.LastSeq() + 1
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.texts != 0 {
		t.Errorf("%d bytes of texts wait for the disk, and all is durable", b.texts)
	}
}

// TestTextsAhead: what is read ahead of a consumer is bounded by its size.
func TestTextsAhead(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{})
	b.ring.room = 1
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 1)
	for range 60 {
		publish(t, b, longText(set, 512<<10))
	}
	syncBus(t, b)
	for at := uint64(1); at <= 60; {
		batches, err := c.Read(t.Context(), 1)
		if err != nil || len(batches) != 1 || batches[0].FirstSeq != at {
			t.Fatalf("frame %d: %d batches, %v", at, len(batches), err)
		}
		at++
		c.mu.Lock()
		if n := textsOf(c.ahead); n > 9<<20 {
			t.Errorf("%d bytes are read ahead", n)
		}
		c.mu.Unlock()
	}
	read := 0
	if _, err := b.Archive().Replay(t.Context(), Selection{}, func(p *frame.Batch) error { read += p.TextBytes(); return nil }); err != nil || read != 60*512<<10 {
		t.Errorf("a replay gives %d bytes, %v", read, err)
	}
}

// TestTextsOfASlowWatcher: who watches and does not read holds a bounded number of bytes.
func TestTextsOfASlowWatcher(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{})
	s, err := b.Subscribe(frame.Filter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	set := testSet("plc", 1)
	const frames = 100
	for range frames {
		publish(t, b, longText(set, 1<<20))
	}
	syncBus(t, b)
	held := func() (frames, texts int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.texts != textsOf(s.batches) {
			t.Errorf("%d bytes are counted, %d held", s.texts, textsOf(s.batches))
		}
		return s.frames, s.texts
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // what is durable comes a little later
		n, texts := held()
		if texts > mostTexts {
			t.Fatalf("%d bytes are held", texts)
		}
		if uint64(n)+s.Dropped() == frames {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d frames are held, %d dropped", n, s.Dropped())
		}
	}
	if s.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
}

// TestTextsWaitForTheDisk: what isn't durable yet is bounded by its size too.
func TestTextsWaitForTheDisk(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{})
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.admit(1, 2*mostTexts) {
		t.Error("one text that is larger than all may be is never taken")
	}
	b.texts = mostTexts - 10
	defer func() { b.texts = 0 }()
	if b.admit(1, 11) || !b.admit(1, 10) || !b.admit(1, 0) {
		t.Errorf("with %d bytes waiting: 11 more %v, 10 %v, none %v", b.texts, b.admit(1, 11), b.admit(1, 10), b.admit(1, 0))
	}
}
