package endpoint

import (
	"sync"
	"time"
)

// limiter spaces writes: a leaky bucket for packets and one for bytes. It
// belongs to the endpoint, so that several connections, and the one after a
// reconnect, share the rate.
type limiter struct {
	mu            sync.Mutex
	packet        time.Duration // one packet's share of a second; 0: no limit
	perByte       float64       // nanoseconds; 0: no limit
	packetSlack   time.Duration // how far ahead of their time packets may go: the burst
	byteSlack     time.Duration
	packets, byts time.Time // when each bucket is empty
}

// newLimiter returns nil where there is no limit.
func newLimiter(o Options) *limiter {
	if o.Rate == (Rate{}) {
		return nil
	}
	l := new(limiter)
	if o.Rate.Packets > 0 {
		l.packet = time.Duration(float64(time.Second) / o.Rate.Packets)
		l.packetSlack = time.Duration(o.Burst-1) * l.packet
	}
	if o.Rate.Bytes > 0 {
		l.perByte = float64(time.Second) / o.Rate.Bytes
		l.byteSlack = time.Duration(float64(o.BurstBytes) * l.perByte)
	}
	return l
}

// reserve books a packet of n bytes and returns when it may go. A packet larger
// than the burst goes when nothing before it is owed.
func (l *limiter) reserve(now time.Time, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := now
	if l.packet > 0 {
		at = later(at, l.packets.Add(-l.packetSlack))
		l.packets = later(l.packets, now).Add(l.packet)
	}
	if l.perByte > 0 {
		cost := l.bytes(n)
		at = later(at, later(l.byts, now).Add(min(cost, l.byteSlack)-l.byteSlack))
		l.byts = later(l.byts, now).Add(cost)
	}
	return at
}

// cancel gives back what reserve booked for a packet that didn't go.
func (l *limiter) cancel(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.packets = l.packets.Add(-l.packet)
	l.byts = l.byts.Add(-l.bytes(n))
}

func (l *limiter) bytes(n int) time.Duration { return time.Duration(float64(n) * l.perByte) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rateConn holds writes back until the limiter lets them go.
type rateConn struct {
	*gate
	limit *limiter
}

func limitRate(l *limiter) decorator {
	if l == nil {
		return nil
	}
	return func(c Conn) Conn { return &rateConn{newGate(c), l} }
}

func (c *rateConn) Write(p []byte) (int, error) {
	if err := c.wait(c.limit.reserve(time.Now(), len(p))); err != nil {
		c.limit.cancel(len(p))
		return 0, err
	}
	return c.Conn.Write(p)
}
