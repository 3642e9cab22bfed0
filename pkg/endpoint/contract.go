package endpoint

import (
	"context"
	"net"
)

// Conn is a connection to a device, or one layer of it: what transports dial and
// decorators wrap. Close may be called at any time, from any goroutine, any
// number of times, and ends a blocked Read or Write. Deadlines are honoured by
// every layer.
type Conn = net.Conn

// Lease is a connection that one user holds until it releases it. It must not be
// used after Release.
type Lease interface {
	Conn
	// Release gives the connection back to its pool. With a non-nil err the
	// connection is closed instead of reused, since whatever it would say next
	// could be the answer to an older question; err is recorded as the
	// endpoint's last error, unless the holder insists ([User.Insist]).
	Release(err error)
}

// Acquirer hands out connections to one endpoint. Acquire waits, fairly, for a
// connection to be free, dialling one where the endpoint allows it; it returns
// early with the endpoint's last error while the endpoint is known to be down,
// with [ErrPaused] while the endpoint is paused, and with ctx's error.
type Acquirer interface {
	Acquire(ctx context.Context) (Lease, error)
}

// Trust is what a [Pool]'s leases know of their connection besides, for a holder
// that is about to send what must not be lost or done twice.
type Trust interface {
	// Check returns, without a round trip, why the connection can't be used: the
	// peer closed it, or sent what nobody asked for. nil doesn't prove that the
	// peer is there.
	Check() error
	// Fresh reports whether nothing was sent over the connection yet.
	Fresh() bool
	// Used reports whether somebody was answered over the connection before this
	// lease, and nobody during it. It may be called after Release.
	Used() bool
	// Rested reports whether nobody was answered over the connection for a second
	// or more when the lease began.
	Rested() bool
	// HangsUp reports whether the peer was seen to close connections soon after an
	// answer.
	HangsUp() bool
	// Unanswered says that the device did not answer, although the lease will be
	// released without an error: the connection is in order, the holder's turn was
	// in vain.
	Unanswered()
}
