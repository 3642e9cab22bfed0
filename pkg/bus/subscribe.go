package bus

import (
	"context"
	"fmt"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Subscription is a live view of the bus for people who watch: it begins now,
// holds a bounded number of frames, and loses the oldest if its reader is slow.
// What must not be lost is for a [Reader].
type Subscription struct {
	b       *Bus
	matcher *frame.Matcher // used under Bus.mu only

	mu      sync.Mutex
	batches []*frame.Batch
	frames  int
	texts   int // bytes
	most    int
	dropped uint64
	ready   chan struct{}
	closed  bool
}

// Subscribe returns a subscription to the frames that pass filter, holding at
// most maxFrames of them (at least 1024).
func (b *Bus) Subscribe(filter frame.Filter, maxFrames int) (*Subscription, error) {
	m, err := filter.Compile()
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	s := &Subscription{b: b, matcher: m, most: max(maxFrames, 1024), ready: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("subscribe: %w", ErrClosed)
	}
	b.subs[s] = struct{}{}
	return s, nil
}

// offer takes what passes. Bus.mu is held.
func (s *Subscription) offer(batches []*frame.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range batches {
		n := len(s.batches)
		s.batches = s.matcher.Split(s.batches, b)
		s.frames += frame.CountFrames(s.batches[n:])
		s.texts += textsOf(s.batches[n:])
	}
	gone := 0
	for (s.frames > s.most || s.texts > mostTexts) && gone < len(s.batches)-1 {
		n := len(s.batches[gone].Frames)
		s.frames -= n
		s.texts -= s.batches[gone].TextBytes()
		s.dropped += uint64(n) // missed here, not dropped by the bus
		gone++
	}
	s.batches = s.batches[gone:]
	if len(s.batches) > 0 {
		wake(s.ready)
	}
}

// Next waits for frames and returns them.
func (s *Subscription) Next(ctx context.Context) ([]*frame.Batch, error) {
	for {
		s.mu.Lock()
		batches, closed := s.batches, s.closed
		s.batches, s.frames, s.texts = nil, 0, 0
		s.mu.Unlock()
		if len(batches) > 0 {
			return batches, nil
		}
		if closed {
			return nil, fmt.Errorf("subscription: %w", ErrClosed)
		}
		select {
		case <-s.ready:
		case <-s.b.stop:
			return nil, fmt.Errorf("subscription: %w", ErrClosed)
		case <-s.b.log.Failed():
			return nil, s.b.log.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Dropped returns how many frames were lost since the reader was slow.
func (s *Subscription) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.b.mu.Lock()
	delete(s.b.subs, s)
	s.b.mu.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	wake(s.ready)
}
