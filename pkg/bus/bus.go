package bus

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// Bus is an open bus. All methods may be called from any goroutine.
type Bus struct {
	log     *wal.Log
	logger  *slog.Logger
	now     func() time.Time
	cfg     atomic.Pointer[Config]
	metrics *metrics
	hooks   Deps
	run     string // tells this opening of the log from others
	head    uint64 // last frame at Open
	behind  atomic.Pointer[Behind]

	ring ring
	bufs sync.Pool // *[]byte: encoded blocks

	mu        sync.Mutex
	closed    bool
	next      uint64 // seq of the next frame
	queue     []queued
	texts     int                // bytes, of frames that are not durable yet
	space     chan struct{}      // closed and replaced when waiting publishers should look again
	waiting   int                // publishers that wait for space
	gauge     gauge              // back-pressure
	consumers map[string]*Reader // changed under register too
	subs      map[*Subscription]struct{}

	undurable struct { // appended, not yet synced; writer and syncer share it
		sync.Mutex
		batches []*frame.Batch
	}
	durable struct {
		sync.Mutex
		ch chan struct{} // closed and replaced when the durable position moves
	}

	wakeWriter, wakeSyncer, wakePressure, wakeCollector, syncNow chan struct{}
	stop                                                         chan struct{} // closed by Close, after the queue has been written
	writerDone                                                   chan struct{}
	wg                                                           sync.WaitGroup
	failOnce                                                     sync.Once
	register                                                     sync.Mutex  // held while consumers come and go; before mu
	telling                                                      sync.Mutex  // one at a time tells of gaps
	untold                                                       atomic.Bool // there may be gaps that were noted with a commit and are not told of
}

// queued is a batch with its place in order, waiting to be appended.
type queued struct {
	batch *frame.Batch
	block *[]byte
}

// Open opens the log in cfg.WALDir, or makes one there, and starts the bus.
func Open(cfg Config, deps Deps) (*Bus, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	deps.patience = cmp.Or(deps.patience, movedPatience)
	log, err := wal.Open(cfg.WALDir, wal.Options{FS: deps.FS, Log: deps.Log, Now: deps.Now, Earliest: deps.Earliest, Ballast: ballastSize(cfg.MinFree), MaxBytes: cfg.WALMaxBytes})
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{
		log: log, logger: deps.Log, now: deps.Now, hooks: deps, next: log.Next(),
		run: rand.Text(), head: log.Durable(),
		space: make(chan struct{}), consumers: map[string]*Reader{}, subs: map[*Subscription]struct{}{},
		wakeWriter: make(chan struct{}, 1), wakeSyncer: make(chan struct{}, 1), wakePressure: make(chan struct{}, 1),
		wakeCollector: make(chan struct{}, 1), syncNow: make(chan struct{}, 1),
		stop: make(chan struct{}), writerDone: make(chan struct{}),
	}
	b.bufs.New = func() any { return new([]byte) }
	b.durable.ch = make(chan struct{})
	b.ring.size, b.ring.room = 1<<cfg.RingPow, mostTexts
	b.cfg.Store(&cfg)
	if b.metrics, err = newMetrics(deps.Registerer, b); err != nil {
		return nil, fmt.Errorf("bus: %w", errors.Join(err, log.Close()))
	}
	log.OnSync(b.metrics.fsync)
	for _, c := range log.Bookmarks() {
		b.consumers[c.Name()] = &Reader{b: b, st: c, parkedSince: deps.Now()}
	}
	b.wg.Add(5)
	go b.watch()
	go b.write()
	go b.sync()
	go b.pressureLoop()
	go b.collectLoop()
	return b, nil
}

func ballastSize(minFree uint64) int64 { return int64(min(minFree/4, 16<<20)) }

// wake makes the owner of ch look again.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Epoch identifies the log: (gateway, epoch, seq) names a frame for ever.
func (b *Bus) Epoch() string { return b.log.Epoch() }

// Head returns the last durable seq, 0 if there is none.
func (b *Bus) Head() uint64 { return b.log.Durable() }

// Failed is closed when the log failed: the process must end. See Err.
func (b *Bus) Failed() <-chan struct{} { return b.log.Failed() }

// Err returns why the log failed, nil while it works. It wraps ErrFailed.
func (b *Bus) Err() error { return b.log.Err() }

// Publish gives every frame of batch its seq and hands the batch to the log. On return
// the end of the process takes nothing of it; a power cut may, until Sync. It waits
// while the log exerts back-pressure, until ctx ends. It does not wait for the disk,
// unless the batch, or its tag set, is too large for the log's tail. From then on nobody may change the batch. A batch of more
// than frame.MaxBlockFrames frames is published in parts.
func (b *Bus) Publish(ctx context.Context, batch *frame.Batch) error {
	return b.publish(ctx, batch, false)
}

// PublishSync publishes batch and waits until it is durable.
func (b *Bus) PublishSync(ctx context.Context, batch *frame.Batch) error {
	if err := b.publish(ctx, batch, false); err != nil {
		return err
	}
	return b.Sync(ctx)
}

// PublishSys publishes one of the gateway's own frames: tag begins with frame.SysPrefix,
// object becomes its JSON value. It does not wait for back-pressure, because there are
// few such frames.
func (b *Bus) PublishSys(tag string, object any) error {
	p, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("publish %s: %w", tag, err)
	}
	f := frame.Frame{Value: frame.ObjectValue(string(p)), TS: b.now().UnixNano()}
	return b.publish(context.Background(), frame.Single(frame.Data, "", frame.Tag{Name: tag}, f), true)
}

func (b *Bus) publish(ctx context.Context, batch *frame.Batch, always bool) error {
	if n := len(batch.Frames); n == 0 {
		return nil
	} else if n > frame.MaxBlockFrames {
		return b.publishParts(ctx, batch, always)
	}
	buf := b.bufs.Get().(*[]byte)
	block, err := b.log.Encode((*buf)[:0], batch)
	*buf = block
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	texts := batch.TextBytes()
	b.mu.Lock()
	entry := wal.Entry{Count: len(batch.Frames), Set: batch.Set, Block: block}
	held := wal.HoldLater
	for !b.closed && b.log.Err() == nil {
		if always || b.admit(len(batch.Frames), texts) {
			entry.First = b.next
			var pressed bool
			if held, pressed = b.log.Hold(&entry, always); pressed {
				wake(b.syncNow)
			}
			if held != wal.HoldLater {
				break
			}
		}
		if err := b.waitForSpace(ctx); err != nil {
			b.mu.Unlock()
			b.metrics.dropped("ring_full", uint64(len(batch.Frames)))
			return err
		}
	}
	if b.closed || b.log.Err() != nil {
		b.mu.Unlock()
		return errors.Join(fmt.Errorf("publish: %w", ErrClosed), b.log.Err())
	}
	batch.FirstSeq = b.next
	b.next += uint64(len(batch.Frames))
	b.texts += texts
	b.queue = append(b.queue, queued{batch, buf})
	b.measure()
	b.mu.Unlock()
	wake(b.wakeWriter)
	b.metrics.published(batch.Kind, len(batch.Frames))
	if held == wal.HoldNever && !always {
		return b.Sync(ctx) // too large for the tail: only what is synced may be called published
	}
	return nil
}

func (b *Bus) publishParts(ctx context.Context, batch *frame.Batch, always bool) error {
	for at := 0; at < len(batch.Frames); at += frame.MaxBlockFrames {
		part := *batch
		part.Frames = batch.Frames[at:min(at+frame.MaxBlockFrames, len(batch.Frames))]
		if err := b.publish(ctx, &part, always); err != nil {
			b.metrics.dropped("ring_full", uint64(len(batch.Frames)-at-len(part.Frames))) // the rest; publish has counted the part
			return err
		}
		if at == 0 {
			batch.FirstSeq = part.FirstSeq
		}
	}
	return nil
}

// waitForSpace waits with b.mu released. The error is ctx's.
func (b *Bus) waitForSpace(ctx context.Context) error {
	space := b.space
	b.waiting++
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.waiting--
	}()
	select {
	case <-space:
		return nil
	case <-b.log.Failed():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("publish: waiting for space in the log: %w", ctx.Err())
	}
}

// freeSpace makes waiting publishers look again. b.mu is held.
func (b *Bus) freeSpace() {
	if b.waiting > 0 {
		close(b.space)
		b.space = make(chan struct{})
	}
}

// write appends what is queued, group by group.
func (b *Bus) write() {
	defer b.wg.Done()
	defer close(b.writerDone)
	var spare []queued
	var entries []wal.Entry
	for {
		b.mu.Lock()
		group, closed := b.queue, b.closed
		b.queue = spare[:0]
		b.mu.Unlock()
		if len(group) == 0 {
			if closed {
				return
			}
			spare = group
			select {
			case <-b.wakeWriter:
			case <-b.log.Failed():
				return
			}
			continue
		}
		entries = entries[:0]
		for _, q := range group {
			entries = append(entries, wal.Entry{First: q.batch.FirstSeq, Count: len(q.batch.Frames), Set: q.batch.Set, Block: *q.block})
		}
		if err := b.log.Append(entries); err != nil {
			b.failed(err)
			return
		}
		b.undurable.Lock()
		for i, q := range group {
			b.undurable.batches = append(b.undurable.batches, q.batch)
			b.bufs.Put(q.block)
			group[i] = queued{}
		}
		b.undurable.Unlock()
		clear(entries)
		spare = group
		wake(b.wakeSyncer)
		if last := b.log.Next() - 1; last-b.log.Durable() > uint64(b.ringSize()/4) {
			wake(b.syncNow)
		}
	}
}

func (b *Bus) ringSize() int { return 1 << b.cfg.Load().RingPow }

// watch reports a failure of the log. The goroutine that met it may be stuck for
// ever, since Pebble can't go on.
func (b *Bus) watch() {
	defer b.wg.Done()
	select {
	case <-b.log.Failed():
		b.failed(b.log.Err())
	case <-b.stop:
	}
}

func (b *Bus) failed(err error) {
	b.failOnce.Do(func() {
		b.logger.Error("the log failed; the gateway must restart", "error", err)
		b.mu.Lock()
		b.closed = true
		b.freeSpace()
		b.mu.Unlock()
		if b.hooks.OnFailure != nil {
			b.hooks.OnFailure(err)
		}
	})
}

// sync makes what was appended durable, at most WALFlush after the first of it and
// sooner as the disk and WALSyncRate allow, and then visible.
func (b *Bus) sync() {
	defer b.wg.Done()
	last, took, rate := time.Time{}, time.Duration(0), diskRate(b.cfg.Load().WALDir)
	for done := false; !done; {
		select {
		case <-b.wakeSyncer:
		case <-b.syncNow:
		case <-b.writerDone:
			done = true
		case <-b.log.Failed():
			return
		}
		if wait := b.cfg.Load().pause(took, rate) - time.Since(last); wait > 0 && !done {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-b.syncNow:
			case <-b.writerDone: // the loop ends the next time around
			case <-b.log.Failed():
			}
			t.Stop()
		}
		began := time.Now()
		seq, err := b.log.Sync()
		if err != nil {
			b.failed(err)
			return
		}
		last = time.Now()
		took = last.Sub(began)
		b.show(seq)
	}
}

// show makes frames up to seq, which are durable, visible.
func (b *Bus) show(seq uint64) {
	b.undurable.Lock()
	n := 0
	for n < len(b.undurable.batches) && b.undurable.batches[n].LastSeq() <= seq {
		n++
	}
	batches := b.undurable.batches[:n:n]
	b.undurable.batches = append([]*frame.Batch(nil), b.undurable.batches[n:]...)
	b.undurable.Unlock()
	if n > 0 {
		b.ring.add(batches)
	}
	b.durable.Lock()
	close(b.durable.ch)
	b.durable.ch = make(chan struct{})
	b.durable.Unlock()
	texts := textsOf(batches)
	b.mu.Lock()
	b.texts -= texts
	b.measure()
	b.freeSpace()
	for s := range b.subs {
		s.offer(batches)
	}
	b.mu.Unlock()
	wake(b.wakeCollector)
}

// moved returns a channel that is closed when the durable position moves.
func (b *Bus) moved() <-chan struct{} {
	b.durable.Lock()
	defer b.durable.Unlock()
	return b.durable.ch
}

// Sync waits until all that was published before the call is durable.
func (b *Bus) Sync(ctx context.Context) error {
	b.mu.Lock()
	target := b.next - 1
	b.mu.Unlock()
	for {
		moved := b.moved()
		if b.log.Durable() >= target {
			return nil
		}
		wake(b.syncNow)
		select {
		case <-moved:
		case <-b.stop:
			return fmt.Errorf("sync: %w", ErrClosed)
		case <-b.log.Failed():
			return fmt.Errorf("sync: %w", b.log.Err())
		case <-ctx.Done():
			return fmt.Errorf("sync: %w", ctx.Err())
		}
	}
}

// Close writes and syncs what was published, and closes the log. Later calls of
// Publish and Read fail with ErrClosed. After a failure of the log it returns
// that; the process must then end, which is what releases the directory.
func (b *Bus) Close() error {
	b.mu.Lock()
	if b.closed && b.log.Err() == nil {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.freeSpace()
	b.mu.Unlock()
	b.metrics.close()
	if err := b.log.Err(); err != nil {
		return fmt.Errorf("close bus: %w", err)
	}
	wake(b.wakeWriter)
	select {
	case <-b.writerDone:
	case <-b.log.Failed():
		return fmt.Errorf("close bus: %w", b.log.Err())
	}
	close(b.stop)
	b.wg.Wait()
	if err := b.log.Close(); err != nil {
		return fmt.Errorf("close bus: %w", err)
	}
	return nil
}
