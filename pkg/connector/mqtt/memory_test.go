package mqtt

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

// memory is a consumer on a log in memory. What was committed without Sync since
// the last synced commit is lost in crash, as a power cut would have it.
type memory struct {
	mu      sync.Mutex
	batches []*frame.Batch
	cursor  uint64
	now     memoryState
	durable memoryState
	changed chan struct{}
	commits []bus.Commit
	fail    error // of the next commit
}

type memoryState struct {
	records map[string]bus.Record
	acked   uint64
	done    []bus.Range // beyond acked, sorted
}

func (s memoryState) clone() memoryState {
	return memoryState{records: maps.Clone(s.records), acked: s.acked, done: slices.Clone(s.done)}
}

func newMemory() *memory {
	m := &memory{cursor: 1, changed: make(chan struct{})}
	m.now.records = map[string]bus.Record{}
	m.durable = m.now.clone()
	return m
}

// publish appends batches to the log.
func (m *memory) publish(batches ...*frame.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range batches {
		b.FirstSeq = m.head() + 1
		m.batches = append(m.batches, b)
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// crash takes back what was not synced.
func (m *memory) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.durable.clone()
	m.cursor = m.now.acked + 1
}

func (m *memory) head() uint64 {
	if n := len(m.batches); n > 0 {
		return m.batches[n-1].LastSeq()
	}
	return 0
}

func (m *memory) Name() string  { return "mqtt" }
func (m *memory) Epoch() string { return "0123456789abcdef" }

func (m *memory) Head() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head()
}

func (m *memory) Acked() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.acked
}

func (m *memory) Seek(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursor = seq
}

func (m *memory) Read(ctx context.Context, maxFrames int) ([]*frame.Batch, error) {
	for {
		m.mu.Lock()
		changed := m.changed
		out := m.readLocked(maxFrames)
		m.mu.Unlock()
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

// has reports whether the log holds a frame from seq on that is neither delivered
// nor in skip.
func (m *memory) has(seq uint64, skip []bus.Range) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ; seq <= m.head(); seq++ {
		in := func(r bus.Range) bool { return r.First <= seq && seq <= r.Last }
		if seq > m.now.acked && !slices.ContainsFunc(m.now.done, in) && !slices.ContainsFunc(skip, in) {
			return true
		}
	}
	return false
}

func (m *memory) readLocked(maxFrames int) []*frame.Batch {
	m.cursor = max(m.cursor, m.now.acked+1)
	for _, d := range m.now.done {
		if m.cursor >= d.First && m.cursor <= d.Last {
			m.cursor = d.Last + 1
		}
	}
	limit := m.head()
	for _, d := range m.now.done {
		if d.First > m.cursor {
			limit = min(limit, d.First-1)
		}
	}
	var out []*frame.Batch
	n := 0
	for _, b := range m.batches {
		part := b.Slice(m.cursor, limit)
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
		m.cursor = out[len(out)-1].LastSeq() + 1
	}
	return out
}

func (m *memory) Fetch(first, last uint64) ([]*frame.Batch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if first == 0 || last > m.head() || first > last {
		return nil, fmt.Errorf("fetch %d to %d of %d", first, last, m.head())
	}
	var out []*frame.Batch
	for _, b := range m.batches {
		if part := b.Slice(first, last); part != nil {
			out = append(out, part)
		}
	}
	return out, nil
}

func (m *memory) Records() ([]bus.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.now.records), func(a, b bus.Record) int { return cmp.Compare(a.Key, b.Key) }), nil
}

func (m *memory) Commit(c bus.Commit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail; err != nil {
		m.fail = nil
		return err
	}
	m.commits = append(m.commits, c)
	for _, k := range c.Delete {
		delete(m.now.records, k)
	}
	for _, r := range c.Put {
		if r.Key == "" || len(r.Key) > 128 {
			return errors.New("bad key")
		}
		m.now.records[r.Key] = r
	}
	for _, r := range c.Ack {
		if r.First == 0 || r.First > r.Last {
			return fmt.Errorf("bad range %v", r)
		}
		m.now.done = append(m.now.done, r)
	}
	slices.SortFunc(m.now.done, func(a, b bus.Range) int { return cmp.Compare(a.First, b.First) })
	for len(m.now.done) > 0 && m.now.done[0].First <= m.now.acked+1 {
		m.now.acked = max(m.now.acked, m.now.done[0].Last)
		m.now.done = m.now.done[1:]
	}
	if c.Sync {
		m.durable = m.now.clone()
	}
	return nil
}
