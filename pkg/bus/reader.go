package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// Start says where a new consumer begins.
type Start int

// The starts.
const (
	StartOldest Start = iota // the oldest frame that the log holds
	StartEnd                 // the next frame
)

// readAhead is how many frames a consumer takes from the log at a time.
const readAhead = 8192

// Reader is the hold of one consumer on the running bus: it reads frames from its bookmark
// on, and commits position and records there. One goroutine reads; the other methods may
// be called from any.
type Reader struct {
	b  *Bus
	st *wal.Bookmark

	parkedChanged chan struct{} // capacity 1

	active atomic.Bool
	read   atomic.Uint64 // the cursor: the next Read begins here

	mu          sync.Mutex
	ahead       []*frame.Batch // read from the log, not returned yet
	seeks       uint64         // counts Seeks, so that a Read under way doesn't undo one
	again       uint64         // Seek asked for frames up to here that are acknowledged
	parkedSince time.Time      // zero: active
}

// OpenReader returns the reader of the consumer with the given name, which the log
// remembers from then on, and makes the consumer active. A new one begins at start. A name can
// be held once at a time.
func (b *Bus) OpenReader(name string, start Start) (*Reader, error) {
	b.register.Lock()
	defer b.register.Unlock()
	b.mu.Lock()
	old := b.consumers[name]
	b.mu.Unlock()
	if old != nil && old.active.Load() {
		return nil, fmt.Errorf("consumer %s: already in use", name)
	}
	st, isNew, err := b.log.OpenBookmark(name, start == StartEnd)
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", name, err)
	}
	if isNew {
		b.logger.Info("new consumer", "consumer", name, "first_seq", st.Acked()+1)
	}
	c := &Reader{b: b, st: st, parkedChanged: make(chan struct{}, 1)}
	c.read.Store(st.Acked() + 1)
	c.active.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.consumers[name] = c
	b.measure()
	return c, nil
}

// Close parks the consumer: it keeps its place and its frames until somebody
// opens it again or removes it.
func (c *Reader) Close() {
	c.active.Store(false)
	c.mu.Lock()
	c.parkedSince, c.ahead = c.b.now(), nil
	c.mu.Unlock()
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.measure()
	c.b.freeSpace()
}

// Name returns the consumer's name.
func (c *Reader) Name() string { return c.st.Name() }

// Epoch identifies the log.
func (c *Reader) Epoch() string { return c.b.Epoch() }

// Head returns the last durable seq: what Read could return by now.
func (c *Reader) Head() uint64 { return c.b.log.Durable() }

// Acked returns the consumer's position: every frame up to it is delivered.
func (c *Reader) Acked() uint64 { return c.st.Acked() }

// Records returns the consumer's records, sorted by key.
func (c *Reader) Records() ([]Record, error) { return c.st.Records() }

// Commit changes records and position in one atomic step.
func (c *Reader) Commit(change Commit) error {
	if err := c.st.Commit(change); err != nil {
		return err
	}
	if len(change.Gaps) > 0 {
		c.b.untold.Store(true)
		wake(c.b.wakeCollector)
	}
	return nil
}

// ParkedChanged has a token when somebody has asked for a parked message to be sent or
// has dropped one.
func (c *Reader) ParkedChanged() <-chan struct{} { return c.parkedChanged }

// Seek sets the cursor: the next Read begins at seq, even if that is
// acknowledged.
func (c *Reader) Seek(seq uint64) {
	c.mu.Lock()
	c.ahead, c.seeks, c.again = nil, c.seeks+1, c.st.Acked()
	c.read.Store(seq)
	c.mu.Unlock()
	c.moved()
}

// moved lets publishers look again that wait for this consumer.
func (c *Reader) moved() {
	if c.b.cfg.Load().Overflow != Pause {
		return
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.measure()
	c.b.freeSpace()
}

// Read waits until frames at the cursor are durable and returns at least one
// and, unless the first batch alone is larger, at most maxFrames of them, in
// order. It moves the cursor behind them. Ranges that were acknowledged out of
// order are skipped. Frames that the log had to drop appear as a jump in seq,
// told by a sys.gap frame. Damaged frames are an error that wraps ErrDamaged; the
// cursor stays before them.
func (c *Reader) Read(ctx context.Context, maxFrames int) ([]*frame.Batch, error) {
	for {
		moved := c.b.moved()
		if err := c.usable(); err != nil {
			return nil, err
		}
		batches, err := c.tryRead(max(maxFrames, 1))
		if err != nil {
			return nil, fmt.Errorf("consumer %s: %w", c.Name(), err)
		}
		if len(batches) > 0 {
			c.moved()
			return batches, nil
		}
		select {
		case <-moved:
		case <-c.b.stop:
		case <-c.b.log.Failed():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Reader) usable() error {
	if !c.active.Load() {
		return fmt.Errorf("consumer %s: %w", c.Name(), errParked)
	}
	select {
	case <-c.b.stop:
		return fmt.Errorf("consumer %s: %w", c.Name(), ErrClosed)
	default:
	}
	return c.b.log.Err()
}

// tryRead returns nothing if there is nothing to read.
func (c *Reader) tryRead(maxFrames int) ([]*frame.Batch, error) {
	for {
		c.mu.Lock()
		at, seeks := max(c.read.Load(), c.b.log.Floor()), c.seeks
		head := c.b.log.Durable()
		if at <= c.again {
			head = min(head, c.again)
		} else { // what was acknowledged since it was read first is not read again
			at = max(at, c.st.Acked()+1)
		}
		c.mu.Unlock()
		r, ok := c.st.NextUnfinished(at, head)
		if !ok {
			c.advance(max(at, head+1), seeks)
			return nil, nil
		}
		batches, err := c.get(r, maxFrames)
		if err != nil && !errors.Is(err, errHole) {
			return nil, err
		}
		next := r.Last + 1 // behind a hole that is known
		if len(batches) > 0 {
			next = batches[len(batches)-1].LastSeq() + 1
		}
		if !c.advance(next, seeks) {
			continue // Seek came in between
		}
		if len(batches) > 0 {
			return batches, nil
		}
	}
}

// advance moves the cursor unless Seek was called since seeks was taken.
func (c *Reader) advance(to, seeks uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seeks != seeks {
		return false
	}
	c.read.Store(to)
	return true
}

// errParked: the consumer was closed.
var errParked = errors.New("closed")

// errHole says that a whole range is missing, and known to be.
var errHole = errors.New("hole")

// get returns frames from the start of r on: from the ring if it holds them,
// otherwise from the log.
func (c *Reader) get(r Range, maxFrames int) ([]*frame.Batch, error) {
	if batches := c.b.ring.read(nil, r.First, r.Last, maxFrames); len(batches) > 0 {
		return batches, nil
	}
	c.mu.Lock()
	ahead := c.ahead
	c.mu.Unlock()
	for len(ahead) > 0 && ahead[0].LastSeq() < r.First {
		ahead = ahead[1:]
	}
	if len(ahead) == 0 || ahead[0].FirstSeq > r.First {
		var err error
		if ahead, err = c.b.log.Read(r.First, c.b.log.Durable(), max(readAhead, maxFrames)); err != nil {
			return nil, c.damaged(r, err)
		}
	}
	var out []*frame.Batch
	at, n := r.First, 0
	for _, b := range ahead {
		b = b.Slice(r.First, r.Last)
		if b == nil || n > 0 && n+len(b.Frames) > maxFrames {
			break
		}
		if b.FirstSeq > at {
			if hole, bad := c.b.log.Missing(Range{First: at, Last: b.FirstSeq - 1}); bad {
				if n > 0 {
					break
				}
				return nil, &wal.DamageError{Range: hole, Err: errors.New("missing")}
			}
		}
		out = append(out, b)
		n += len(b.Frames)
		at = b.LastSeq() + 1
	}
	c.mu.Lock()
	c.ahead = ahead
	c.mu.Unlock()
	if n == 0 {
		if hole, bad := c.b.log.Missing(r); bad {
			return nil, &wal.DamageError{Range: hole, Err: errors.New("missing")}
		}
		return nil, errHole
	}
	return out, nil
}

// damaged returns err unless what it is about was deleted in the meantime.
func (c *Reader) damaged(r Range, err error) error {
	var d *wal.DamageError
	if errors.As(err, &d) {
		if _, bad := c.b.log.Missing(d.Range); !bad {
			return errHole
		}
	}
	return err
}

// Fetch returns the frames first…last again, for a message that is sent again.
// All of them must be pinned by a record or not yet acknowledged; otherwise they
// may be gone. What a repair of the log took out is gone too. Then the error is a
// [GoneError], and the frames that are left are returned beside it.
func (c *Reader) Fetch(first, last uint64) ([]*frame.Batch, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if first == 0 || first > last || last > c.b.log.Durable() {
		return nil, fmt.Errorf("consumer %s: fetch %d to %d: expected a range within 1 to %d", c.Name(), first, last, c.b.log.Durable())
	}
	f := fetch{log: c.b.log, at: first, last: last}
	for f.at <= last {
		batches := c.b.ring.read(nil, f.at, last, int(min(last-f.at+1, math.MaxInt32)))
		var err error
		if len(batches) == 0 {
			batches, err = c.b.log.Read(f.at, last, readAhead)
		}
		if err = f.take(batches, err); err != nil {
			return nil, fmt.Errorf("consumer %s: fetch %d to %d: %w", c.Name(), first, last, err)
		}
	}
	if len(f.gone) > 0 {
		return f.out, fmt.Errorf("consumer %s: fetch %d to %d: %w", c.Name(), first, last, &GoneError{Ranges: f.gone})
	}
	return f.out, nil
}

// fetch collects the frames at…last, and which of them are gone.
type fetch struct {
	log      *wal.Log
	at, last uint64
	out      []*frame.Batch
	gone     []Range
}

// take takes what one read from f.at on has given.
func (f *fetch) take(batches []*frame.Batch, err error) error {
	var d *wal.DamageError
	if errors.As(err, &d) { // a repair that was interrupted may have left it there
		bad, untold := f.log.Untold(Range{First: f.at, Last: f.last})
		if untold && bad.First == f.at {
			return err
		}
		if !untold {
			bad.First = f.last + 1
		}
		f.skip(bad.First - 1)
		return nil
	}
	if err != nil {
		return err
	}
	for _, b := range batches {
		if err := f.hole(b.FirstSeq - 1); err != nil {
			return err
		}
		f.out, f.at = append(f.out, b), b.LastSeq()+1
	}
	if len(batches) == 0 {
		return f.hole(f.last)
	}
	return nil
}

// hole passes over frames that the log does not hold, if that is known.
func (f *fetch) hole(last uint64) error {
	if f.at > last {
		return nil
	}
	if bad, missing := f.log.Missing(Range{First: f.at, Last: last}); missing {
		return &wal.DamageError{Range: bad, Err: errors.New("missing")}
	}
	f.skip(last)
	return nil
}

func (f *fetch) skip(last uint64) {
	f.gone = append(f.gone, Range{First: f.at, Last: last})
	f.at = last + 1
}
