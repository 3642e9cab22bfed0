package driver

import "sync"

// Plans hold what a driver works by: the newest plan, which others set and ask for, and
// a signal to the goroutine that works.
type Plans[P any] struct {
	wake chan struct{} // a plan is waiting; capacity 1

	mu     sync.Mutex
	newest P
}

// NewPlans returns plans of which none is set yet.
func NewPlans[P any]() *Plans[P] { return &Plans[P]{wake: make(chan struct{}, 1)} }

// Set makes p the newest plan and wakes the driver.
func (n *Plans[P]) Set(p P) {
	n.mu.Lock()
	n.newest = p
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default: // woken already
	}
}

// Newest returns the plan that was set last.
func (n *Plans[P]) Newest() P {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.newest
}

// Wake receives when there is a plan that the driver has not looked at.
func (n *Plans[P]) Wake() <-chan struct{} { return n.wake }
