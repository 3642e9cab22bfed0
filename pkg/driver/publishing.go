package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

const (
	publishQueue = 16                     // batches that may wait for the log
	publishGrace = 300 * time.Millisecond // for those that wait when the driver is to stop
)

// Publishing runs a driver's work and hands what it puts into out to the log beside it,
// so that a log that is slow for a moment delays no poll. work returns when its context
// ends, which it also does if the log takes nothing more; that is the error then. What
// waits for the log when work has returned has a last while.
func Publishing(ctx context.Context, log Publisher, work func(ctx context.Context, out chan<- *frame.Batch)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	publishing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	out, published := make(chan *frame.Batch, publishQueue), make(chan error, 1)
	go func() {
		err := publish(publishing, log, out)
		if err != nil {
			cancel(err)
		}
		published <- err
	}()
	work(ctx, out)
	close(out)
	grace := time.AfterFunc(publishGrace, stop)
	defer grace.Stop()
	if err := <-published; err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// publish hands batches to the log until out is closed or the log fails. Batches that
// ctx overtakes are dropped.
func publish(ctx context.Context, log Publisher, out <-chan *frame.Batch) error {
	for b := range out {
		if err := log.Publish(ctx, b); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
