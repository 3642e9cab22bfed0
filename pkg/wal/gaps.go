package wal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Drop gives up frames that consumers have not had: it acknowledges r for each
// consumer named and notes one Gap for all (only nil) or for the one, in one
// synced step. Pinned frames in r stay. The frames themselves go with the next
// Collect. It returns the gaps to be told.
func (l *Log) Drop(r Range, consumers []*Bookmark, gap Gap) ([]Gap, error) {
	if err := l.beginWrite(); err != nil {
		return nil, err
	}
	defer l.end()
	gap.Time = l.now().UnixMilli()
	var gaps []Gap
	kept := l.pinned()
	if len(consumers) == 1 {
		kept = append(kept, consumers[0].Finished()...)
		sortRanges(kept)
	}
	for _, free := range subtract(r, kept) {
		gap.Range = free
		gaps = append(gaps, gap)
	}
	if len(gaps) == 0 {
		return nil, nil
	}
	// The gaps come first: a crash in between leaves gaps told too early, never a
	// silent one.
	if err := l.addGaps(gaps); err != nil {
		return nil, fmt.Errorf("drop %d to %d: %w", r.First, r.Last, err)
	}
	for _, c := range consumers {
		var acks []Range
		for _, g := range gaps {
			acks = append(acks, g.Range)
		}
		if err := c.Commit(Commit{Ack: acks}); err != nil {
			return nil, fmt.Errorf("drop %d to %d: %w", r.First, r.Last, err)
		}
	}
	return gaps, l.syncState()
}

// subtract returns what is left of r without the sorted ranges in holes.
func subtract(r Range, holes []Range) []Range {
	var out []Range
	for _, h := range holes {
		if h.Last < r.First || h.First > r.Last {
			continue
		}
		if h.First > r.First {
			out = append(out, Range{r.First, h.First - 1})
		}
		if h.Last >= r.Last {
			return out
		}
		r.First = h.Last + 1
	}
	return append(out, r)
}

func (l *Log) addGaps(gaps []Gap) error {
	b := l.state.NewBatch()
	defer func() { _ = b.Close() }() // nothing to lose: a committed batch is empty, another one was given up
	for _, g := range gaps {
		p, err := json.Marshal(g)
		if err != nil {
			return err
		}
		if err := b.Set(gapKey(g), p, nil); err != nil {
			return err
		}
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return err
	}
	l.keepGaps(gaps)
	return nil
}

// keepGaps has gaps that are stored in memory too.
func (l *Log) keepGaps(gaps []Gap) {
	if len(gaps) == 0 {
		return
	}
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	for _, g := range gaps {
		l.st.gaps = slices.DeleteFunc(l.st.gaps, func(o Gap) bool { return bytes.Equal(gapKey(o), gapKey(g)) })
	}
	l.st.gaps = append(l.st.gaps, gaps...)
	slices.SortFunc(l.st.gaps, func(a, b Gap) int { return cmp.Compare(a.First, b.First) })
}

// Gaps returns the gaps that are known, sorted by their first seq.
func (l *Log) Gaps() []Gap {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	return slices.Clone(l.st.gaps)
}

// MarkTold notes that sys.gap frames for gaps are durable in the log.
func (l *Log) MarkTold(gaps []Gap) error {
	if err := l.beginWrite(); err != nil {
		return err
	}
	defer l.end()
	told := slices.Clone(gaps)
	for i := range told {
		told[i].Told = true
	}
	if err := l.addGaps(told); err != nil {
		return fmt.Errorf("mark gaps told: %w", err)
	}
	return l.forgetGaps(l.floor.Load())
}

// forgetGaps deletes told gaps that lie before the floor: nobody can run into them,
// but for a message in flight that pins frames around one.
func (l *Log) forgetGaps(floor uint64) error {
	if len(l.Gaps()) == 0 {
		return nil
	}
	pinned := l.pinned()
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	old := func(g Gap) bool { return g.Told && g.Last < floor && !overlaps(pinned, g.Range) }
	for _, g := range l.st.gaps {
		if !old(g) {
			continue
		}
		if err := l.state.Delete(gapKey(g), pebble.NoSync); err != nil {
			return fmt.Errorf("forget gap: %w", err)
		}
	}
	l.st.gaps = slices.DeleteFunc(l.st.gaps, old)
	return nil
}

func overlaps(ranges []Range, r Range) bool {
	return slices.ContainsFunc(ranges, func(o Range) bool { return o.First <= r.Last && o.Last >= r.First })
}

// Missing returns the first part of r that is neither before the floor nor in a
// known gap: frames that should be there.
func (l *Log) Missing(r Range) (Range, bool) {
	r.First = max(r.First, l.floor.Load())
	return l.Untold(r)
}

// Untold returns the first part of r that no gap tells of.
func (l *Log) Untold(r Range) (Range, bool) {
	for _, g := range l.Gaps() { // sorted by First
		if g.Consumer != "" || g.Last < r.First || g.First > r.Last {
			continue
		}
		if g.First > r.First {
			r.Last = g.First - 1
			break
		}
		r.First = g.Last + 1
	}
	return r, r.First <= r.Last
}
