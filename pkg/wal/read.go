package wal

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// setRef names a tag set in the log.
type setRef struct {
	segment uint64
	id      uint32
}

// setCache holds decoded tag sets. Equal sets of different segments share one
// *TagSet, so that readers may keep work by its address.
type setCache struct {
	mu      sync.Mutex
	m       map[setRef]*frame.TagSet
	byValue map[string]*frame.TagSet
}

const setCacheSize = 4096

// skipFunc is told what a block is before it is decoded and may leave it out.
type skipFunc func(first uint64, env *envelope, h *frame.BlockHeader) bool

// Read returns batches with frames of from…to, in order, cut to that range: at
// least maxFrames of them if there are so many, and then no further batch. Holes
// are not filled: the caller sees them by the seqs. What cannot be read is a
// [DamageError], once the frames before it have been returned.
func (l *Log) Read(from, to uint64, maxFrames int) ([]*frame.Batch, error) {
	batches, err := l.scan(from, to, maxFrames, nil)
	if len(batches) > 0 {
		return batches, nil
	}
	return nil, err
}

func (l *Log) scan(from, to uint64, maxFrames int, skip skipFunc) (batches []*frame.Batch, err error) {
	if err := l.Err(); err != nil {
		return nil, err
	}
	it, err := l.frames.NewIter(&pebble.IterOptions{LowerBound: setsKey(1), UpperBound: append(blockKey(to), 0)})
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer func() {
		if closeErr := it.Close(); closeErr != nil && err == nil {
			err = l.readError(from, closeErr)
		}
	}()
	frames := 0
	for valid := seekBlock(it, from); valid && frames < maxFrames; valid = it.Next() {
		first, isBlock := isBlockKey(it.Key())
		if !isBlock {
			continue
		}
		b, last, err := l.decode(it, first, skip)
		if err != nil {
			return batches, err
		}
		if b != nil {
			if b = b.Slice(from, to); b != nil {
				batches = append(batches, b)
				frames += len(b.Frames)
			}
		}
		from = max(from, last+1)
	}
	if err := it.Error(); err != nil {
		return batches, l.readError(from, err)
	}
	return batches, nil
}

// seekBlock moves to the block that holds seq, or to the first behind it.
func seekBlock(it *pebble.Iterator, seq uint64) bool {
	for valid := it.SeekLT(append(blockKey(seq), 0)); valid; valid = it.Prev() {
		if first, isBlock := isBlockKey(it.Key()); isBlock {
			v, err := it.ValueAndErr()
			if err != nil {
				return true // the caller meets the error again
			}
			if env, _, err := parseEnvelope(it.Key(), first, v); err != nil || first+uint64(env.count) > seq {
				return true
			}
			break
		}
	}
	if it.Error() != nil {
		return false
	}
	return it.SeekGE(blockKey(seq))
}

func (l *Log) readError(at uint64, err error) error {
	if pebble.IsCorruptionError(err) {
		return &DamageError{Range{at, at}, err}
	}
	return fmt.Errorf("read log at %d: %w", at, err)
}

// decode returns the batch at the iterator, nil if it was skipped, and its last seq.
func (l *Log) decode(it *pebble.Iterator, first uint64, skip skipFunc) (*frame.Batch, uint64, error) {
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, 0, l.readError(first, err)
	}
	env, block, err := parseEnvelope(it.Key(), first, v)
	if err != nil {
		return nil, 0, damage(Range{first, first}, err)
	}
	r := Range{first, first + uint64(env.count) - 1}
	if skip != nil {
		h, err := frame.ParseBlockHeader(block)
		if err != nil {
			return nil, 0, damage(r, err)
		}
		if skip(first, &env, &h) {
			return nil, r.Last, nil
		}
	}
	set, err := l.tagSet(&env)
	if err != nil {
		return nil, 0, damage(r, err)
	}
	b, err := frame.DecodeBlock(block, set)
	if err != nil {
		return nil, 0, damage(r, err)
	}
	if len(b.Frames) != env.count {
		return nil, 0, damage(r, fmt.Errorf("%w: %d frames, expected %d", frame.ErrBadBlock, len(b.Frames), env.count))
	}
	b.FirstSeq = first
	return b, r.Last, nil
}

// damage makes a DamageError of what is one; a newer format is not.
func damage(r Range, err error) error {
	if errors.Is(err, frame.ErrNewerBlock) {
		return fmt.Errorf("frames %d to %d: %w: %w", r.First, r.Last, ErrNewerFormat, err)
	}
	return &DamageError{r, err}
}

func (l *Log) tagSet(env *envelope) (*frame.TagSet, error) {
	if env.inline != nil {
		return frame.DecodeTagSet(env.inline)
	}
	ref := setRef{env.segment, env.setID}
	l.sets.mu.Lock()
	defer l.sets.mu.Unlock()
	if s := l.sets.m[ref]; s != nil {
		return s, nil
	}
	p, ok, err := get(l.frames, setKey(ref.segment, ref.id))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("tag set %d of segment %d is missing", ref.id, ref.segment)
	}
	if len(l.sets.m) >= setCacheSize || l.sets.byValue == nil {
		l.sets.m, l.sets.byValue = map[setRef]*frame.TagSet{}, map[string]*frame.TagSet{}
	}
	s := l.sets.byValue[string(p)]
	if s == nil {
		if s, err = frame.DecodeTagSet(p); err != nil {
			return nil, err
		}
		l.sets.byValue[string(p)] = s
	}
	l.sets.m[ref] = s
	return s, nil
}

// place is where a block stands in the log.
type place struct {
	first  uint64
	count  int
	pos    uint64
	logged int64
	seg    uint64
	size   int
}

// blockAt returns the place of the block that holds seq, or of the first behind it.
func (l *Log) blockAt(seq uint64) (p place, ok bool, err error) {
	it, err := l.frames.NewIter(&pebble.IterOptions{LowerBound: setsKey(1)})
	if err != nil {
		return place{}, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for valid := seekBlock(it, seq); valid; valid = it.Next() {
		first, isBlock := isBlockKey(it.Key())
		if !isBlock {
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return place{}, false, l.readError(first, err)
		}
		env, _, err := parseEnvelope(it.Key(), first, v)
		if err != nil {
			return place{}, false, damage(Range{first, first}, err)
		}
		return place{first, env.count, env.pos, env.logged, env.segment, len(v)}, true, nil
	}
	return place{}, false, it.Error()
}

// search returns the first seq of the first block from the floor on for which f
// holds; f must hold for all behind one for which it does. Without such a block
// it returns the end of the log.
func (l *Log) search(f func(place) bool) (uint64, error) {
	lo, hi := l.floor.Load(), l.appended.Load()+1
	for lo < hi {
		mid := lo + (hi-lo)/2
		p, ok, err := l.blockAt(mid)
		if err != nil {
			return 0, err
		}
		switch {
		case !ok:
			hi = mid
		case f(p):
			hi = max(lo, min(p.first, mid)) // there is no block between mid and p
		default:
			lo = p.first + uint64(p.count)
		}
	}
	p, ok, err := l.blockAt(lo)
	if err != nil || !ok {
		return l.appended.Load() + 1, err
	}
	return p.first, nil
}

// SeqAtTime returns the first seq that was logged at t (Unix ms) or later.
func (l *Log) SeqAtTime(t int64) (uint64, error) {
	return l.search(func(p place) bool { return p.logged >= t })
}

// SeqAtBytes returns the first seq with at most keep bytes of log from it to the end.
func (l *Log) SeqAtBytes(keep uint64) (uint64, error) {
	end := l.endPos.Load()
	return l.search(func(p place) bool { return end-p.pos <= keep })
}
