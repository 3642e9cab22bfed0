package bus

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// seqsOf replays sel and returns the runs of seqs that it got.
func seqsOf(t *testing.T, a *Archive, sel Selection) []Range {
	t.Helper()
	var runs []Range
	done, err := a.Replay(t.Context(), sel, func(b *frame.Batch) error {
		if n := len(runs); n > 0 && runs[n-1].Last+1 == b.FirstSeq {
			runs[n-1].Last = b.LastSeq()
		} else {
			runs = append(runs, Range{First: b.FirstSeq, Last: b.LastSeq()})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Damaged) > 0 {
		t.Fatal(done.Damaged[0])
	}
	return runs
}

func TestReplaySelections(t *testing.T) {
	now := atomic.Int64{}
	start := time.Unix(1763888400, 0)
	now.Store(start.Unix())
	cfg := testConfig(filepath.Join(t.TempDir(), "log"))
	b := openBus(t, cfg, Deps{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	openReader(t, b, "mqtt")
	set := testSet("plc", 10)
	for i := range 60 { // one batch of 10 frames a minute, frame j one second after frame j-1
		batch := batchOf(set, 10, int64(i*10))
		for j := range batch.Frames {
			batch.Frames[j].TS = start.Add(time.Duration(i)*time.Minute + time.Duration(j)*time.Second).UnixNano()
		}
		now.Store(start.Unix() + int64(i)*60 + 10)
		publish(t, b, batch)
		syncBus(t, b)
	}
	epoch := b.Epoch()
	minute := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	check := func(a *Archive) {
		t.Helper()
		for _, tc := range []struct {
			name string
			sel  Selection
			want []Range
		}{
			{"all", Selection{}, []Range{{First: 1, Last: 600}}},
			{"seqs", Selection{First: 15, Last: 33}, []Range{{First: 15, Last: 33}}},
			{"open end", Selection{First: 595}, []Range{{First: 595, Last: 600}}},
			{"times", Selection{From: minute(10), To: minute(12)}, []Range{{First: 101, Last: 120}}},
			{"within a batch", Selection{From: minute(10).Add(3 * time.Second), To: minute(10).Add(5 * time.Second)}, []Range{{First: 104, Last: 105}}},
			{"before all", Selection{To: start}, nil},
			{"after all", Selection{From: minute(61)}, nil},
			{"tag", Selection{Last: 20, Filter: frame.Filter{Tags: []string{"plc.tag00[34]"}}}, []Range{{First: 4, Last: 5}, {First: 14, Last: 15}}},
			{"driver", Selection{Filter: frame.Filter{Drivers: []string{"other"}}}, nil},
		} {
			if d := cmp.Diff(tc.want, seqsOf(t, a, tc.sel)); d != "" {
				t.Errorf("%s: %s", tc.name, d)
			}
		}
	}
	check(b.Archive())

	var file bytes.Buffer
	if _, err := b.Archive().Export(t.Context(), &file, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(cfg.WALDir, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(a) // the same on a stopped gateway's directory
	if s := a.Stats(); s.Epoch != epoch || s.LastSeq != 600 || len(s.Consumers) != 1 || s.Consumers[0].Lag != 600 {
		t.Errorf("stats %+v", s)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	// And on a copy.
	dir := filepath.Join(t.TempDir(), "copy")
	exported := bytes.Clone(file.Bytes())
	if _, err := Import(dir, &file, nil); err != nil {
		t.Fatal(err)
	}
	if a, err = OpenArchive(dir, false, nil); err != nil {
		t.Fatal(err)
	}
	check(a)
	if a.Stats().Epoch != epoch {
		t.Error("the copy has another epoch")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Import(dir, bytes.NewReader(exported), nil); err == nil {
		t.Error("import into a log that is there")
	}
	for _, cut := range []int{0, 7, 8, len(exported) / 2, len(exported) - 1} {
		if _, err := Import(filepath.Join(t.TempDir(), "x"), bytes.NewReader(exported[:cut]), nil); err == nil {
			t.Errorf("an export cut at %d of %d was taken", cut, len(exported))
		}
	}
	// Into another gateway's log they go as new frames.
	other := openBus(t, testConfig(t.TempDir()), Deps{})
	c := openReader(t, other, "mqtt")
	publish(t, other, batchOf(set, 3, 0))
	if _, err := other.Import(t.Context(), bytes.NewReader(exported)); err != nil {
		t.Fatal(err)
	}
	readTo(t, c, 1, 3, 0)
	readTo(t, c, 4, 603, -3)
}

// TestReplayOfLateFrames finds frames by their source times that were logged at
// other times: after the clock went forward and back, and by an import.
func TestReplayOfLateFrames(t *testing.T) {
	now := atomic.Int64{}
	start := time.Unix(1763888400, 0)
	cfg := testConfig(filepath.Join(t.TempDir(), "log"))
	b := openBus(t, cfg, Deps{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	openReader(t, b, "mqtt")
	set := testSet("plc", 10)
	at := func(clock, source time.Duration) {
		t.Helper()
		now.Store(start.Add(clock).Unix())
		batch := batchOf(set, 10, 0)
		for i := range batch.Frames {
			batch.Frames[i].TS = start.Add(source).UnixNano()
		}
		publish(t, b, batch)
		syncBus(t, b)
	}
	day, year := 24*time.Hour, 365*24*time.Hour
	at(0, 0)                             // 1
	at(70*year, 70*year)                 // 11: the clock was wrong
	at(time.Minute, time.Minute)         // 21: and was set right
	at(2*time.Minute, 2*time.Minute)     // 31
	at(day, day)                         // 41
	at(day+time.Minute, 90*time.Second)  // 51: an import of old frames
	at(day+2*time.Minute, day+time.Hour) // 61: a device's clock is ahead by nearly an hour
	at(day-time.Hour, day-time.Hour)     // 71: the clock was set back
	for _, tc := range []struct {
		name     string
		from, to time.Duration
		want     []Range
	}{
		{"the first minutes", 0, 3 * time.Minute, []Range{{First: 1, Last: 10}, {First: 21, Last: 40}, {First: 51, Last: 60}}},
		{"the wrong time", 69 * year, 71 * year, []Range{{First: 11, Last: 20}}},
		{"the next day", day, day + 2*time.Hour, []Range{{First: 41, Last: 50}, {First: 61, Last: 70}}},
		{"before the jump back", day - 2*time.Hour, day, []Range{{First: 71, Last: 80}}},
	} {
		if d := cmp.Diff(tc.want, seqsOf(t, b.Archive(), Selection{From: start.Add(tc.from), To: start.Add(tc.to)})); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
	}
}

func TestGC(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{})
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 100)
	for i := range 100 {
		publish(t, b, batchOf(set, 100, int64(i*100)))
	}
	syncBus(t, b)
	all := b.Stats().WALBytes
	kept := b.Config()
	kept.Retain = time.Hour
	if err := b.Update(kept); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(Commit{Ack: []Range{{First: 1, Last: 2000}}}); err != nil {
		t.Fatal(err)
	}
	a := b.Archive()
	gc := func(keep uint64, dry, force bool) GCReport {
		t.Helper()
		r, err := a.GC(t.Context(), keep, dry, force)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := gc(all/2, true, false); r.Last != 2000 || r.Blocked < 2900 || r.Unacked != 0 || len(r.Consumers) != 1 {
		t.Errorf("dry run: %+v", r)
	}
	if s := b.Stats(); s.FirstSeq != 1 {
		t.Errorf("a dry run deleted frames before %d", s.FirstSeq)
	}
	if r := gc(all/2, true, true); r.Unacked != r.Last-2000 {
		t.Errorf("dry run with force: %+v", r)
	}
	if r := gc(all/2, false, false); r.Last != 2000 || b.Stats().FirstSeq != 2001 {
		t.Errorf("without force: %+v, first %d", r, b.Stats().FirstSeq)
	}
	r := gc(all/2, false, true)
	if r.Last < 4800 || r.Last > 6000 || r.Unacked != r.Last-2000 || r.Kept > all/2+200 || // and the sys.gap frame
		b.Stats().FirstSeq != r.Last+1 {
		t.Errorf("with force: %+v", r)
	}
	waitFor(t, "the gap to be told", func() bool { return len(gapsTold(t, b)) == 1 })
	if g := gapsTold(t, b)[0]; g.From != 2001 || g.To != r.Last || g.Reason != "gc" {
		t.Errorf("told %+v", g)
	}
	readTo(t, c, r.Last+1, 10000, 0)

	// Of retained frames, only those that somebody has not had are a gap.
	if err := c.Commit(Commit{Ack: []Range{{First: 1, Last: 8000}}}); err != nil {
		t.Fatal(err)
	}
	if r = gc(all/10, false, true); r.First > 8000 || r.Last < 8500 || r.Unacked != r.Last-8000 {
		t.Errorf("with force and retained frames: %+v", r)
	}
	waitFor(t, "the second gap to be told", func() bool { return len(gapsTold(t, b)) == 2 })
	if g := gapsTold(t, b)[1]; g.From != 8001 || g.To != r.Last {
		t.Errorf("told %+v", g)
	}
}

func TestTail(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{})
	set := testSet("plc", 100)
	publish(t, b, batchOf(set, 100, 0))
	syncBus(t, b)
	s, err := b.Subscribe(frame.Filter{Tags: []string{"*.tag007"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	publish(t, b, batchOf(set, 100, 100))
	got, err := s.Next(t.Context())
	if err != nil || len(got) != 1 || got[0].FirstSeq != 108 || len(got[0].Frames) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	all, err := b.Subscribe(frame.Filter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	for range 50 { // nobody reads
		publish(t, b, batchOf(set, 100, 0))
	}
	syncBus(t, b)
	held := uint64(0)
	for held+all.Dropped() < 5000 { // what is durable comes in one piece or in several
		got, err = all.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := frame.CountFrames(got)
		if held += uint64(n); n > 1024 {
			t.Errorf("%d frames at once", n)
		}
	}
	if held+all.Dropped() != 5000 {
		t.Errorf("%d frames held, %d dropped", held, all.Dropped())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := all.Next(ctx); err == nil {
		t.Error("frames out of nowhere")
	}
}

func TestSetAtRunTime(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{})
	want := Config{RingPow: 15, PauseHi: 0.9, ResumeLo: 0.5, WALDir: b.Config().WALDir, WALFlush: 20 * time.Millisecond, WALSyncRate: 50, WALMaxBytes: 512 << 20, MinFree: 1 << 20, Overflow: Pause, Retain: 24 * time.Hour, RetainBytes: 2 << 30}
	change := want
	change.WALDir = "/elsewhere" // a log does not move while it is used
	if err := b.Update(change); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, b.Config()); d != "" {
		t.Error(d)
	}
	for what, change := range map[string]func(*Config){
		"pause_hi": func(c *Config) { c.PauseHi = 0.4 }, "wal_max_bytes": func(c *Config) { c.WALMaxBytes = 1 }, "overflow": func(c *Config) { c.Overflow = "explode" },
		"retain": func(c *Config) { c.Retain = -1 }, "ring_pow": func(c *Config) { c.RingPow = 30 }, "wal_flush_ms": func(c *Config) { c.WALFlush = time.Hour },
		"wal_sync_rate": func(c *Config) { c.WALSyncRate = -1 },
	} {
		c := want
		change(&c)
		if err := b.Update(c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if d := cmp.Diff(want, b.Config()); d != "" {
		t.Errorf("a refused setting changed something: %s", d)
	}
}

// TestModel runs random histories of publishing, reading, acknowledging, seeking,
// trimming and restarting, and holds each against a simple model: the list of
// values, and for each consumer the set of seqs that it has acknowledged.
func TestModel(t *testing.T) {
	histories := 8
	if long() {
		histories = 3000
	}
	for seed := range uint64(histories) {
		if !t.Run("", func(t *testing.T) { runModel(t, seed) }) {
			t.Fatalf("history %d", seed)
		}
	}
}

type modelConsumer struct {
	c      *Reader
	cursor uint64
	done   map[uint64]bool
	inRead []Range // read, not acknowledged
}

func (m *modelConsumer) acked() uint64 {
	n := uint64(0)
	for m.done[n+1] {
		n++
	}
	return n
}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 99))
	cfg := testConfig(t.TempDir())
	b, err := Open(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }() // the last one; what it could lose is checked before
	set := testSet("plc", 40)
	names := []string{"a", "b"}
	model := map[string]*modelConsumer{}
	open := func() {
		for _, name := range names {
			m := model[name]
			if m == nil {
				m = &modelConsumer{done: map[uint64]bool{}}
				model[name] = m
			}
			m.c = openReader(t, b, name)
			m.cursor, m.inRead = m.acked()+1, nil
			if m.c.Acked() != m.acked() {
				t.Fatalf("%s stands at %d, expected %d", name, m.c.Acked(), m.acked())
			}
		}
	}
	open()
	total := uint64(0)
	for range 120 {
		m := model[names[r.IntN(2)]]
		switch op := r.IntN(20); {
		case op < 7:
			n := 1 + r.IntN(200)
			publish(t, b, batchOf(set, n, int64(total)))
			total += uint64(n)
		case op < 13:
			m.read(t, b, total, 1+r.IntN(300))
		case op < 16 && len(m.inRead) > 0: // acknowledge in any order
			i := r.IntN(len(m.inRead))
			got := m.inRead[i]
			m.inRead = append(m.inRead[:i], m.inRead[i+1:]...)
			if err := m.c.Commit(Commit{Ack: []Range{got}, Sync: r.IntN(2) == 0}); err != nil {
				t.Fatal(err)
			}
			for seq := got.First; seq <= got.Last; seq++ {
				m.done[seq] = true
			}
		case op == 16: // as after a reconnect
			m.c.Seek(m.acked() + 1)
			m.cursor, m.inRead = m.acked()+1, nil
		case op == 17:
			if _, err := b.Archive().GC(t.Context(), 0, false, false); err != nil {
				t.Fatal(err)
			}
			if floor := b.Stats().FirstSeq; floor > min(model["a"].acked(), model["b"].acked())+1 {
				t.Fatalf("frames before %d are gone", floor)
			}
		case op == 18:
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if b, err = Open(cfg, Deps{}); err != nil {
				t.Fatal(err)
			}
			open()
		case op == 19:
			syncBus(t, b)
		}
	}
	syncBus(t, b)
	for _, m := range model {
		for m.cursor <= total {
			m.read(t, b, total, 500)
		}
	}
}

// read reads once and checks that it gets the next frames that are not done.
func (m *modelConsumer) read(t *testing.T, b *Bus, total uint64, most int) {
	t.Helper()
	want := m.cursor
	for m.done[want] {
		want++
	}
	if want > total {
		m.cursor = want
		return
	}
	syncBus(t, b)
	got, err := m.c.Read(t.Context(), most)
	if err != nil {
		t.Fatal(err)
	}
	if n := frame.CountFrames(got); n > most && len(got) > 1 {
		t.Fatalf("%d frames, at most %d were asked for", n, most)
	}
	for _, batch := range got {
		for i := range batch.Frames {
			seq := batch.FirstSeq + uint64(i)
			if seq != want || m.done[seq] || batch.Frames[i].Value.Int() != int64(seq)-1 {
				t.Fatalf("got seq %d with value %d, expected seq %d; done: %v", seq, batch.Frames[i].Value.Int(), want, m.done[seq])
			}
			want++
		}
	}
	m.inRead = append(m.inRead, Range{First: got[0].FirstSeq, Last: want - 1})
	m.cursor = want
}
