package s7

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// metrics are what all S7 drivers of a process share.
type metrics struct {
	*driver.Series
	requests  *prometheus.CounterVec
	values    *prometheus.CounterVec
	refused   *prometheus.CounterVec
	rejected  *prometheus.CounterVec
	overrun   *prometheus.CounterVec
	reconnect *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	pdu       *prometheus.GaugeVec
	jobs      *prometheus.GaugeVec
	fault     *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	s := &driver.Series{}
	counter, gauge := s.Counter, s.Gauge
	m := &metrics{
		Series:    s,
		requests:  counter("s7_request_total", "Requests by function (read, write, diag) and result: ok, refused, timeout, err.", "func", "result"),
		values:    counter("s7_value_total", "Values read."),
		refused:   counter("s7_refused_total", "Variables and requests that the PLC refused, by its code.", "code"),
		rejected:  counter("s7_rejected_total", "Answers that were not believed, by reason.", "reason"),
		overrun:   counter("s7_overrun_total", "Poll cycles that were skipped because the one before was not done."),
		reconnect: counter("s7_reconnect_total", "Connections made anew after one was lost."),
		latency: s.Histogram("s7_request_latency_ms", "Milliseconds from a read to its answer.",
			[]float64{0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000}),
		pdu:   gauge("s7_pdu_bytes", "Size of messages that the PLC has agreed to; 0 without a connection."),
		jobs:  gauge("s7_parallel_jobs", "Requests at the same time that the PLC has agreed to; 0 without a connection."),
		fault: gauge("s7_fault", "1 while the PLC does not answer."),
	}
	return m, s.Register(reg, Proto)
}

// driverMetrics are one driver's.
type driverMetrics struct {
	*metrics
	id     string
	reads  map[string]prometheus.Counter // by result
	read   prometheus.Counter            // values
	took   prometheus.Observer
	faulty prometheus.Gauge
}

// begin makes the driver's series, since a rate needs the zero.
func (m *metrics) begin(id string) *driverMetrics {
	d := &driverMetrics{
		metrics: m, id: id, reads: map[string]prometheus.Counter{},
		read: m.values.WithLabelValues(id), took: m.latency.WithLabelValues(id), faulty: m.fault.WithLabelValues(id),
	}
	for _, r := range []string{"ok", "refused", "timeout", "err"} {
		d.reads[r] = m.requests.WithLabelValues(id, "read", r)
	}
	for _, r := range []string{"packet", "tpdu", "header", "reference", "items", "length", "data"} {
		m.rejected.WithLabelValues(id, r)
	}
	m.overrun.WithLabelValues(id)
	m.reconnect.WithLabelValues(id)
	d.agreed(0, 0)
	return d
}

// end removes the driver's series.
func (d *driverMetrics) end() {
	d.Drop(d.id)
}

func (d *driverMetrics) agreed(pdu, jobs int) {
	d.pdu.WithLabelValues(d.id).Set(float64(pdu))
	d.jobs.WithLabelValues(d.id).Set(float64(jobs))
}

// reject counts an answer that was not believed.
func (d *driverMetrics) reject(reason string) { d.rejected.WithLabelValues(d.id, reason).Inc() }

// refuse counts what the PLC refused.
func (d *driverMetrics) refuse(err error) { d.refusal(d.id, err) }

func (m *metrics) refusal(id string, err error) {
	if r, ok := errors.AsType[*Refusal](err); ok {
		m.refused.WithLabelValues(id, r.number()).Inc()
	}
}

// done counts a request of a function that is asked for rarely.
func (m *metrics) done(id, function string, err error) {
	m.requests.WithLabelValues(id, function, result(err)).Inc()
	m.refusal(id, err)
}

// result returns the label result.
func result(err error) string {
	switch _, refused := errors.AsType[*Refusal](err); {
	case err == nil:
		return "ok"
	case refused:
		return "refused"
	case errors.Is(err, errNoAnswer):
		return "timeout"
	}
	return "err"
}
