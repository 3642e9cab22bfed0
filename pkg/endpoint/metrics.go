package endpoint

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// latencyBounds are the histogram's buckets in milliseconds: a connection that
// is free takes less than the first, a dial as long as it takes.
var latencyBounds = [...]float64{0.001, 0.01, 0.1, 1, 5, 25, 100, 500, 1000, 5000, 30000}

// latency is a histogram that costs an Acquire two atomic additions. A hit is
// timed only now and then, since two readings of the clock would take longer
// than the hit itself; those in between count as the last timed one.
type latency struct {
	buckets [len(latencyBounds) + 1]atomic.Uint64
	sum     atomic.Int64 // ns
	last    atomic.Int64 // ns, of the last timed hit
}

// sampling is how many hits there are for one that is timed.
const sampling = 64

// hit books an Acquire that didn't wait; start is zero if it wasn't timed.
func (l *latency) hit(start time.Time, timed *atomic.Bool) {
	if !start.IsZero() {
		timed.Store(false)
		l.last.Store(int64(time.Since(start)))
	}
	if l.observe(time.Duration(l.last.Load()))%sampling == 0 {
		timed.Store(true)
	}
}

// observe returns how many there are in the same bucket.
func (l *latency) observe(d time.Duration) uint64 {
	l.sum.Add(int64(d))
	i, ms := 0, float64(d)/float64(time.Millisecond)
	for i < len(latencyBounds) && ms > latencyBounds[i] {
		i++
	}
	return l.buckets[i].Add(1)
}

// snapshot returns the cumulative buckets that Prometheus wants.
func (l *latency) snapshot() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(latencyBounds))
	for i := range l.buckets {
		count += l.buckets[i].Load()
		if i < len(latencyBounds) {
			buckets[latencyBounds[i]] = count
		}
	}
	return count, float64(l.sum.Load()) / float64(time.Millisecond), buckets
}

// collector reads the pool when it is scraped: the hot path keeps plain
// counters, and an endpoint that is gone has no labels left behind.
type collector struct {
	pool *Pool

	acquire, size, reconnects, up, bytes, expiry *prometheus.Desc
}

func newMetrics(p *Pool) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"endpoint"}, labels...), nil)
	}
	return &collector{
		pool:       p,
		acquire:    desc("endpoint_acquire_latency_ms", "Time to acquire a connection, in milliseconds (hits are sampled)."),
		size:       desc("endpoint_pool_size", "Open connections; the same for endpoints that share them."),
		reconnects: desc("endpoint_reconnect_total", "Connections made, after the first."),
		up:         desc("endpoint_up", "0 if the last dial failed and nothing is open, else 1."),
		bytes:      desc("endpoint_bytes_total", "Bytes read (in) and written (out).", "direction"),
		expiry:     desc("endpoint_certificate_expiry_timestamp_seconds", "End of the peer's certificate, Unix time."),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{c.acquire, c.size, c.reconnects, c.up, c.bytes, c.expiry} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.pool.States() {
		value := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, append([]string{s.ID}, labels...)...)
		}
		count, sum, buckets := s.latency.snapshot()
		ch <- prometheus.MustNewConstHistogram(c.acquire, count, sum, buckets, s.ID)
		value(c.size, prometheus.GaugeValue, float64(s.Open))
		value(c.reconnects, prometheus.CounterValue, float64(s.Reconnects))
		value(c.bytes, prometheus.CounterValue, float64(s.BytesIn), "in")
		value(c.bytes, prometheus.CounterValue, float64(s.BytesOut), "out")
		up := 1.0
		if s.Status == Down {
			up = 0
		}
		value(c.up, prometheus.GaugeValue, up)
		if !s.CertExpiry.IsZero() {
			value(c.expiry, prometheus.GaugeValue, float64(s.CertExpiry.Unix()))
		}
	}
}
