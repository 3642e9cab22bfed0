package wal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Keys of the state database:
//
//	m/epoch, m/ready     as in the frames database; set when both are made
//	m/turn               the epoch that is about to begin; see NewEpoch
//	m/next               next seq, floor and its byte position: synced before a delete
//	g/ seq               a Gap, JSON
//	c/ name 0 p          a consumer's position and finished ranges
//	c/ name 0 r key      a consumer's record
func stateEpochKey() []byte { return []byte("m/epoch") }
func stateReadyKey() []byte { return []byte("m/ready") }
func stateNextKey() []byte  { return []byte("m/next") }

func gapKey(g Gap) []byte {
	key := append(appendSeq([]byte("g/"), g.First), g.Consumer...)
	if g.Parked != 0 { // several topics may have frames of one range
		key = appendSeq(append(key, 0), g.Parked)
	}
	return key
}
func positionKey(name string) []byte    { return []byte("c/" + name + "\x00p") }
func recordKey(name, key string) []byte { return []byte("c/" + name + "\x00r" + key) }

// stateStore is the state database's content that is needed all the time. Record
// values stay on disk.
type stateStore struct {
	next, floor, floorPos uint64 // as found at open

	mu        sync.Mutex
	consumers map[string]*Bookmark
	gaps      []Gap // sorted by First
}

// Bookmark is how far one consumer has come in the log, with its records: what of a
// consumer is durable.
type Bookmark struct {
	l    *Log
	name string

	mu       sync.Mutex
	acked    uint64
	finished []Range // beyond acked, sorted, not touching
	pins     map[string]Range
	removed  bool
}

func (l *Log) loadState() error {
	l.st.consumers = map[string]*Bookmark{}
	it, err := l.state.NewIter(nil)
	if err != nil {
		return err
	}
	for valid := it.First(); valid; valid = it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = l.loadStateKey(it.Key(), v)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("state %q: %w", it.Key(), err), it.Close())
		}
	}
	return it.Close()
}

func (l *Log) loadStateKey(key, v []byte) error {
	switch {
	case bytes.Equal(key, stateNextKey()):
		if len(v) != 24 {
			return fmt.Errorf("%w: %d bytes", ErrDamaged, len(v))
		}
		l.st.next, l.st.floor, l.st.floorPos = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint64(v[16:])
	case bytes.HasPrefix(key, []byte("g/")):
		var g Gap
		if err := json.Unmarshal(v, &g); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		l.st.gaps = append(l.st.gaps, g)
	case bytes.HasPrefix(key, []byte("c/")):
		name, rest, ok := bytes.Cut(key[2:], []byte{0})
		if !ok || len(rest) == 0 {
			return fmt.Errorf("%w: bad key", ErrDamaged)
		}
		c := l.st.consumers[string(name)]
		if c == nil {
			c = &Bookmark{l: l, name: string(name), pins: map[string]Range{}}
			l.st.consumers[c.name] = c
		}
		if rest[0] == 'p' {
			return c.parsePosition(v)
		}
		pin, _, err := parseRecord(v)
		c.pins[string(rest[1:])] = pin
		return err
	}
	return nil
}

func nextValue(next, floor, floorPos uint64) []byte {
	return appendSeq(appendSeq(appendSeq(nil, next), floor), floorPos)
}

// largest returns the largest seq that any consumer speaks of.
func (s *stateStore) largest() uint64 {
	var most uint64
	for _, c := range s.consumers {
		most = max(most, c.acked)
		for _, r := range c.finished {
			most = max(most, r.Last)
		}
		for _, r := range c.pins {
			most = max(most, r.Last)
		}
	}
	for _, g := range s.gaps {
		most = max(most, g.Last)
	}
	return most
}

// OpenBookmark returns the bookmark of the consumer with the given name. A new one begins
// at the floor, or with atEnd behind the last durable frame. isNew says that it was made.
func (l *Log) OpenBookmark(name string, atEnd bool) (c *Bookmark, isNew bool, err error) {
	if err := checkConsumerName(name); err != nil {
		return nil, false, err
	}
	l.gc.mu.Lock() // the floor stays where it is
	defer l.gc.mu.Unlock()
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	if c := l.st.consumers[name]; c != nil {
		return c, false, nil
	}
	if err := l.beginWrite(); err != nil {
		return nil, false, err
	}
	defer l.end()
	acked := l.floor.Load() - 1
	if atEnd {
		acked = l.durable.Load()
	}
	c = &Bookmark{l: l, name: name, acked: acked, pins: map[string]Range{}}
	if err := l.state.Set(positionKey(name), c.appendPosition(nil), pebble.Sync); err != nil {
		return nil, false, fmt.Errorf("new consumer %s: %w", name, err)
	}
	l.st.consumers[name] = c
	return c, true, nil
}

func checkConsumerName(name string) error {
	if name == "" || len(name) > 128 || bytes.IndexByte([]byte(name), 0) >= 0 {
		return fmt.Errorf("consumer name %q: expected 1 to 128 bytes without NUL", name)
	}
	return nil
}

// Bookmarks returns the bookmarks of all consumers, sorted by name.
func (l *Log) Bookmarks() []*Bookmark {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.st.consumers), func(a, b *Bookmark) int { return cmp.Compare(a.name, b.name) })
}

// RemoveConsumer forgets a consumer, its place and its records.
func (l *Log) RemoveConsumer(name string) error {
	if err := l.beginWrite(); err != nil {
		return err
	}
	defer l.end()
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	c := l.st.consumers[name]
	if c == nil {
		return fmt.Errorf("consumer %s: %w", name, ErrNoConsumer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := l.state.DeleteRange([]byte("c/"+name+"\x00"), []byte("c/"+name+"\x01"), pebble.Sync); err != nil {
		return fmt.Errorf("remove consumer %s: %w", name, err)
	}
	c.removed = true
	delete(l.st.consumers, name)
	return nil
}

// Name returns the consumer's name.
func (c *Bookmark) Name() string { return c.name }

// Acked returns the consumer's position: all up to it is delivered.
func (c *Bookmark) Acked() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked
}

// Finished returns the ranges beyond Acked that are delivered.
func (c *Bookmark) Finished() []Range {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.finished)
}

// NextUnfinished returns the first run of frames from seq on that is not
// finished, up to last; ok is false if there is none. What lies at or before
// Acked counts as not finished: it is read again only if asked for.
func (c *Bookmark) NextUnfinished(seq, last uint64) (r Range, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.finished {
		if seq < f.First {
			last = min(last, f.First-1)
			break
		}
		if seq <= f.Last {
			seq = f.Last + 1
		}
	}
	return Range{seq, last}, seq <= last
}

// Records returns the consumer's records, sorted by key.
func (c *Bookmark) Records() (records []Record, err error) {
	if err := c.l.begin(); err != nil {
		return nil, err
	}
	defer c.l.end()
	it, err := c.l.state.NewIter(&pebble.IterOptions{LowerBound: recordKey(c.name, ""), UpperBound: []byte("c/" + c.name + "\x00s")})
	if err != nil {
		return nil, fmt.Errorf("records of %s: %w", c.name, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	prefix := len(recordKey(c.name, ""))
	for valid := it.First(); valid; valid = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("records of %s: %w", c.name, err)
		}
		pin, value, err := parseRecord(v)
		if err != nil {
			return nil, fmt.Errorf("records of %s: %w", c.name, err)
		}
		records = append(records, Record{Key: string(it.Key()[prefix:]), Value: bytes.Clone(value), Pin: pin})
	}
	return records, it.Error()
}

// Commit makes one atomic change of records and position. Acks must be of
// durable frames.
func (c *Bookmark) Commit(change Commit) error {
	if err := c.l.beginWrite(); err != nil {
		return err
	}
	defer c.l.end()
	if err := c.apply(change); err != nil {
		return fmt.Errorf("commit of %s: %w", c.name, err)
	}
	if !change.Sync {
		return nil
	}
	// Outside the lock, so that one sync serves all who wait.
	if err := c.l.syncState(); err != nil {
		return fmt.Errorf("commit of %s: %w", c.name, err)
	}
	return nil
}

func (l *Log) syncState() error { return l.state.LogData(nil, pebble.Sync) }

func (c *Bookmark) apply(change Commit) error {
	durable := c.l.durable.Load()
	for _, r := range change.Ack {
		if r.First == 0 || r.First > r.Last || r.Last > durable {
			return fmt.Errorf("ack of %d to %d: expected a range within 1 to %d", r.First, r.Last, durable)
		}
	}
	for _, r := range change.Put {
		if len(r.Key) == 0 || len(r.Key) > 128 {
			return fmt.Errorf("record key %q: expected 1 to 128 bytes", r.Key)
		}
		if r.Pin != (Range{}) && (r.Pin.First == 0 || r.Pin.First > r.Pin.Last || r.Pin.Last > durable) {
			return fmt.Errorf("record %q pins %d to %d: expected a range within 1 to %d", r.Key, r.Pin.First, r.Pin.Last, durable)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return errors.New("the consumer was removed")
	}
	for _, key := range change.If {
		if _, ok := c.pins[key]; !ok {
			return fmt.Errorf("record %q: %w", key, ErrNoRecord)
		}
	}
	cutting := c.l.gc.cutting.Load()
	for _, r := range change.Put {
		if old, ok := c.pins[r.Key]; r.Pin.First != 0 && r.Pin.First < cutting && (!ok || old != r.Pin) && !c.holds(r.Pin) {
			return fmt.Errorf("record %q pins %d to %d: %w before %d", r.Key, r.Pin.First, r.Pin.Last, ErrGone, cutting)
		}
	}
	b := c.l.state.NewBatch()
	defer func() { _ = b.Close() }() // nothing to lose: a committed batch is empty, another one was given up
	for _, key := range change.Delete {
		if err := b.Delete(recordKey(c.name, key), nil); err != nil {
			return err
		}
	}
	for _, r := range change.Put {
		if err := b.Set(recordKey(c.name, r.Key), appendRecord(nil, r), nil); err != nil {
			return err
		}
	}
	for _, g := range change.Gaps {
		p, err := json.Marshal(g)
		if err != nil {
			return err
		}
		if err := b.Set(gapKey(g), p, nil); err != nil {
			return err
		}
	}
	acked, finished := c.acked, c.finished
	if len(change.Ack) > 0 {
		acked, finished = mergeAcks(acked, finished, change.Ack)
		if err := b.Set(positionKey(c.name), appendPosition(nil, acked, finished), nil); err != nil {
			return err
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	c.l.keepGaps(change.Gaps)
	c.acked, c.finished = acked, finished
	for _, key := range change.Delete {
		delete(c.pins, key)
	}
	for _, r := range change.Put {
		c.pins[r.Key] = r.Pin
	}
	return nil
}

// holds reports whether a record pins all of r already. c.mu is held.
func (c *Bookmark) holds(r Range) bool {
	for _, p := range c.pins {
		if p.First != 0 && p.First <= r.First && p.Last >= r.Last {
			return true
		}
	}
	return false
}

// SetBack moves the position back (or forward) to acked, but not before the floor,
// and forgets what is finished beyond it. It is durable on return.
func (c *Bookmark) SetBack(acked uint64) error {
	if err := c.l.beginWrite(); err != nil {
		return err
	}
	defer c.l.end()
	c.l.gc.mu.Lock() // the floor stays where it is
	defer c.l.gc.mu.Unlock()
	acked = max(acked, c.l.floor.Load()-1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.l.state.Set(positionKey(c.name), appendPosition(nil, acked, nil), pebble.Sync); err != nil {
		return fmt.Errorf("set back %s: %w", c.name, err)
	}
	c.acked, c.finished = acked, nil
	return nil
}

// mergeAcks adds ranges to what is delivered.
func mergeAcks(acked uint64, finished, more []Range) (uint64, []Range) {
	all := append(slices.Clone(finished), more...)
	slices.SortFunc(all, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	var out []Range
	for _, r := range all {
		if r.First <= acked+1 {
			acked = max(acked, r.Last)
			continue
		}
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return acked, out
}

func (c *Bookmark) appendPosition(dst []byte) []byte { return appendPosition(dst, c.acked, c.finished) }

func appendPosition(dst []byte, acked uint64, finished []Range) []byte {
	dst = binary.AppendUvarint(dst, acked)
	at := acked
	for _, r := range finished {
		dst = binary.AppendUvarint(dst, r.First-at)
		dst = binary.AppendUvarint(dst, r.Last-r.First)
		at = r.Last
	}
	return dst
}

func (c *Bookmark) parsePosition(p []byte) error {
	acked, n := binary.Uvarint(p)
	if n <= 0 {
		return fmt.Errorf("%w: position", ErrDamaged)
	}
	p = p[n:]
	c.acked, c.finished = acked, nil
	at := acked
	for len(p) > 0 {
		gap, n := binary.Uvarint(p)
		size, m := binary.Uvarint(p[max(n, 0):])
		if n <= 0 || m <= 0 {
			return fmt.Errorf("%w: finished ranges", ErrDamaged)
		}
		p = p[n+m:]
		c.finished = append(c.finished, Range{at + gap, at + gap + size})
		at += gap + size
	}
	return nil
}

func appendRecord(dst []byte, r Record) []byte {
	dst = binary.AppendUvarint(dst, r.Pin.First)
	dst = binary.AppendUvarint(dst, r.Pin.Last)
	return append(dst, r.Value...)
}

func parseRecord(p []byte) (pin Range, value []byte, err error) {
	first, n := binary.Uvarint(p)
	last, m := binary.Uvarint(p[max(n, 0):])
	if n <= 0 || m <= 0 {
		return Range{}, nil, fmt.Errorf("%w: record", ErrDamaged)
	}
	return Range{first, last}, p[n+m:], nil
}

// needs returns the first seq that must not be deleted for the consumer's sake:
// neither delivered nor pinned, which is kept anyway.
func (c *Bookmark) needs() uint64 {
	settled := c.pinned()
	c.mu.Lock()
	settled = append(settled, c.finished...)
	at := c.acked + 1
	c.mu.Unlock()
	sortRanges(settled)
	for _, r := range settled {
		if r.First <= at {
			at = max(at, r.Last+1)
		}
	}
	return at
}

// pinned returns what the consumer's records pin, sorted.
func (c *Bookmark) pinned() []Range {
	c.mu.Lock()
	defer c.mu.Unlock()
	var pins []Range
	for _, r := range c.pins {
		if r.First != 0 {
			pins = append(pins, r)
		}
	}
	sortRanges(pins)
	return pins
}

// pinned returns what records of all consumers pin, sorted.
func (l *Log) pinned() []Range {
	var all []Range
	for _, c := range l.Bookmarks() {
		all = append(all, c.pinned()...)
	}
	sortRanges(all)
	return all
}

func sortRanges(r []Range) {
	slices.SortFunc(r, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
}
