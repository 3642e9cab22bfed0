package wal

import (
	"bytes"
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

// readBytes bounds what is read at once where frames hold long texts: their number says
// little of the memory that they take.
const readBytes = 8 << 20

// block is one block as the log holds it.
type block struct {
	Range
	env     envelope
	payload []byte // see frame.DecodeBlock; valid during the walk's step
	key     []byte // key and value as stored, for copies
	value   []byte
	err     error // a DamageError: nothing but Range, key and value is known
}

// Read returns batches with frames of from…to, in order, cut to that range: at
// least maxFrames of them if there are so many and they are not larger than [readBytes],
// and then no further batch. Holes
// are not filled: the caller sees them by the seqs. What cannot be read is a
// [DamageError], once the frames before it have been returned.
func (l *Log) Read(from, to uint64, maxFrames int) ([]*frame.Batch, error) {
	var batches []*frame.Batch
	frames, size := 0, 0
	err := l.walk(from, to, func(blk *block) (bool, error) {
		b, err := l.decode(blk)
		if err != nil {
			return false, err
		}
		if b = b.Slice(from, to); b != nil {
			batches = append(batches, b)
			frames, size = frames+len(b.Frames), size+len(blk.payload)
		}
		return frames < maxFrames && size < readBytes, nil
	})
	if len(batches) > 0 {
		return batches, nil
	}
	return nil, err
}

// walk calls step with each block that has frames of from…to, in order, until it
// returns false or an error. A block that is damaged is passed on; damage below
// it, in Pebble's files, is an error.
func (l *Log) walk(from, to uint64, step func(*block) (more bool, err error)) (err error) {
	if err := l.begin(); err != nil {
		return err
	}
	defer l.end()
	it, err := l.frames.NewIter(&pebble.IterOptions{LowerBound: setsKey(1), UpperBound: endKey()})
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer func() {
		if closeErr := it.Close(); closeErr != nil && err == nil {
			err = l.readError(from, closeErr)
		}
	}()
	for valid := seekBlock(it, from); valid; {
		first, isBlock := isBlockKey(it.Key())
		if !isBlock {
			valid = it.Next()
			continue
		}
		if first > to {
			return nil
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return l.readError(from, err)
		}
		blk := &block{Range: Range{first, first}, key: it.Key(), value: v}
		blk.env, blk.payload, err = parseEnvelope(blk.key, first, v)
		if err == nil {
			blk.Last = first + uint64(blk.env.count) - 1
			more, err := step(blk)
			if err != nil || !more {
				return err
			}
			from = blk.Last + 1
			valid = it.Next()
			continue
		}
		// How far the damage goes is known by where the next block begins.
		blk.key, blk.value = bytes.Clone(blk.key), bytes.Clone(blk.value)
		blk.Last = l.appended.Load()
		for valid = it.Next(); valid; valid = it.Next() {
			if next, isBlock := isBlockKey(it.Key()); isBlock {
				blk.Last = next - 1
				break
			}
		}
		if blk.Last < from {
			continue
		}
		blk.err = &DamageError{blk.Range, err}
		if more, err := step(blk); err != nil || !more {
			return err
		}
		from = blk.Last + 1
	}
	if err := it.Error(); err != nil {
		return l.readError(from, err)
	}
	return nil
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
	if err := it.Error(); err != nil && !pebble.IsCorruptionError(err) {
		return false
	}
	// What lies before seq may be unreadable; seq itself need not be.
	return it.SeekGE(blockKey(seq))
}

func (l *Log) readError(at uint64, err error) error {
	if pebble.IsCorruptionError(err) {
		return &DamageError{Range{at, at}, err}
	}
	return fmt.Errorf("read log at %d: %w", at, err)
}

// decode returns the batch in blk.
func (l *Log) decode(blk *block) (*frame.Batch, error) {
	if blk.err != nil {
		return nil, blk.err
	}
	set, err := l.tagSet(&blk.env)
	if err != nil {
		return nil, &DamageError{blk.Range, err}
	}
	b, err := frame.DecodeBlock(blk.payload, set)
	if err != nil {
		return nil, &DamageError{blk.Range, err}
	}
	if len(b.Frames) != blk.env.count {
		return nil, &DamageError{blk.Range, fmt.Errorf("%w: %d frames, expected %d", frame.ErrBadBlock, len(b.Frames), blk.env.count)}
	}
	b.FirstSeq = blk.First
	return b, nil
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
}

// blockAt returns the place of the block that holds seq, or of the first behind
// it. A damaged block has no place: the next counts.
func (l *Log) blockAt(seq uint64) (p place, ok bool, err error) {
	err = l.walk(seq, maxSeq, func(blk *block) (bool, error) {
		if blk.err != nil {
			return true, nil
		}
		p, ok = place{blk.First, blk.env.count, blk.env.pos, blk.env.logged, blk.env.segment}, true
		return false, nil
	})
	return p, ok, err
}

// search returns the first seq of the first block from the floor on for which f
// holds; f must hold for all behind one for which it does. Without such a block
// it returns the end of the log. It gallops from the floor, since the collector,
// which asks many times a second, finds what it looks for there.
func (l *Log) search(f func(place) bool) (uint64, error) {
	lo, hi := l.floor.Load(), l.appended.Load()+1
	for step := uint64(0); lo < hi; step = 2*step + 1024 {
		mid := lo + min(step, (hi-lo)/2)
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

// BytesFrom returns how many bytes of log there are from seq on.
func (l *Log) BytesFrom(seq uint64) (uint64, error) {
	end := l.endPos.Load()
	p, ok, err := l.blockAt(seq)
	if err != nil || !ok {
		return 0, err
	}
	return end - min(p.pos, end), nil
}

// LoggedAt returns when the frame seq was logged, Unix ms; 0: the log does not hold it.
func (l *Log) LoggedAt(seq uint64) (int64, error) {
	p, ok, err := l.blockAt(seq)
	if err != nil || !ok || seq < p.first || seq >= p.first+uint64(p.count) {
		return 0, err
	}
	return p.logged, nil
}
