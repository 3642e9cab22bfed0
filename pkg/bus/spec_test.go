package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// The five tests of the specification, §4.11, by their names.

func Test_unit_envelope_roundtrip(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Retain = time.Hour // nobody reads them: they would be taken away
	b := openBus(t, cfg, Deps{})
	set := &frame.TagSet{Driver: "plc", Tags: []frame.Tag{{Name: "plant.flow", Unit: "m3_h"}, {Name: "plant.run"}, {Name: "plant.recipe"}, {Name: "plant.blob"}, {Name: "plant.count"}, {Name: "plant.lost"}}}
	want := &frame.Batch{ConfigRev: 17, Kind: frame.Data, Set: set, Frames: []frame.Frame{
		{Value: frame.FloatValue(12.3), TS: 1763888400123456789, Tag: 0},
		{Value: frame.BoolValue(true), TS: 1763888400123456790, Tag: 1, Quality: frame.Uncertain},
		{Value: frame.StringValue("Rezept 7, 30 °C"), TS: 1763888400123456789, Tag: 2},
		{Value: frame.BytesValue([]byte{0, 255, 7}), TS: -1, Tag: 3},
		{Value: frame.UintValue(1<<63 + 5), TS: 0, Tag: 4},
		{Value: frame.Value{}, TS: 1763888400123456789, Tag: 5, Quality: frame.Bad},
	}}
	publish(t, b, want)
	cmd := frame.Single(frame.Cmd, "plc", frame.Tag{Name: "plant.run"}, frame.Frame{Value: frame.BoolValue(false), TS: 5})
	publish(t, b, cmd)
	syncBus(t, b)
	var got []*frame.Batch
	if _, err := b.Archive().Replay(t.Context(), Selection{}, func(b *frame.Batch) error { got = append(got, b); return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]*frame.Batch{want, cmd}, got, cmp.AllowUnexported(frame.Value{})); d != "" {
		t.Error(d)
	}
	if want.FirstSeq != 1 || cmd.FirstSeq != 7 {
		t.Errorf("seqs %d and %d, expected 1 and 7", want.FirstSeq, cmd.FirstSeq)
	}
}

// pressureLog notes what the hook is told.
type pressureLog struct {
	pauses, resumes atomic.Int64
	ch              chan bool
}

func newPressureLog() *pressureLog { return &pressureLog{ch: make(chan bool, 100)} }

func (p *pressureLog) hook(paused bool) {
	if paused {
		p.pauses.Add(1)
	} else {
		p.resumes.Add(1)
	}
	p.ch <- paused
}

func (p *pressureLog) expect(t *testing.T, paused bool) {
	t.Helper()
	select {
	case got := <-p.ch:
		if got != paused {
			t.Fatalf("the drivers were told paused=%v, expected %v", got, paused)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("the drivers were not told paused=%v", paused)
	}
}

func Test_ring_overflow_pause(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Overflow = Pause
	pressure := newPressureLog()
	b := openBus(t, cfg, Deps{OnPressure: pressure.hook})
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 100)
	published := atomic.Int64{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan struct{})
	go func() { // a driver that does not listen to Pause
		defer close(stopped)
		for i := range 200 { // 20,000 frames
			if b.Publish(ctx, batchOf(set, 100, int64(i*100))) != nil {
				return
			}
			published.Add(100)
		}
	}()
	pressure.expect(t, true)
	waitFor(t, "the ring to be full", func() bool { return published.Load() >= 16300 })
	time.Sleep(50 * time.Millisecond) // long enough for more, if more were let in
	if n := published.Load(); n != 16300 {
		t.Errorf("%d frames were let in, the ring holds %d", n, 1<<14)
	}
	if s := b.Stats(); s.RingUsed != 16300 || !s.Paused {
		t.Errorf("ring_used %d, paused %v", s.RingUsed, s.Paused)
	}
	readTo(t, c, 1, 11000, 0) // there is space again: what is left stays below resume_lo
	pressure.expect(t, false)
	<-stopped
	readTo(t, c, 11001, 20000, 0)
}

func Test_wal_replay_after_crash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	cfg := testConfig("log")
	b := openBus(t, cfg, Deps{FS: mem})
	openReader(t, b, "mqtt")
	set := testSet("plc", 10)
	for i := range 100 {
		publish(t, b, batchOf(set, 10, int64(i*10)))
	}
	syncBus(t, b)
	after := openBus(t, cfg, Deps{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
	c := openReader(t, after, "mqtt")
	if c.Head() != 1000 {
		t.Errorf("head %d, expected 1000", c.Head())
	}
	readTo(t, c, 1, 1000, 0)
	publish(t, after, batchOf(set, 5, 1000))
	readTo(t, c, 1001, 1005, 0)
}

func Test_ack_gc_threshold(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{}) // retain: 0
	var consumers []*Reader
	for i := range 3 {
		consumers = append(consumers, openReader(t, b, fmt.Sprint("c", i)))
	}
	set := testSet("plc", 100)
	for i := range 100 {
		publish(t, b, batchOf(set, 100, int64(i*100)))
	}
	syncBus(t, b)
	full := b.Stats().WALBytes
	ack := func(c *Reader, last uint64) {
		t.Helper()
		if err := c.Commit(Commit{Ack: []Range{{First: 1, Last: last}}}); err != nil {
			t.Fatal(err)
		}
	}
	ack(consumers[0], 9000)
	ack(consumers[1], 5000)
	time.Sleep(3 * collectPause) // long enough for the collector to go wrong
	if s := b.Stats(); s.FirstSeq != 1 {
		t.Fatalf("frames before %d are gone, one consumer has acknowledged nothing", s.FirstSeq)
	}
	ack(consumers[2], 3000)
	waitFor(t, "the least ack to be the limit", func() bool { return b.Stats().FirstSeq == 3001 })
	if s := b.Stats(); s.WALBytes >= full*8/10 {
		t.Errorf("the log went from %d to %d bytes, expected 30 %% less", full, s.WALBytes)
	}
	ack(consumers[2], 9000)
	waitFor(t, "the next one", func() bool { return b.Stats().FirstSeq == 5001 })
	readTo(t, openReader(t, b, "new"), 5001, 10000, 0)
}

// waitFor waits for what another goroutine is about to do.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) { // polls
		if time.Now().After(end) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func Test_pause_resume_hysteresis(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Overflow = Pause
	pressure := newPressureLog()
	b := openBus(t, cfg, Deps{OnPressure: pressure.hook})
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 64)
	const ring = 1 << 14
	n := 0
	fill := func(to int) { // unread frames, in units of 64
		t.Helper()
		for ; n+64 <= to; n += 64 {
			publish(t, b, batchOf(set, 64, 0))
		}
	}
	readDown := func(to int) {
		t.Helper()
		for n > to {
			got, err := c.Read(t.Context(), 64)
			if err != nil {
				t.Fatal(err)
			}
			n -= frame.CountFrames(got)
		}
	}
	fill(ring * 81 / 100)
	pressure.expect(t, true)
	for range 5 { // between the marks nothing changes
		readDown(ring * 65 / 100)
		fill(ring * 79 / 100)
	}
	readDown(ring * 59 / 100)
	pressure.expect(t, false)
	for range 5 {
		fill(ring * 79 / 100)
		readDown(ring * 50 / 100)
	}
	syncBus(t, b)
	if p, r := pressure.pauses.Load(), pressure.resumes.Load(); p != 1 || r != 1 {
		t.Errorf("%d pauses and %d resumes, expected one of each", p, r)
	}
}
