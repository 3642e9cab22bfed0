package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func testSet(driver string, n int) *frame.TagSet {
	s := &frame.TagSet{Driver: driver}
	for i := range n {
		s.Tags = append(s.Tags, frame.Tag{Name: fmt.Sprintf("%s.tag%03d", driver, i)})
	}
	return s
}

// entry encodes n frames from seq on. Each value says by which run of the
// program (gen) which seq was written.
func entry(set *frame.TagSet, gen, seq uint64, n int) Entry {
	b := &frame.Batch{Set: set, ConfigRev: gen}
	for i := range n {
		b.Frames = append(b.Frames, frame.Frame{Value: frame.IntValue(int64(gen<<32 | (seq + uint64(i)))), TS: int64(seq), Tag: uint32(i % len(set.Tags))})
	}
	block, err := frame.AppendBlock(nil, b)
	if err != nil {
		panic(err)
	}
	return Entry{First: seq, Count: n, Set: set, Block: block}
}

func openLog(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func appendFrames(t testing.TB, l *Log, set *frame.TagSet, gen uint64, batches, each int) {
	t.Helper()
	for range batches {
		if err := l.Append([]Entry{entry(set, gen, l.Next(), each)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Sync(); err != nil {
		t.Fatal(err)
	}
}

// readAll returns who wrote each seq of first…last, by reading the log; a hole is
// an error.
func readAll(l *Log, first, last uint64) (gens map[uint64]uint64, err error) {
	gens = map[uint64]uint64{}
	for at := first; at <= last; {
		batches, err := l.Read(at, last, 1000)
		if err != nil {
			return gens, err
		}
		if len(batches) == 0 {
			return gens, fmt.Errorf("nothing from %d on, expected up to %d", at, last)
		}
		for _, b := range batches {
			if b.FirstSeq != at {
				return gens, fmt.Errorf("hole: %d to %d", at, b.FirstSeq-1)
			}
			for i := range b.Frames {
				v := uint64(b.Frames[i].Value.Int())
				if v&0xffffffff != at {
					return gens, fmt.Errorf("frame %d holds what was written as %d", at, v&0xffffffff)
				}
				gens[at] = v >> 32
				at++
			}
		}
	}
	return gens, nil
}

func mustReadAll(t testing.TB, l *Log, first, last uint64) {
	t.Helper()
	if _, err := readAll(l, first, last); err != nil {
		t.Fatal(err)
	}
}

func consumer(t testing.TB, l *Log, name string) *Bookmark {
	t.Helper()
	c, _, err := l.OpenBookmark(name, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil && !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
}
