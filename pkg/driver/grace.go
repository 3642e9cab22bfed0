package driver

import (
	"context"
	"net"
	"sync"
	"time"
)

// Grace is how long the request in flight may take when a driver is to stop.
const Grace = 300 * time.Millisecond

// LastRequest lets the request in flight end when a driver is to stop, but not for longer
// than [Grace]. The zero value is ready for use.
type LastRequest struct {
	mu   sync.Mutex
	conn net.Conn // in use; nil: none
}

// Use notes the connection in use, nil for none.
func (r *LastRequest) Use(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn = c
}

// Bound bounds the request in flight when ctx ends. The result undoes that.
func (r *LastRequest) Bound(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.conn != nil {
			_ = r.conn.SetDeadline(time.Now().Add(Grace)) // a connection that refuses is broken, and its request will fail
		}
	})
}
