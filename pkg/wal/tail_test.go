package wal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// memTail is a tail file in the memory of a test. Like a page cache, it keeps what was
// written when the process dies, and any part of it when the machine does.
type memTail struct {
	mem    []byte
	synced []byte // what is on the disk for sure
}

func (m *memTail) open(size int) (tailFile, error) {
	if size == 0 && m.mem == nil {
		return tailFile{}, os.ErrNotExist
	}
	if size != 0 && len(m.mem) != size {
		m.mem, m.synced = make([]byte, size), make([]byte, size)
	}
	return tailFile{
		mem:   m.mem,
		sync:  func() error { copy(m.synced[:tailHeader], m.mem); return nil },
		close: func() error { return nil },
	}, nil
}

func (m *memTail) killed() *memTail {
	return &memTail{mem: bytes.Clone(m.mem), synced: bytes.Clone(m.synced)}
}

// cut is what a power cut leaves: of each page the present or the synced content, and
// of some pages a part.
func (m *memTail) cut(r *rand.Rand) *memTail {
	left := bytes.Clone(m.synced)
	const sector = 512
	for at := 0; at < len(left); at += sector {
		if r.IntN(2) == 0 {
			copy(left[at:min(at+sector, len(left))], m.mem[at:])
		}
	}
	return &memTail{mem: left, synced: bytes.Clone(left)}
}

// mustHold holds and appends n frames, as package bus does.
func mustHold(t testing.TB, l *Log, gen uint64, n int) {
	t.Helper()
	e := entry(testSet("plc", 20), gen, l.Next(), n)
	if held, _ := l.Hold(&e, false); held != HoldDone {
		t.Fatalf("held: %v", held)
	}
	if err := l.Append([]Entry{e}); err != nil {
		t.Fatal(err)
	}
}

// TestKillTakesNothing: what was held and is in no file of the databases is there after
// the process was killed, under its numbers, and once.
func TestKillTakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir, Options{})
	mustHold(t, l, 1, 30)
	if _, err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		mustHold(t, l, 1, 7)
	}
	e := entry(testSet("other", 1), 1, l.Next(), 3) // numbered and held, but not appended
	if held, _ := l.Hold(&e, false); held != HoldDone {
		t.Fatal(held)
	}
	copied := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // what the kernel has
		t.Fatal(err)
	}
	closeLog(t, l)
	for range 2 { // the second time there is nothing to take in
		l = openLog(t, copied, Options{})
		if l.Next() != 30+50*7+3+1 || l.Durable() != l.Next()-1 {
			t.Fatalf("next %d, durable %d", l.Next(), l.Durable())
		}
		mustReadAll(t, l, 1, l.Durable())
		got, err := l.Read(l.Durable(), l.Durable(), 1)
		if err != nil || got[0].Set.Driver != "other" {
			t.Fatalf("%+v, %v", got, err)
		}
		closeLog(t, l)
	}
}

// TestTailThatDoesNotFit is not taken in: of another epoch, of a log that was used
// without it meanwhile, damaged in each of its parts.
func TestTailThatDoesNotFit(t *testing.T) {
	begin := func(t *testing.T) (FS, *memTail) {
		fs, m := vfs.NewMem(), &memTail{}
		l := openLog(t, "log", Options{FS: fs, tail: m.open, tailHalf: 64 << 10})
		mustHold(t, l, 1, 10)
		if _, err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		e := entry(testSet("plc", 20), 1, 11, 5)
		if held, _ := l.Hold(&e, false); held != HoldDone {
			t.Fatal(held)
		}
		e = entry(testSet("plc", 20), 1, 16, 5)
		if held, _ := l.Hold(&e, false); held != HoldDone {
			t.Fatal(held)
		}
		left := m.killed()
		closeLog(t, l)
		return fs, left
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, fs FS, m *memTail)
		next uint64
	}{
		{"it does", func(*testing.T, FS, *memTail) {}, 21},
		{"another epoch", func(t *testing.T, fs FS, m *memTail) {
			l := openLog(t, "log", Options{FS: fs})
			if _, err := l.NewEpoch(); err != nil {
				t.Fatal(err)
			}
			closeLog(t, l)
		}, 11},
		{"a release without tails went on", func(t *testing.T, fs FS, m *memTail) {
			l := openLog(t, "log", Options{FS: fs})
			appendFrames(t, l, testSet("plc", 20), 2, 1, 5)
			closeLog(t, l)
		}, 16},
		{"a release without tails went far", func(t *testing.T, fs FS, m *memTail) {
			l := openLog(t, "log", Options{FS: fs})
			appendFrames(t, l, testSet("plc", 20), 2, 10, 7)
			closeLog(t, l)
		}, 81},
		{"zeros", func(t *testing.T, fs FS, m *memTail) { clear(m.mem) }, 11},
		{"cut short", func(t *testing.T, fs FS, m *memTail) { m.mem = m.mem[:len(m.mem)-1] }, 11},
		{"empty", func(t *testing.T, fs FS, m *memTail) { m.mem = []byte{} }, 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, m := begin(t)
			c.do(t, fs, m)
			l := openLog(t, "log", Options{FS: fs, tail: m.open, tailHalf: 64 << 10, Log: slog.New(slog.DiscardHandler)})
			defer closeLog(t, l)
			if l.Next() != c.next {
				t.Fatalf("next %d, expected %d", l.Next(), c.next)
			}
			mustHold(t, l, 9, 1) // it goes on
			if _, err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			mustReadAll(t, l, 1, c.next)
		})
	}
	t.Run("each bit", func(t *testing.T) {
		_, m := begin(t)
		h, err := parseTailHeader(m.mem)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := parseTail(m.mem, h.epoch)
		if err != nil || len(whole) != 2 {
			t.Fatalf("%d blocks, %v", len(whole), err)
		}
		for at := range m.mem {
			if m.mem[at] == 0 && at%97 != 0 { // most of it is empty
				continue
			}
			m.mem[at] ^= 1 << (at % 8)
			got, _ := parseTail(m.mem, h.epoch) // an error is one way to notice
			for first, b := range got {
				if w := whole[first]; !bytes.Equal(w.block, b.block) || !bytes.Equal(w.set, b.set) || w.count != b.count {
					t.Fatalf("bit of byte %d flipped: block %d came out wrong", at, first)
				}
			}
			m.mem[at] ^= 1 << (at % 8)
		}
	})
}

// TestTailRoom: what doesn't fit waits for a sync, what never fits is told so, and
// what follows it waits for it; the sets make room for blocks in the end.
func TestTailRoom(t *testing.T) {
	m := &memTail{}
	l := openLog(t, "log", Options{FS: vfs.NewMem(), tail: m.open, tailHalf: 4 << 10})
	defer closeLog(t, l)
	waited := 0
	put := func(set *frame.TagSet, n int, must bool) Held {
		e := entry(set, 1, l.Next(), n)
		held, _ := l.Hold(&e, must)
		if held == HoldLater {
			waited++
			if _, err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			if held, _ = l.Hold(&e, must); held == HoldLater {
				t.Fatal("no room after a sync")
			}
		}
		if err := l.Append([]Entry{e}); err != nil {
			t.Fatal(err)
		}
		left := m.killed()
		if held == HoldDone {
			blocks, err := parseTail(left.mem, l.Epoch())
			if err != nil {
				t.Fatal(err)
			}
			for at := l.Durable() + 1; at < l.Next(); at += uint64(blocks[at].count) {
				if b := blocks[at]; b.count == 0 {
					t.Fatalf("frame %d is missing in the tail (durable %d, next %d)", at, l.Durable(), l.Next())
				}
			}
		}
		return held
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		if held := put(testSet(fmt.Sprint("plc", r.IntN(9)), 1+r.IntN(40)), 1+r.IntN(200), false); held != HoldDone {
			t.Fatalf("%d: %v", i, held)
		}
	}
	if waited == 0 {
		t.Error("the tail was never full: the test shows nothing")
	}
	if held := put(testSet("huge", 4000), 10, false); held != HoldNever {
		t.Errorf("a set that can't fit: %v", held)
	}
	e := entry(testSet("plc", 2), 1, l.Next(), 1)
	if held, _ := l.Hold(&e, false); held != HoldLater {
		t.Errorf("behind what is not held: %v", held)
	}
	if held, _ := l.Hold(&e, true); held != HoldNever {
		t.Errorf("behind what is not held, must: %v", held)
	}
	if err := l.Append([]Entry{e}); err != nil {
		t.Fatal(err)
	}
	if held := put(testSet("plc", 2), 1, false); held != HoldDone {
		t.Errorf("after a sync: %v", held)
	}
}

// TestTailOfAnotherSize is taken in, and made anew.
func TestTailOfAnotherSize(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir, Options{})
	mustHold(t, l, 1, 30)
	copied := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	l = openLog(t, copied, Options{MaxBytes: 1 << 20})
	defer closeLog(t, l)
	mustReadAll(t, l, 1, 30)
	if fi, err := os.Stat(filepath.Join(copied, "tail")); err != nil || fi.Size() != tailHeader+2*tailHalfMin {
		t.Errorf("%v, %v", fi, err)
	}
	if err := l.Tail(); err != nil {
		t.Error(err)
	}
}

// TestTailFault: memory that the disk has no page for any more ends the tail, not the
// process, and Tail tells.
func TestTailFault(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	var told bytes.Buffer
	l := openLog(t, dir, Options{Log: slog.New(slog.NewTextHandler(&told, nil))})
	defer closeLog(t, l)
	mustHold(t, l, 1, 3)
	if err := os.Truncate(filepath.Join(dir, "tail"), 0); err != nil {
		t.Fatal(err)
	}
	mustHold(t, l, 1, 3)
	mustHold(t, l, 1, 3)
	if err := l.Tail(); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "tail")) {
		t.Errorf("told: %v", err)
	}
	if n := strings.Count(told.String(), "no tail"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, told.String())
	}
	if _, err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	mustReadAll(t, l, 1, 9)
}

// TestNoTail: where no file can be mapped, or there is no room, the log works without.
func TestNoTail(t *testing.T) {
	refused := errors.New("no room")
	l := openLog(t, "log", Options{FS: vfs.NewMem(), Log: slog.New(slog.DiscardHandler), tail: func(int) (tailFile, error) { return tailFile{}, refused }})
	defer closeLog(t, l)
	mustHold(t, l, 1, 3)
	if err := l.Tail(); !errors.Is(err, refused) {
		t.Errorf("told: %v", err)
	}
}

// heldRun publishes as package bus does, and notes what was held and what was synced.
type heldRun struct {
	held, synced atomic.Uint64
}

func (h *heldRun) run(fs FS, m *memTail, seed, gen uint64, from uint64, stop func() bool) error {
	l, err := Open("log", Options{FS: fs, memTable: 16 << 10, Log: slog.New(slog.DiscardHandler), tail: m.open, tailHalf: 8 << 10})
	if err != nil {
		return err
	}
	if next := l.Next(); next < from {
		return fmt.Errorf("next %d after %d", next, from)
	}
	r := rand.New(rand.NewPCG(seed, gen))
	sets := []*frame.TagSet{testSet("plc", 20), testSet("plc2", 7), testSet("plc3", 1)}
	for range 60 {
		var group []Entry
		next := l.Next()
		for range 1 + r.IntN(4) { // the numbers are given before the writer appends
			e := entry(sets[r.IntN(len(sets))], gen, next, 1+r.IntN(40))
			held, _ := l.Hold(&e, false)
			if held == HoldLater {
				break
			}
			next += uint64(e.Count)
			group = append(group, e)
			h.held.Store(next - 1)
		}
		if stop() {
			return errStop
		}
		if err := l.Append(group); err != nil {
			return err
		}
		if r.IntN(3) == 0 || len(group) == 0 {
			last, err := l.Sync()
			if err != nil {
				return err
			}
			h.synced.Store(last)
		}
	}
	return nil // and not closed: killed
}

// TestTailCrash ends runs at a random write: by kill -9, after which everything that
// was held is there, and by a power cut, after which everything that was synced is.
// Each run goes on where the one before ended; a number never holds two things that
// both were durable.
func TestTailCrash(t *testing.T) {
	row := faults.Open(t, "power-tail")
	cases := 8
	if campaign(1, 2) == 1 {
		cases = 2000
	}
	for seed := range uint64(cases) {
		promised, err := tailCrash(seed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		row.Fault(4)
		row.Count(promised, 0, 0) // a frame that is lost or doubled has ended the test
	}
}

func tailCrash(seed uint64) (promises uint64, err error) {
	r := rand.New(rand.NewPCG(seed, 77))
	mem, m := vfs.NewCrashableMem(), &memTail{}
	owner := map[uint64]uint64{} // seq → run, of what was found durable
	var last uint64
	for gen := uint64(1); gen <= 4; gen++ {
		h := &heldRun{}
		var left *vfs.MemFS
		var leftTail *memTail
		var held, synced uint64
		cut := r.IntN(2) == 0
		var count atomic.Int64
		var taken atomic.Bool
		k := 1 + r.Int64N(150)
		crash := func() {
			held, synced = max(last, h.held.Load()), max(last, h.synced.Load())
			if cut {
				leftTail = m.cut(r)
				left = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			} else {
				leftTail = m.killed()
				left = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: r})
			}
			taken.Store(true)
		}
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			// Only in what the run does itself; then nothing is held meanwhile.
			if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileWrite {
				count.Add(1)
			}
			return nil
		})
		stop := func() bool {
			if !taken.Load() && count.Load() >= k {
				crash()
			}
			return taken.Load()
		}
		if err := h.run(errorfs.Wrap(mem, inject), m, seed, gen, last+1, stop); err != nil && !errors.Is(err, errStop) {
			return promises, fmt.Errorf("run %d: %w", gen, err)
		}
		if !taken.Load() {
			crash()
		}
		l, err := Open("log", Options{FS: left, memTable: 16 << 10, Log: slog.New(slog.DiscardHandler), tail: leftTail.open, tailHalf: 8 << 10})
		if err != nil {
			return promises, fmt.Errorf("run %d: %w", gen, err)
		}
		promised := held
		if cut {
			promised = synced
		}
		promises += promised - min(promised, last)
		if l.Durable() < promised || l.Durable() > held {
			return promises, fmt.Errorf("run %d (cut %v): the log ends at %d, %d was promised, %d was published", gen, cut, l.Durable(), promised, held)
		}
		gens, err := readAll(l, 1, l.Durable())
		if err != nil {
			return promises, fmt.Errorf("run %d: %w", gen, err)
		}
		for seq, g := range gens {
			if old, ok := owner[seq]; ok && old != g {
				return promises, fmt.Errorf("frame %d of run %d became one of run %d", seq, old, g)
			}
			if seq > last && g != gen {
				return promises, fmt.Errorf("frame %d is of run %d, this is run %d", seq, g, gen)
			}
			owner[seq] = g
		}
		last = l.Durable()
		if err := l.Close(); err != nil {
			return promises, err
		}
		mem, m = left, leftTail
	}
	return promises, nil
}

// FuzzParseTail: whatever a file holds, nothing comes out that was not written.
func FuzzParseTail(f *testing.F) {
	const epoch = "0123456789abcdef"
	mem := make([]byte, tailHeader+2*2048)
	file := tailFile{mem: mem, sync: func() error { return nil }}
	var tl tail
	if err := tl.begin(file, epoch); err != nil {
		f.Fatal(err)
	}
	written := map[string]bool{}
	for i, first := 0, uint64(1); i < 9; i++ {
		e := entry(testSet(fmt.Sprint("plc", i%2), 3), 1, first, 4)
		if held, _ := tl.hold(&e, first-1, false); held != HoldDone {
			f.Fatal(held)
		}
		written[string(e.Block)] = true
		first += 4
	}
	f.Add(0, []byte{}, 0, uint64(0))
	f.Add(4096, mem[4096:4200], 5000, uint64(0xff))
	f.Fuzz(func(t *testing.T, at int, part []byte, flipAt int, flip uint64) {
		p := bytes.Clone(mem)
		if at >= 0 && at < len(p) {
			copy(p[at:], part)
		}
		for i := range 8 {
			if j := flipAt + i; flipAt >= 0 && flipAt < len(p)-8 {
				p[j] ^= byte(flip >> (8 * i))
			}
		}
		blocks, err := parseTail(p, epoch)
		if err != nil {
			return
		}
		for _, b := range blocks {
			if !written[string(b.block)] {
				t.Fatalf("block %d was never written", b.first)
			}
		}
		// And as a file of its own, whatever its size.
		if _, err := parseTail(part, epoch); err == nil && len(part) < tailHeader {
			t.Fatal("a header of less than its size")
		}
	})
}

func BenchmarkHold(b *testing.B) {
	for _, n := range []int{20, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := openLog(b, filepath.Join(b.TempDir(), "log"), Options{})
			defer closeLog(b, l)
			e := entry(testSet("plc", n), 1, 1, n)
			durable := uint64(0)
			b.ReportAllocs()
			b.SetBytes(int64(len(e.Block)))
			for i := range b.N {
				if i%1000 == 0 {
					durable = e.First - 1
				}
				if held, _ := l.tail.hold(&e, durable, false); held == HoldLater {
					durable = e.First - 1
				}
				e.First += uint64(n)
			}
		})
	}
}
