package admin

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
)

// queue hands items from a producer that must not wait to a client that may be
// slow. What exceeds its limit is dropped and counted.
type queue[T any] struct {
	limit   int
	weigh   func(T) int
	arrived chan struct{} // holds one token while there may be items

	mu      sync.Mutex
	items   []T
	weight  int
	dropped uint64 // sum of weights
}

func newQueue[T any](limit int, weigh func(T) int) *queue[T] {
	return &queue[T]{limit: limit, weigh: weigh, arrived: make(chan struct{}, 1)}
}

// push never blocks.
func (q *queue[T]) push(item T) {
	w := q.weigh(item)
	q.mu.Lock()
	if q.weight+w > q.limit {
		q.dropped += uint64(w)
	} else {
		q.items = append(q.items, item)
		q.weight += w
	}
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

// take returns what has arrived and how much was dropped in all.
func (q *queue[T]) take() ([]T, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.weight = nil, 0
	return items, q.dropped
}

// lossy is a stream to a client whose Send never blocks: it hands the message over
// to a queue.
type lossy[M any] struct {
	grpc.ServerStreamingServer[M]
	ctx  context.Context
	push func(*M)
}

// Context ends when the client goes, or does not take what it is sent.
func (l lossy[M]) Context() context.Context { return l.ctx }

// Send never blocks and never fails.
func (l lossy[M]) Send(m *M) error {
	l.push(m)
	return nil
}

// pump runs produce in a goroutine of its own and sends what it puts into q until
// out's context or produce ends or send fails. It returns after produce has. send is
// given no items when only the count of what was dropped has changed.
func pump[M any](out grpc.ServerStreamingServer[M], q *queue[*M], produce func(lossy[M]) error, send func([]*M, uint64) error) error {
	ctx, cancel := context.WithCancel(out.Context())
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ended <- fmt.Errorf("the gateway has a fault in this call: %v", p)
			}
		}()
		ended <- produce(lossy[M]{out, ctx, q.push})
	}()
	running, told := true, uint64(0)
	defer func() {
		cancel()
		if running {
			<-ended //nolint:errcheck // the reason to stop is ours already
		}
	}()
	for {
		var end error
		select {
		case <-q.arrived:
		case end = <-ended:
			running = false
		case <-ctx.Done():
			return ctx.Err()
		}
		if items, dropped := q.take(); len(items) > 0 || dropped > told {
			if err := send(items, dropped); err != nil {
				return err
			}
			told = dropped
		}
		if !running {
			return end
		}
	}
}
