package admin

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	calls   *prometheus.CounterVec
	dropped *prometheus.CounterVec
	refused prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "admin_calls_total", Help: "Calls of the admin API that have ended.",
		}, []string{"method", "code"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "admin_stream_dropped_total", Help: "Frames or events that a client of a stream was too slow for.",
		}, []string{"stream"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "admin_connections_refused_total", Help: "Connections closed at once since there were too many.",
		}),
	}
	for _, stream := range []string{"tail", "config", "trace"} {
		m.dropped.WithLabelValues(stream) // from the start: an increase needs the zero
	}
	for _, c := range []prometheus.Collector{m.calls, m.dropped, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("admin metrics: %w", err)
		}
	}
	return m, nil
}
