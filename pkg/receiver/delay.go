package receiver

import (
	"math"
	"time"
)

// delays is a histogram of times between source and arrival: bucket i counts
// those below 2^(i/2) milliseconds.
type delays struct {
	Buckets [64]uint64 `json:"buckets"`
	MaxMs   float64    `json:"max_ms"`
}

func (d *delays) add(t time.Duration) {
	ms := float64(t) / float64(time.Millisecond)
	i := 0
	if ms > 1 {
		i = min(len(d.Buckets)-1, int(math.Ceil(2*math.Log2(ms))))
	}
	d.Buckets[i]++
	d.MaxMs = max(d.MaxMs, ms)
}

// DelayReport says how long frames took from their source to here, in
// milliseconds. It is only as good as the clocks agree. The percentiles are upper
// bounds, at most 41 % above the true ones.
type DelayReport struct {
	P50Ms float64 `json:"p50_ms"`
	P95Ms float64 `json:"p95_ms"`
	P99Ms float64 `json:"p99_ms"`
	MaxMs float64 `json:"max_ms"`
}

func (d *delays) report() DelayReport {
	var total uint64
	for _, n := range d.Buckets {
		total += n
	}
	quantile := func(q float64) float64 {
		want, sum := uint64(math.Ceil(q*float64(total))), uint64(0)
		for i, n := range d.Buckets {
			if sum += n; sum >= want && n > 0 {
				return min(d.MaxMs, math.Pow(2, float64(i)/2))
			}
		}
		return 0
	}
	return DelayReport{P50Ms: quantile(0.5), P95Ms: quantile(0.95), P99Ms: quantile(0.99), MaxMs: d.MaxMs}
}
