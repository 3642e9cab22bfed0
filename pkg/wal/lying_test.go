package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/edge-gateway/edge-gateway/test/faults"
)

// lyingFS is a disk with a cache that a power cut empties: once it lies, it confirms syncs
// and makes nothing durable. Which of the later writes reach it is chance.
type lyingFS struct {
	vfs.FS
	lies *atomic.Bool
}

type lyingFile struct {
	vfs.File
	lies *atomic.Bool
}

func (f lyingFile) Sync() error {
	if f.lies.Load() {
		return nil
	}
	return f.File.Sync()
}

func (f lyingFile) SyncData() error {
	if f.lies.Load() {
		return nil
	}
	return f.File.SyncData()
}

func (f lyingFile) SyncTo(length int64) (bool, error) {
	if f.lies.Load() {
		return true, nil
	}
	return f.File.SyncTo(length)
}

func (fs lyingFS) lying(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return lyingFile{f, fs.lies}, nil
}

func (fs lyingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.lying(fs.FS.Create(name, c))
}

func (fs lyingFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return fs.lying(fs.FS.OpenReadWrite(name, c, o...))
}

func (fs lyingFS) OpenDir(name string) (vfs.File, error) { return fs.lying(fs.FS.OpenDir(name)) }

func (fs lyingFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.lying(fs.FS.ReuseForWrite(old, name, c))
}

// TestLyingSync: from some write on, the disk confirms syncs that it doesn't make, and some
// writes later the power fails. Nobody can keep what was promised then, and what was durable
// before may go with a file that was taken for a copy of it. But nothing goes without a word:
// what can be read is what was written under its number, the check names all that is missing
// below the next number, and a log that can't be opened says what to do.
func TestLyingSync(t *testing.T) {
	row := faults.Open(t, "disk-lies")
	cases := 40
	if campaign(1, 2) == 1 {
		cases = 2000
	}
	random := row.Random(t)
	refused := 0
	for range cases {
		from, more, seed := 1+random.Int64N(500), 1+random.Int64N(60), random.Uint64()
		promised, lost, open, err := lieAt(from, more, seed)
		if err != nil {
			t.Fatalf("lies from write %d on, power cut %d writes later (seed %d): %v", from, more, seed, err)
		}
		if !open {
			refused++
		}
		row.Fault(1)
		row.Count(promised, lost, 0) // what is wrong, or lost without a word, has ended the test
	}
	t.Logf("%d of %d logs could not be opened and said so", refused, cases)
}

// lieAt has a disk lie from a write on, and crashes it more writes later. It returns how many
// frames had been promised by then, how many of them are lost, and whether the log could be
// opened.
func lieAt(from, more int64, seed uint64) (promised, lost uint64, open bool, err error) {
	mem := vfs.NewCrashableMem()
	w := newWorkload(12)
	var lies, taken atomic.Bool
	var count atomic.Int64
	var mu sync.Mutex // of what follows
	var held *promise
	var left *vfs.MemFS
	rng := rand.New(rand.NewPCG(seed, uint64(from)))
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		switch count.Add(1) {
		case from:
			lies.Store(true)
		case from + more:
			held = w.current.Load()
			left = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			taken.Store(true)
		}
		return nil
	})
	if err := w.run(errorfs.Wrap(lyingFS{mem, &lies}, inject), seed, taken.Load); err != nil && !errors.Is(err, errStop) {
		return 0, 0, false, err
	}
	mu.Lock()
	defer mu.Unlock()
	if left == nil {
		return 0, 0, true, nil // this run had fewer writes
	}
	l, err := Open("log", Options{FS: left, memTable: 16 << 10, Log: slog.New(slog.DiscardHandler)})
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrEpochMismatch) {
		return held.durable, held.durable, false, nil // both say what to do
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("it does not open, and does not say what to do: %w", err)
	}
	report, err := l.Check(context.Background())
	if err != nil {
		return 0, 0, true, err
	}
	var missing []Range
	for _, d := range report.Damaged {
		lost += d.Last - d.First + 1
		missing = append(missing, d.Range)
	}
	for _, r := range subtract(Range{l.Floor(), l.Durable()}, missing) {
		gens, err := readAll(l, r.First, r.Last)
		if err != nil {
			return 0, 0, true, fmt.Errorf("%w, and the check found %v", err, missing)
		}
		for seq, gen := range gens {
			if want := w.written[seq]; want != gen {
				return 0, 0, true, fmt.Errorf("frame %d was written by run %d, is now of run %d", seq, want, gen)
			}
		}
	}
	lost += held.durable - min(held.durable, l.Durable())
	return held.durable, min(lost, held.durable), true, l.Close()
}
