package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// exciseBytes is how much must be deletable, and exciseDistance how far behind the
// end it must lie, in memtables, for whole tables to be cut off instead of a
// tombstone being written over them.
const (
	exciseBytes    = 2
	exciseDistance = 6
)

// collector deletes what nobody needs.
type collector struct {
	mu      sync.Mutex
	segment uint64  // the segment of the floor; 0: not known
	kept    []Range // below the floor, since pinned; whole blocks
	cutting atomic.Uint64
}

// recoverCollector notes blocks below the floor: pinned ones, and those whose
// deletion a crash took back. The next Collect deletes what is not pinned.
func (l *Log) recoverCollector() error {
	floor := l.floor.Load()
	p, ok, err := l.blockAt(1)
	if ok && p.first < floor {
		l.gc.kept = []Range{{1, floor - 1}}
	}
	if errors.Is(err, ErrDamaged) {
		return nil // for Check and Repair to see to
	}
	return err
}

// Collect deletes the blocks whose frames all lie before limit, but for pinned
// ones and for what a consumer has not acknowledged.
// With lazy, it may leave for later what is cheaper to delete in one go.
func (l *Log) Collect(limit uint64, lazy bool) error {
	if err := l.beginWrite(); err != nil {
		return err
	}
	defer l.end()
	l.gc.mu.Lock()
	defer l.gc.mu.Unlock()
	if err := l.collect(limit, lazy); err != nil {
		return fmt.Errorf("collect up to %d: %w", limit, err)
	}
	return nil
}

func (l *Log) collect(limit uint64, lazy bool) error {
	floor := l.floor.Load()
	for _, c := range l.Bookmarks() {
		limit = min(limit, c.needs())
	}
	limit = max(min(limit, l.durable.Load()+1), floor)
	// If there is no block behind limit yet, the next will be in the writer's
	// segment, or in a later one. Hence the order of these two lines.
	segment, cutPos := l.w.current.Load(), l.endPos.Load()
	p, ok, err := l.blockAt(limit)
	if err != nil {
		return err
	}
	cut := limit
	if ok {
		cut, segment, cutPos = max(min(p.first, limit), floor), p.seg, p.pos
	}
	table := l.buffer(framesBuffer)
	far := l.endPos.Load()-cutPos > exciseDistance*table
	if far && lazy && cutPos-l.floorPos.Load() < exciseBytes*table {
		return nil
	}
	l.gc.cutting.Store(cut) // from here on nobody can pin what is before cut
	keep, err := l.keepers(cut)
	if err != nil {
		return err
	}
	if cut == floor && rangesEqual(keep, l.gc.kept) {
		return nil
	}
	// What goes must be known to be gone before it goes: the next seq must not
	// depend on blocks that are deleted. The sync also covers the acks.
	if err := l.state.Set(stateNextKey(), nextValue(l.durable.Load()+1, cut, cutPos), pebble.Sync); err != nil {
		return err
	}
	lower := blockKey(floor)
	switch {
	case len(l.gc.kept) > 0 || l.gc.segment == 0:
		lower = setsKey(1)
	case segment != l.gc.segment:
		lower = setsKey(l.gc.segment)
	}
	if err := l.deleteBlocks(lower, cut, segment, keep, far); err != nil {
		return err
	}
	l.floorPos.Store(cutPos)
	l.floor.Store(cut)
	l.gc.segment, l.gc.kept = segment, nil
	for _, k := range keep {
		l.gc.kept = append(l.gc.kept, k.Range)
	}
	return l.forgetGaps(cut)
}

// keeper is a run of blocks that stays below the cut, and its segment.
type keeper struct {
	Range
	segment uint64
}

func rangesEqual(keep []keeper, kept []Range) bool {
	if len(keep) != len(kept) {
		return false
	}
	for i := range keep {
		if keep[i].Range != kept[i] {
			return false
		}
	}
	return true
}

// keepers returns the blocks before cut that are pinned.
func (l *Log) keepers(cut uint64) ([]keeper, error) {
	var keep []keeper
	for _, pin := range l.pinned() {
		for seq := pin.First; seq <= pin.Last && seq < cut; {
			p, ok, err := l.blockAt(seq)
			if err != nil {
				return nil, err
			}
			if !ok || p.first > pin.Last || p.first >= cut {
				break
			}
			last := p.first + uint64(p.count) - 1
			if n := len(keep); n > 0 && keep[n-1].Last+1 >= p.first && keep[n-1].segment == p.seg {
				keep[n-1].Last = max(keep[n-1].Last, last)
			} else {
				keep = append(keep, keeper{Range{p.first, last}, p.seg})
			}
			seq = last + 1
		}
	}
	return keep, nil
}

// deleteBlocks deletes keys from lower on: blocks before cut but for keep, and
// the tag sets of segments in which nothing is left. segment is the one that cut
// lies in.
func (l *Log) deleteBlocks(lower []byte, cut, segment uint64, keep []keeper, far bool) error {
	b := l.frames.NewBatch()
	defer func() { _ = b.Close() }() // nothing to lose: a committed batch is empty, another one was given up
	at := lower
	remove := func(end []byte) error {
		if bytes.Compare(at, end) >= 0 {
			return nil
		}
		if far {
			return l.frames.Excise(context.Background(), pebble.KeyRange{Start: at, End: end})
		}
		return b.DeleteRange(at, end, nil)
	}
	behind := func(key []byte) {
		if bytes.Compare(at, key) < 0 {
			at = key
		}
	}
	for _, k := range keep {
		if err := remove(setsKey(k.segment)); err != nil {
			return err
		}
		behind(blockKey(k.segment))
		if err := remove(blockKey(k.First)); err != nil {
			return err
		}
		behind(setsKey(k.Last + 1))
	}
	if segment < cut {
		if err := remove(setsKey(segment)); err != nil {
			return err
		}
		behind(blockKey(segment))
	}
	if err := remove(setsKey(cut)); err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}
