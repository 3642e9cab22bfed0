// Package endpoint reaches devices: it turns a [URL] into a connection that a
// driver can trust, and shares, pauses, drains and measures such connections in
// a [Pool].
//
//	pool, err := endpoint.NewPool(endpoint.PoolOptions{Log: log})
//	u, err := endpoint.Parse("tls+tcp://192.168.10.5:802?ca=/certs/plant_ca.pem&timeout=1s")
//	h, err := pool.Open("press_1", u)
//
//	lease, err := h.Acquire(ctx)     // dials when nothing is free
//	_, err = lease.Write(request)
//	_, err = io.ReadFull(lease, answer)
//	lease.Release(err)               // with an error the connection is closed
//
// # Layers
//
// A connection is a transport (TCP, UDP, a serial line) under decorators, in one
// fixed order from the wire outwards:
//
//	transport → TLS or DTLS → rate limit → half-duplex → deadline → meter → trace
//
// So the rate limit counts the driver's packets, not TLS records; time spent
// waiting for the rate or for silence on the line counts against the driver's
// deadline; and meter and trace see what the driver sees. Layers that an
// endpoint doesn't ask for aren't there.
//
// # Pooling
//
// Endpoints whose [NormalizedURL] and credentials are the same share connections, at most
// max_conns of them (1 by default: PLCs accept few). Waiters are served in order. One
// dial runs at a time. A failed dial fails all of them, and starts a jittered exponential
// back-off during which [Handle.Acquire] fails at once with a [DownError]. Only an
// acquire dials, so an endpoint that is down costs no goroutine.
//
// An idle connection that its peer closed, or that received bytes nobody asked for, is
// found by the pool's janitor (one goroutine, once per second) or, at the latest, when it
// is acquired after a second or more of rest; a connection in steady use pays nothing for
// it. A peer that hangs up soon after its answers is remembered, and its connections are
// looked at each time. [Trust] tells the holder of a lease what is known of the
// connection, before it sends something that must not be lost.
//
// # Secrets
//
// User names and passwords are never part of [URL.String], of an error, a log
// line, a metric or the pool's key, which holds a keyed fingerprint of them.
package endpoint
