package opcua

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// metrics are what all OPC UA drivers of a process share.
type metrics struct {
	*driver.Series
	steps         *prometheus.CounterVec
	requests      *prometheus.CounterVec
	notifications *prometheus.CounterVec
	values        *prometheus.CounterVec
	republished   *prometheus.CounterVec
	gaps          *prometheus.CounterVec
	backfilled    *prometheus.CounterVec
	overflows     *prometheus.CounterVec
	latency       *prometheus.HistogramVec
	session       *prometheus.GaugeVec
	subscriptions *prometheus.GaugeVec
	items         *prometheus.GaugeVec
	fault         *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	s := &driver.Series{}
	counter, gauge := s.Counter, s.Gauge
	m := &metrics{
		Series: s,
		steps: counter("opcua_step_total",
			"Steps to a working session by result: connect, session, activate, reactivate, transfer, resume, subscribe, monitor, resolve, renew.", "step", "result"),
		requests:      counter("opcua_request_total", "Reads and writes by result: ok, err, timeout.", "service", "result"),
		notifications: counter("opcua_notification_total", "Messages of subscriptions, keep-alives among them.", "kind"),
		values:        counter("opcua_value_total", "Values that came."),
		republished:   counter("opcua_republished_total", "Messages that the server sent again after a cut."),
		backfilled:    counter("opcua_backfilled_total", "Values read from the server's history, to fill gaps."),
		gaps:          counter("opcua_gap_total", "Gaps that nothing could fill, each told by a sys.gap frame."),
		overflows:     counter("opcua_overflow_total", "Values before which the server threw others away, because its queue was full."),
		latency: s.Histogram("opcua_request_latency_ms", "Milliseconds from a read or write to its answer.",
			[]float64{0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000}),
		session:       gauge("opcua_session", "1 while a session is active."),
		subscriptions: gauge("opcua_subscriptions", "Subscriptions that the server has for us."),
		items:         gauge("opcua_monitored_items", "Nodes that the server watches for us."),
		fault:         gauge("opcua_fault", "1 while the server does not answer."),
	}
	return m, s.Register(reg, Proto)
}

// begin makes the driver's series, since a rate needs the zero.
func (m *metrics) begin(id string) {
	for _, c := range []*prometheus.CounterVec{m.values, m.republished, m.gaps, m.backfilled, m.overflows} {
		c.WithLabelValues(id)
	}
	for _, g := range []*prometheus.GaugeVec{m.session, m.subscriptions, m.items, m.fault} {
		g.WithLabelValues(id)
	}
	m.latency.WithLabelValues(id)
}

// end removes the driver's series.
func (m *metrics) end(id string) {
	m.Drop(id)
}

// result returns the label result.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errNoAnswer):
		return "timeout"
	}
	return "err"
}
