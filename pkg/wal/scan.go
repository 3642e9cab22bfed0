package wal

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// scanBlocks and scanFrames bound what is read with one iterator and held until
// the caller has had it: an open iterator keeps files from being deleted, and
// callers may be slow.
const (
	scanBlocks = 512
	scanFrames = 2 * frame.MaxBlockFrames
)

// Scan is a pass over the log that goes on behind damage.
type Scan struct {
	From, To uint64 // seqs, both included; To 0: to the durable end
	// Skip, if set, leaves out a batch by its header, before it is decoded.
	Skip func(first uint64, h frame.BlockHeader) bool
	// Frames is called with each batch, cut to From…To. The batch may be kept.
	Frames func(*frame.Batch) error
	// Damaged, if set, is called with what cannot be read or is missing without a
	// known gap; if it is not set, such a thing ends the scan.
	Damaged func(*DamageError) error

	block  func(*block) error // instead of Frames: every readable block
	pinned bool               // From…To is pinned: it is there even if it lies before the floor
	last   uint64             // of the blocks seen so far
	logged int64              // when the batch was logged, Unix ms
	found  []found            // in the present step, for the caller
	frames int                // in found
	bytes  int                // of the blocks in found
}

// found is a batch, or damage.
type found struct {
	batch  *frame.Batch
	logged int64
	damage *DamageError
}

// hand gives the caller what was found.
func (s *Scan) hand() error {
	defer func() { s.found, s.frames, s.bytes = s.found[:0], 0, 0 }()
	for _, f := range s.found {
		var err error
		if f.damage != nil {
			err = s.Damaged(f.damage)
		} else {
			s.logged = f.logged
			err = s.Frames(f.batch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Scan) damaged(d *DamageError) error {
	if s.Damaged == nil {
		return d
	}
	if s.pinned { // what is around it in the block is delivered and may be gone
		d = &DamageError{Range{max(d.First, s.From), min(d.Last, s.To)}, d.Err}
	}
	s.found = append(s.found, found{damage: d})
	return nil
}

// Run makes the pass. It returns ctx's error when that ends first.
func (s *Scan) Run(ctx context.Context, l *Log) error {
	from, to := s.From, s.To
	if !s.pinned {
		from = max(from, l.floor.Load())
	}
	if to == 0 || to > l.durable.Load() {
		to = l.durable.Load()
	}
	for s.last = from - 1; s.last < to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, more := 0, true
		err := l.walk(s.last+1, to, func(blk *block) (bool, error) {
			n++
			if err := s.step(l, blk, to); err != nil {
				return false, err
			}
			more = n < scanBlocks && s.frames < scanFrames && s.bytes < readBytes
			return more, nil
		})
		if handErr := s.hand(); handErr != nil {
			return handErr
		}
		var d *DamageError
		switch {
		case errors.As(err, &d) && s.Damaged != nil && pebble.IsCorruptionError(d.Err):
			good, err := l.readableFrom(s.last + 1)
			if err != nil {
				return err
			}
			good = max(good, s.last+2) // at s.last+1 it has just failed
			if err := s.Damaged(&DamageError{Range{s.last + 1, good - 1}, d.Err}); err != nil {
				return err
			}
			s.last = good - 1
		case err != nil:
			return err
		case more: // the walk came to the end
			if err := s.hole(l, to+1); err != nil {
				return err
			}
			return s.hand()
		}
	}
	return nil
}

// runAll makes a pass over all that the log must hold: what is pinned before the
// floor, and everything from the floor on. Of blocks, s.block gets each once.
func (s Scan) runAll(ctx context.Context, l *Log) error {
	floor, seen, each := l.floor.Load(), uint64(0), s.block
	s.block = func(b *block) error {
		if b.First <= seen {
			return nil
		}
		seen = b.First
		return each(b)
	}
	for _, r := range Union(l.pinned()) {
		if r.First >= floor {
			break
		}
		below := s
		below.From, below.To, below.pinned = r.First, min(r.Last, floor-1), true
		if err := below.Run(ctx, l); err != nil {
			return err
		}
	}
	return s.Run(ctx, l)
}

// Union sorts ranges, in place, and joins those that overlap or touch.
func Union(ranges []Range) []Range {
	sortRanges(ranges)
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

func (s *Scan) step(l *Log, blk *block, to uint64) error {
	if err := s.hole(l, blk.First); err != nil {
		return err
	}
	s.last = max(s.last, min(blk.Last, to))
	err := blk.err
	if err == nil && s.Skip != nil {
		h, headerErr := frame.ParseBlockHeader(blk.payload)
		if headerErr == nil && s.Skip(blk.First, h) {
			return nil
		}
	}
	var b *frame.Batch
	if err == nil {
		b, err = l.decode(blk)
	}
	var d *DamageError
	switch {
	case errors.As(err, &d):
		return s.damaged(d)
	case err != nil:
		return err
	case s.block != nil:
		return s.block(blk)
	}
	if b = b.Slice(max(s.From, 1), to); b != nil {
		s.found = append(s.found, found{batch: b, logged: blk.env.logged})
		s.frames, s.bytes = s.frames+len(b.Frames), s.bytes+len(blk.payload)
	}
	return nil
}

// hole reports what is missing before the block that begins at next.
func (s *Scan) hole(l *Log, next uint64) error {
	missing := l.Missing
	if s.pinned {
		missing = l.Untold
	}
	for at := s.last + 1; at < next; {
		r, bad := missing(Range{at, next - 1})
		if !bad {
			break
		}
		if err := s.damaged(&DamageError{r, errors.New("missing")}); err != nil {
			return err
		}
		at = r.Last + 1
	}
	s.last = max(s.last, next-1)
	return nil
}

// readableFrom returns the first seq from at on whose block Pebble can read; the
// end of the log if there is none. It probes ever further ahead, then halves.
func (l *Log) readableFrom(at uint64) (uint64, error) {
	probe := func(seq uint64) (first uint64, ok bool, err error) {
		it, err := l.frames.NewIter(&pebble.IterOptions{LowerBound: blockKey(seq), UpperBound: endKey()})
		if err != nil {
			return 0, false, fmt.Errorf("read log: %w", err)
		}
		for valid := it.First(); valid; valid = it.Next() {
			if f, isBlock := isBlockKey(it.Key()); isBlock {
				if _, err := it.ValueAndErr(); err == nil {
					first, ok = f, true
				}
				break
			}
		}
		if err := it.Close(); err != nil && !pebble.IsCorruptionError(err) {
			return 0, false, fmt.Errorf("read log: %w", err)
		}
		return first, ok, nil
	}
	bad, ok, good := at, false, l.appended.Load()+1
	reach := good
	for step := uint64(1); !ok && at+step < good; step *= 2 {
		first, readable, err := probe(at + step)
		switch {
		case err != nil:
			return 0, err
		case readable:
			good, reach, ok = first, at+step, true
		default:
			bad = at + step
		}
	}
	for bad+1 < reach {
		mid := bad + (reach-bad)/2
		first, readable, err := probe(mid)
		switch {
		case err != nil:
			return 0, err
		case readable:
			good, reach = min(good, first), mid
		default:
			bad = mid
		}
	}
	return good, nil
}
