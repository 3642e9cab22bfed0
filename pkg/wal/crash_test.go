package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/edge-gateway/edge-gateway/test/faults"
)

// promise is what the log has promised so far: what a crash at this moment must
// not take back.
type promise struct {
	durable uint64            // last synced seq
	acked   map[string]uint64 // synced positions
	pins    map[string]Range  // synced records of consumer "a"
	epoch   string
}

func (p *promise) clone() *promise {
	q := &promise{durable: p.durable, acked: map[string]uint64{}, pins: map[string]Range{}, epoch: p.epoch}
	for k, v := range p.acked {
		q.acked[k] = v
	}
	for k, v := range p.pins {
		q.pins[k] = v
	}
	return q
}

// workload uses a log in every way and keeps the promise up to date: each step
// that returned is in the current promise.
type workload struct {
	gen     uint64
	current atomic.Pointer[promise]
	log     atomic.Pointer[Log] // for those who watch it
	tried   map[string]uint64   // positions that were asked for, synced or not
	written map[uint64]uint64   // which run wrote a seq
	rounds  int
}

var errStop = errors.New("stop")

func (w *workload) run(fs FS, seed uint64, stop func() bool) error {
	r := rand.New(rand.NewPCG(seed, 1))
	set, other := testSet("plc", 20), testSet("plc2", 7)
	p := w.current.Load()
	for reopen := range 2 {
		l, err := Open("log", Options{FS: fs, memTable: 16 << 10, Ballast: 1 << 10, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		w.log.Store(l)
		w.gen++
		if p.epoch != "" && l.Epoch() != p.epoch {
			return fmt.Errorf("epoch %s became %s", p.epoch, l.Epoch())
		}
		p = p.clone()
		p.epoch = l.Epoch()
		w.current.Store(p)
		a, _, errA := l.OpenBookmark("a", false)
		b, _, errB := l.OpenBookmark("b", false)
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		for i := range w.rounds {
			if stop() {
				return errStop
			}
			if err := w.round(l, r, i, []*Bookmark{a, b}, func() []Entry {
				use := set
				if r.IntN(4) == 0 {
					use = other
				}
				n := 1 + r.IntN(60)
				first := l.Next()
				m := 1 + r.IntN(5)
				for i := range n + m {
					w.written[first+uint64(i)] = w.gen
				}
				return []Entry{entry(use, w.gen, first, n), entry(set, w.gen, first+uint64(n), m)}
			}); err != nil {
				return err
			}
		}
		if reopen == 0 || r.IntN(2) == 0 {
			if err := l.Close(); err != nil {
				return err
			}
		}
		p = w.current.Load()
	}
	return nil
}

func (w *workload) round(l *Log, r *rand.Rand, i int, consumers []*Bookmark, entries func() []Entry) error {
	for range 1 + r.IntN(3) {
		if err := l.Append(entries()); err != nil {
			return err
		}
	}
	if i%3 == 2 {
		return nil // these frames wait for a later sync
	}
	last, err := l.Sync()
	if err != nil {
		return err
	}
	p := w.current.Load().clone()
	p.durable = last
	w.current.Store(p)
	for _, c := range consumers {
		if c.Acked() == last {
			continue
		}
		to := c.Acked() + 1 + r.Uint64N(last-c.Acked())
		w.tried[c.Name()] = max(w.tried[c.Name()], to)
		change := Commit{Ack: []Range{{c.Acked() + 1, to}}, Sync: r.IntN(3) == 0}
		pinned := c.Name() == "a" && r.IntN(2) == 0
		if pinned { // what is acknowledged now stays readable
			change.Put = []Record{{Key: "m", Value: []byte("x"), Pin: change.Ack[0]}}
			change.Sync = true
		}
		if err := c.Commit(change); err != nil {
			return err
		}
		if change.Sync {
			p = w.current.Load().clone()
			p.acked[c.Name()] = to
			if pinned {
				p.pins["m"] = change.Ack[0]
			}
			w.current.Store(p)
		}
	}
	if r.IntN(3) == 0 {
		limit := min(consumers[0].Acked(), consumers[1].Acked()) + 1
		if err := l.Collect(limit, false); err != nil {
			return err
		}
	}
	return nil
}

// verify opens what a crash left behind and holds it against the promise.
func (w *workload) verify(fs FS, p *promise) error {
	l, err := Open("log", Options{FS: fs, memTable: 16 << 10, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("after the crash: %w", err)
	}
	if p.epoch != "" && l.Epoch() != p.epoch {
		return fmt.Errorf("epoch %s became %s", p.epoch, l.Epoch())
	}
	if l.Durable() < p.durable {
		return fmt.Errorf("the log ends at %d, %d was durable", l.Durable(), p.durable)
	}
	pins := map[string]Range{}
	least := l.Next()
	for _, name := range []string{"a", "b"} {
		c, _, err := l.OpenBookmark(name, false)
		if err != nil {
			return err
		}
		if c.Acked() < p.acked[name] || c.Acked() > w.tried[name] {
			return fmt.Errorf("%s stands at %d: %d was synced, %d was asked for", name, c.Acked(), p.acked[name], w.tried[name])
		}
		least = min(least, c.Acked()+1)
		records, err := c.Records()
		if err != nil {
			return err
		}
		for _, r := range records {
			pins[r.Key] = r.Pin
		}
	}
	if l.Floor() > least {
		return fmt.Errorf("frames before %d are deleted, %d is needed", l.Floor(), least)
	}
	gens, err := readAll(l, least, l.Durable())
	if err != nil {
		return err
	}
	for _, pin := range pins {
		more, err := readAll(l, pin.First, pin.Last)
		if err != nil {
			return fmt.Errorf("pinned %v: %w", pin, err)
		}
		for seq, gen := range more {
			gens[seq] = gen
		}
	}
	for seq, gen := range gens {
		if want := w.written[seq]; want != gen {
			return fmt.Errorf("frame %d was written by run %d, is now of run %d", seq, want, gen)
		}
	}
	// It goes on: the next seqs are fresh, and all can be read.
	set := testSet("plc", 20)
	next := l.Next()
	if err := l.Append([]Entry{entry(set, 99, next, 10)}); err != nil {
		return err
	}
	if _, err := l.Sync(); err != nil {
		return err
	}
	if err := l.Collect(least, false); err != nil {
		return err
	}
	if _, err := readAll(l, least, next+9); err != nil {
		return fmt.Errorf("after going on: %w", err)
	}
	report, err := l.Check(context.Background())
	if err != nil {
		return err
	}
	if len(report.Damaged) > 0 {
		return fmt.Errorf("check: %w", report.Damaged[0])
	}
	return l.Close()
}

func newWorkload(rounds int) *workload {
	w := &workload{tried: map[string]uint64{}, written: map[uint64]uint64{}, rounds: rounds}
	w.current.Store((&promise{}).clone())
	return w
}

// campaign returns how many of n cases to run: all with EDGE_CRASH=all, a bounded
// sample otherwise. It returns the distance between them.
func campaign(sample, n int) int {
	if os.Getenv("EDGE_CRASH") == "all" {
		return 1
	}
	return max(1, n/sample)
}

// TestCrashAtEveryWrite runs the workload and crashes the machine at each write
// of a file in turn, with a random part of what was not synced lost.
func TestCrashAtEveryWrite(t *testing.T) {
	row := faults.Open(t, "power-write")
	seeds := uint64(1)
	if campaign(1, 2) == 1 {
		seeds = 25
	}
	for seed := 7 * seeds; seed < 8*seeds; seed++ {
		count := &atomic.Int64{}
		counting := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				count.Add(1)
			}
			return nil
		})
		w := newWorkload(12)
		if err := w.run(errorfs.Wrap(vfs.NewCrashableMem(), counting), seed, func() bool { return false }); err != nil {
			t.Fatal(err)
		}
		n := int(count.Load())
		step := campaign(150, n)
		t.Logf("seed %d: %d writes, every %d", seed, n, step)
		for k := 1; k <= n; k += step {
			promised, err := crashAt(int64(k), seed)
			if err != nil {
				t.Fatalf("crash at write %d (seed %d): %v", k, seed, err)
			}
			row.Fault(1)
			row.Count(promised, 0, 0) // a frame that is lost or doubled has ended the test
		}
	}
}

// crashAt crashes at write k, and returns how many frames were promised then.
func crashAt(k int64, seed uint64) (promised uint64, err error) {
	mem := vfs.NewCrashableMem()
	w := newWorkload(12)
	var left *vfs.MemFS
	var held *promise
	var taken atomic.Bool
	var count atomic.Int64
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, uint64(k)))
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && count.Add(1) == k {
			mu.Lock()
			defer mu.Unlock()
			held = w.current.Load() // before the clone: what is promised during it may be missing
			left = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			taken.Store(true)
		}
		return nil
	})
	if err := w.run(errorfs.Wrap(mem, inject), seed, taken.Load); err != nil && !errors.Is(err, errStop) {
		return 0, err
	}
	mu.Lock()
	defer mu.Unlock()
	if left == nil {
		return 0, nil // this run had fewer writes
	}
	return held.durable, w.verify(left, held)
}

// TestErrorAtEveryWrite has each write fail in turn, and all after it: the disk
// died. The log must notice, and a restart on the disk, alive again, must find
// all that was promised.
func TestErrorAtEveryWrite(t *testing.T) {
	const seed, n = 11, 700
	row := faults.Open(t, "disk-errors")
	for _, forever := range []bool{true, false} {
		step := campaign(60, n)
		for k := 1; k <= n; k += step {
			promised, err := errorAt(int64(k), seed, forever)
			if err != nil {
				t.Fatalf("error at write %d (seed %d, forever %v): %v", k, seed, forever, err)
			}
			row.Fault(1)
			row.Count(promised, 0, 0) // a frame that is lost or doubled has ended the test
		}
	}
}

func errorAt(k int64, seed uint64, forever bool) (promised uint64, err error) {
	mem := vfs.NewCrashableMem()
	w := newWorkload(12)
	var count atomic.Int64
	var off atomic.Bool
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || off.Load() {
			return nil
		}
		if n := count.Add(1); n == k || forever && n > k {
			return syscall.EIO
		}
		return nil
	})
	done := make(chan error, 1)
	// Where Pebble can't go on, its goroutine stays for ever; it may be this one.
	go func() { done <- w.run(errorfs.Wrap(mem, inject), seed, func() bool { return false }) }()
	deadline := time.After(20 * time.Second)
	for waiting := true; waiting; {
		var failed <-chan struct{}
		if l := w.log.Load(); l != nil {
			failed = l.Failed()
		}
		select {
		case <-done:
			waiting = false
		case <-failed:
			if err := w.log.Load().Append(nil); !errors.Is(err, ErrFailed) {
				return 0, fmt.Errorf("append on a failed log: %w", err)
			}
			waiting = false
		case <-deadline:
			panic("neither done nor failed")
		case <-time.After(10 * time.Millisecond): // look for a log opened meanwhile
		}
	}
	held := w.current.Load()
	off.Store(true)
	return held.durable, w.verify(mem.CrashClone(vfs.CrashCloneCfg{}), held)
}

// TestEmptiedLogGoesOn: when everything is delivered and deleted, and the machine
// crashes, the next frame still gets the next number.
func TestEmptiedLogGoesOn(t *testing.T) {
	mem := vfs.NewCrashableMem()
	l := openLog(t, "log", Options{FS: mem})
	c := consumer(t, l, "mqtt")
	appendFrames(t, l, testSet("plc", 10), 1, 10, 100)
	if err := c.Commit(Commit{Ack: []Range{{1, 1000}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Collect(1001, false); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if l.Bytes() != 0 || l.Floor() != 1001 {
		t.Fatalf("%d bytes from %d on", l.Bytes(), l.Floor())
	}
	after := openLog(t, "log", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
	defer closeLog(t, after)
	closeLog(t, l)
	if after.Next() != 1001 {
		t.Errorf("next seq %d, expected 1001", after.Next())
	}
	if got := consumer(t, after, "mqtt").Acked(); got != 1000 {
		t.Errorf("position %d, expected 1000: the collector syncs what it relies on", got)
	}
}

// TestDiskFull: a full disk is a wait, whatever write meets it, and nothing is lost.
func TestDiskFull(t *testing.T) {
	for k := 1; k <= 400; k += campaign(40, 400) {
		var full atomic.Bool
		var count atomic.Int64
		mem := vfs.NewCrashableMem()
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpRemove {
				return nil
			}
			if count.Add(1) == int64(k) {
				full.Store(true)
				time.AfterFunc(15*time.Millisecond, func() { full.Store(false) }) // somebody frees space
			}
			if full.Load() {
				return syscall.ENOSPC
			}
			return nil
		})
		w := newWorkload(12)
		if err := w.run(errorfs.Wrap(mem, inject), 5, func() bool { return false }); err != nil {
			t.Fatalf("full at write %d: %v", k, err)
		}
		if err := w.verify(mem.CrashClone(vfs.CrashCloneCfg{}), w.current.Load()); err != nil {
			t.Fatalf("full at write %d: %v", k, err)
		}
	}
}
