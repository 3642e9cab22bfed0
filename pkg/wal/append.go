package wal

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Entry is a batch to be appended, encoded already.
type Entry struct {
	First uint64 // seq of its first frame
	Count int
	Set   *frame.TagSet
	Block []byte // see Encode; not kept
	// Logged is when it was logged, Unix ms; 0: now. For copies.
	Logged int64
}

const (
	// segmentBytes is how much goes into a segment before the tag sets are
	// written anew: a damaged set costs no more than that, and segments are what
	// the collector cuts off whole.
	segmentBytes = 16 << 20
	// setShare keeps the sets below 1/16 of the log, however large they are.
	setShare    = 16
	segmentSets = 1 << 16
	// groupBytes bounds one Pebble batch: larger ones would not fit a memtable.
	groupBytes = 512 << 10
)

// writer is the state of the appending goroutine.
type writer struct {
	segment  uint64
	current  atomic.Uint64 // segment, for the collector
	bytes    uint64        // of blocks in the segment
	setBytes uint64
	ids      map[*frame.TagSet]uint32
	byValue  map[string]uint32 // encoded set → id; drivers rebuild equal sets
	logged   int64             // Unix ms of the last block
	buf, key []byte
}

func (w *writer) beginSegment(at uint64) {
	w.segment, w.bytes, w.setBytes = at, 0, 0
	w.ids, w.byValue = map[*frame.TagSet]uint32{}, map[string]uint32{}
}

// Append adds entries to the end of the log, in order and without a hole. They
// can be read at once, but survive a crash only from the next [Log.Sync] on.
func (l *Log) Append(entries []Entry) error {
	if err := l.beginWrite(); err != nil {
		return err
	}
	defer l.end()
	b := l.frames.NewBatchWithSize(groupBytes + 64<<10)
	defer func() { _ = b.Close() }() // nothing to lose: a committed batch is empty, another one was given up
	next, pos := l.Next(), l.endPos.Load()
	if len(entries) > 0 && entries[0].Logged == 0 {
		l.w.logged = max(l.w.logged, l.now().UnixMilli())
	}
	for i := range entries {
		e := &entries[i]
		if e.First != next {
			return fmt.Errorf("append: seq %d, expected %d", e.First, next)
		}
		n, err := l.appendOne(b, e, pos)
		if err != nil {
			return fmt.Errorf("append %d: %w", e.First, err)
		}
		next += uint64(e.Count)
		pos += uint64(n)
		if b.Len() < groupBytes && i+1 < len(entries) {
			continue
		}
		if err := b.Commit(pebble.NoSync); err != nil {
			return fmt.Errorf("append %d: %w", e.First, err)
		}
		b.Reset()
		l.endPos.Store(pos)
		l.appended.Store(next - 1)
		l.w.current.Store(l.w.segment)
	}
	return nil
}

func (l *Log) appendOne(b *pebble.Batch, e *Entry, pos uint64) (int, error) {
	w := &l.w
	if w.bytes >= max(segmentBytes, setShare*w.setBytes) || len(w.ids) >= segmentSets {
		w.beginSegment(e.First)
	}
	w.logged = max(w.logged, e.Logged)
	env := envelope{count: e.Count, segment: w.segment, pos: pos, logged: w.logged}
	if len(e.Set.Tags) == 1 {
		env.inline = frame.AppendTagSet(nil, e.Set)
	} else {
		id, err := l.internSet(b, e.Set)
		if err != nil {
			return 0, err
		}
		env.setID = id
	}
	w.key = append(appendSeq(w.key[:0], e.First), blockKind)
	w.buf = append(appendEnvelope(w.buf[:0], w.key, e.First, env), e.Block...)
	w.bytes += uint64(len(w.buf))
	return len(w.buf), b.Set(w.key, w.buf, nil)
}

// internSet returns the set's id in the segment, writing the set if it is new.
func (l *Log) internSet(b *pebble.Batch, s *frame.TagSet) (uint32, error) {
	w := &l.w
	if id, ok := w.ids[s]; ok {
		return id, nil
	}
	p := frame.AppendTagSet(nil, s)
	id, ok := w.byValue[string(p)]
	if !ok {
		id = uint32(len(w.byValue))
		w.byValue[string(p)] = id
		w.setBytes += uint64(len(p))
		if err := b.Set(setKey(w.segment, id), p, nil); err != nil {
			return 0, err
		}
	}
	w.ids[s] = id
	return id, nil
}

// Sync makes everything appended before the call durable and returns the last
// seq of it.
func (l *Log) Sync() (uint64, error) {
	if err := l.beginWrite(); err != nil {
		return 0, err
	}
	defer l.end()
	last := l.appended.Load() // before the sync: what comes during it may be left out
	if last == l.durable.Load() {
		return last, nil
	}
	began := time.Now()
	if err := l.frames.LogData(nil, pebble.Sync); err != nil {
		return 0, fmt.Errorf("sync log: %w", err)
	}
	l.disk.synced(time.Since(began))
	l.durable.Store(last)
	return last, nil
}

// Flush syncs the log and writes what Pebble holds in memory to tables.
func (l *Log) Flush() error {
	if err := l.beginWrite(); err != nil {
		return err
	}
	defer l.end()
	if err := errors.Join(l.frames.LogData(nil, pebble.Sync), l.frames.Flush(), l.state.Flush()); err != nil {
		return fmt.Errorf("flush log: %w", err)
	}
	return nil
}

// begin is called before the databases are used, end afterwards: Close waits for
// those who are in between.
func (l *Log) begin() error {
	if err := l.Err(); err != nil {
		return err
	}
	l.life.Lock()
	defer l.life.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.users.Add(1)
	return nil
}

func (l *Log) end() { l.users.Done() }

// beginWrite is begin for what changes the log.
func (l *Log) beginWrite() error {
	if l.readOnly {
		return ErrReadOnly
	}
	return l.begin()
}
