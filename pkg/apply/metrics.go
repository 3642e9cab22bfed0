package apply

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of §6.8 of the specification.
type Metrics struct{ metrics }

type metrics struct {
	revision  prometheus.Gauge
	applies   *prometheus.CounterVec
	duration  prometheus.Histogram
	invalid   prometheus.Counter
	rollbacks prometheus.Counter
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := metrics{
		revision: prometheus.NewGauge(prometheus.GaugeOpts{Name: "cfg_revision_current",
			Help: "Revision of the configuration that runs; 0 when it comes from a directory."}),
		applies: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cfg_apply_total",
			Help: "Configurations applied, by result: ok or err."}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "cfg_apply_duration_ms",
			Help: "Time from a new configuration to its end, applied or not, in milliseconds.", Buckets: prometheus.ExponentialBuckets(1, 2, 16)}),
		invalid: prometheus.NewCounter(prometheus.CounterOpts{Name: "cfg_invalid_total",
			Help: "Configurations refused before anything was touched."}),
		rollbacks: prometheus.NewCounter(prometheus.CounterOpts{Name: "cfg_rollback_total",
			Help: "Rollbacks to the configuration before."}),
	}
	for _, c := range []prometheus.Collector{m.revision, m.applies, m.duration, m.invalid, m.rollbacks} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("apply metrics: %w", err)
		}
	}
	// Both series exist from the start, so that an alert on err has something to
	// compare with.
	m.applies.WithLabelValues("ok")
	m.applies.WithLabelValues("err")
	return &Metrics{m}, nil
}

// CountInvalid counts a configuration that could not even be decoded.
func (m *Metrics) CountInvalid() { m.invalid.Inc() }

// CountRollback counts a rollback that no apply of this process made: the store was
// put back from a configuration that prepare refused, or a person asked for it.
func (m *Metrics) CountRollback() { m.rollbacks.Inc() }

func (m *metrics) observe(r *Result) {
	m.duration.Observe(float64(r.Duration.Microseconds()) / 1000)
	if r.Outcome == Applied {
		m.applies.WithLabelValues("ok").Inc()
		m.revision.Set(float64(r.Rev))
		return
	}
	m.applies.WithLabelValues("err").Inc()
	if r.Outcome == Rejected {
		m.invalid.Inc()
	}
}
