package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// parts is a group of running components with one owner: stop ends them all and
// waits for them.
type parts struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	fail   func(error)
}

// newParts returns an empty group. fail is told when one of its parts ends with an
// error, or ends although nobody stopped it.
func newParts(fail func(error)) *parts {
	ctx, cancel := context.WithCancel(context.Background())
	return &parts{ctx: ctx, cancel: cancel, fail: fail}
}

// start runs one part.
func (p *parts) start(name string, run func(context.Context) error) {
	p.wg.Go(func() {
		if err := run(p.ctx); err != nil {
			p.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// stop ends the parts and waits for them, limit at most; it reports whether all
// have ended.
func (p *parts) stop(limit time.Duration) bool {
	p.cancel()
	done := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}
