package connectortest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Log is a log in memory with one consumer, itself. What was committed without
// Sync since the last synced commit is lost in [Log.Crash], as a power cut would
// have it. All methods may be called from any goroutine.
type Log struct {
	mu      sync.Mutex
	batches []*frame.Batch
	cursor  uint64
	now     state
	durable state
	changed chan struct{}
	commits []bus.Commit
	fail    error // of the next commit; nil: none
	gone    []bus.Range
}

// state is what a consumer keeps.
type state struct {
	records map[string]bus.Record
	acked   uint64
	done    []bus.Range // beyond acked, sorted
}

func (s state) clone() state {
	return state{records: maps.Clone(s.records), acked: s.acked, done: slices.Clone(s.done)}
}

// NewLog returns an empty log.
func NewLog() *Log {
	l := &Log{cursor: 1, changed: make(chan struct{})}
	l.now.records = map[string]bus.Record{}
	l.durable = l.now.clone()
	return l
}

// Publish appends batches to the log and gives them their numbers.
func (l *Log) Publish(batches ...*frame.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range batches {
		b.FirstSeq = l.head() + 1
		l.batches = append(l.batches, b)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Crash takes back what was not synced.
func (l *Log) Crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.durable.clone()
	l.cursor = l.now.acked + 1
}

// Commits returns all commits so far.
func (l *Log) Commits() []bus.Commit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.commits)
}

// FailNext makes the next commit fail with err and change nothing.
func (l *Log) FailNext(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *Log) head() uint64 {
	if n := len(l.batches); n > 0 {
		return l.batches[n-1].LastSeq()
	}
	return 0
}

// ParkedChanged implements [connector.Source].
func (l *Log) ParkedChanged() <-chan struct{} { return nil }

// Name implements [connector.Source].
func (l *Log) Name() string { return "mqtt" }

// Epoch implements [connector.Source].
func (l *Log) Epoch() string { return "0123456789abcdef" }

// Head implements [connector.Source].
func (l *Log) Head() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head()
}

// Acked implements [connector.Source].
func (l *Log) Acked() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.acked
}

// Seek implements [connector.Source].
func (l *Log) Seek(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursor = seq
}

// Read implements [connector.Source].
func (l *Log) Read(ctx context.Context, maxFrames int) ([]*frame.Batch, error) {
	for {
		l.mu.Lock()
		changed := l.changed
		out := l.readLocked(maxFrames)
		l.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// Has reports whether the log holds a frame from seq on that is neither delivered
// nor in skip.
func (l *Log) Has(seq uint64, skip []bus.Range) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; seq <= l.head(); seq++ {
		in := func(r bus.Range) bool { return r.First <= seq && seq <= r.Last }
		if seq > l.now.acked && !slices.ContainsFunc(l.now.done, in) && !slices.ContainsFunc(skip, in) {
			return true
		}
	}
	return false
}

func (l *Log) readLocked(maxFrames int) []*frame.Batch {
	l.cursor = max(l.cursor, l.now.acked+1)
	for _, d := range l.now.done {
		if l.cursor >= d.First && l.cursor <= d.Last {
			l.cursor = d.Last + 1
		}
	}
	limit := l.head()
	for _, d := range l.now.done {
		if d.First > l.cursor {
			limit = min(limit, d.First-1)
		}
	}
	var out []*frame.Batch
	n := 0
	for _, b := range l.batches {
		part := b.Slice(l.cursor, limit)
		if part == nil {
			continue
		}
		if n > 0 && n+len(part.Frames) > maxFrames {
			break
		}
		out = append(out, part)
		n += len(part.Frames)
	}
	if n > 0 {
		l.cursor = out[len(out)-1].LastSeq() + 1
	}
	return out
}

// Fetch implements [connector.Source].
func (l *Log) Fetch(first, last uint64) ([]*frame.Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first == 0 || last > l.head() || first > last {
		return nil, fmt.Errorf("fetch %d to %d of %d", first, last, l.head())
	}
	var out []*frame.Batch
	var lost []bus.Range
	at := first
	for _, g := range l.gone { // sorted by Lose
		if g.Last < at || g.First > last {
			continue
		}
		lost = append(lost, bus.Range{First: max(at, g.First), Last: min(last, g.Last)})
		if g.First > at {
			out = l.slice(out, at, g.First-1)
		}
		at = g.Last + 1
	}
	if at <= last {
		out = l.slice(out, at, last)
	}
	if len(lost) > 0 {
		return out, fmt.Errorf("fetch %d to %d: %w", first, last, &bus.GoneError{Ranges: lost})
	}
	return out, nil
}

// Lose makes the frames first…last gone for Fetch, as a repair of a damaged log
// does.
func (l *Log) Lose(first, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = append(l.gone, bus.Range{First: first, Last: last})
	slices.SortFunc(l.gone, func(a, b bus.Range) int { return cmp.Compare(a.First, b.First) })
}

// slice appends what the log holds of first…last. The caller holds mu.
func (l *Log) slice(out []*frame.Batch, first, last uint64) []*frame.Batch {
	for _, b := range l.batches {
		if part := b.Slice(first, last); part != nil {
			out = append(out, part)
		}
	}
	return out
}

// Pinned returns what records pin, by their keys.
func (l *Log) Pinned() map[string]bus.Range {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]bus.Range{}
	for k, r := range l.now.records {
		if r.Pin != (bus.Range{}) {
			out[k] = r.Pin
		}
	}
	return out
}

// Records implements [connector.Source].
func (l *Log) Records() ([]bus.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.now.records), func(a, b bus.Record) int { return cmp.Compare(a.Key, b.Key) }), nil
}

// Commit implements [connector.Source].
func (l *Log) Commit(c bus.Commit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fail; err != nil {
		l.fail = nil
		return err
	}
	l.commits = append(l.commits, c)
	for _, k := range c.Delete {
		delete(l.now.records, k)
	}
	for _, r := range c.Put {
		if r.Key == "" || len(r.Key) > 128 {
			return errors.New("bad key")
		}
		l.now.records[r.Key] = r
	}
	for _, r := range c.Ack {
		if r.First == 0 || r.First > r.Last {
			return fmt.Errorf("bad range %v", r)
		}
		l.now.done = append(l.now.done, r)
	}
	slices.SortFunc(l.now.done, func(a, b bus.Range) int { return cmp.Compare(a.First, b.First) })
	for len(l.now.done) > 0 && l.now.done[0].First <= l.now.acked+1 {
		l.now.acked = max(l.now.acked, l.now.done[0].Last)
		l.now.done = l.now.done[1:]
	}
	if c.Sync {
		l.durable = l.now.clone()
	}
	return nil
}
