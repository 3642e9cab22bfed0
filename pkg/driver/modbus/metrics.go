package modbus

import (
	"errors"
	"net"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// metrics are what all Modbus drivers of a process share.
type metrics struct {
	*driver.Series
	pdu       *prometheus.CounterVec
	points    *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	reconnect *prometheus.CounterVec
	exception *prometheus.CounterVec
	fault     *prometheus.GaugeVec
	rejected  *prometheus.CounterVec
	overrun   *prometheus.CounterVec

	mu     sync.Mutex
	series int // tags that may still have a series of their own
}

func newMetrics(reg prometheus.Registerer, tagSeries int) (*metrics, error) {
	s := &driver.Series{}
	m := &metrics{
		Series:    s,
		pdu:       s.Counter("modbus_pdu_total", "Requests by function code and result: ok, err, exception, timeout.", "func", "result"),
		points:    s.Counter("modbus_point_total", "Values read, by tag; tag is empty where there are too many tags for a series each.", "tag"),
		reconnect: s.Counter("modbus_reconnect_total", "Connections taken anew after one was lost."),
		exception: s.Counter("modbus_exception_total", "Exceptions that the device answered, by code.", "code"),
		rejected:  s.Counter("modbus_rejected_total", "Answers that were late, foreign or malformed, by reason.", "reason"),
		overrun:   s.Counter("modbus_overrun_total", "Poll cycles that were skipped since the one before was not done."),
		latency: s.Histogram("modbus_point_latency_ms", "Milliseconds from sending a request to having its points decoded, once per answer.",
			[]float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000}),
		fault:  s.Gauge("modbus_fault", "1 while the device does not answer."),
		series: tagSeries,
	}
	return m, s.Register(reg, Proto)
}

// driverMetrics are one driver's. They belong to the goroutine that polls.
type driverMetrics struct {
	*metrics
	id        string
	pdus      map[pduKey]prometheus.Counter
	tags      map[string]prometheus.Counter // with a series of their own; nil if there are too many
	all       prometheus.Counter            // of all tags, where tags is nil
	held      int                           // series taken from the common number
	lat       prometheus.Observer
	faultFlag prometheus.Gauge
}

type pduKey struct {
	fn     Func
	result string
}

func (m *metrics) driver(id string) *driverMetrics {
	d := &driverMetrics{
		metrics: m, id: id,
		pdus:      map[pduKey]prometheus.Counter{},
		lat:       m.latency.WithLabelValues(id),
		faultFlag: m.fault.WithLabelValues(id),
	}
	m.reconnect.WithLabelValues(id) // from the start: a rate needs the zero
	m.overrun.WithLabelValues(id)
	for code := IllegalFunction; code <= GatewayTarget; code++ {
		m.exception.WithLabelValues(id, code.label())
	}
	for _, reason := range []string{"late", "duplicate", "unit", "transaction", "length", "function", "protocol", "noise", "checksum", "echo", "trailing"} {
		m.rejected.WithLabelValues(id, reason)
	}
	return d
}

// close removes the driver's series.
func (d *driverMetrics) close() {
	d.setTags(nil)
	d.Drop(d.id)
}

// setTags gives each of names a series, if the common number allows it, and
// takes those of former tags away.
func (d *driverMetrics) setTags(names []string) {
	d.mu.Lock()
	d.series += d.held
	d.held = 0
	if len(names) <= d.series {
		d.held = len(names)
		d.series -= d.held
	}
	d.mu.Unlock()
	old := d.tags
	d.tags, d.all = nil, nil
	if len(names) > 0 && d.held == 0 {
		d.all = d.points.WithLabelValues(d.id, "")
	} else {
		d.tags = make(map[string]prometheus.Counter, len(names))
		for _, name := range names {
			d.tags[name] = d.points.WithLabelValues(d.id, name)
		}
	}
	for name := range old {
		if _, ok := d.tags[name]; !ok {
			d.points.DeleteLabelValues(d.id, name)
		}
	}
}

// answered counts a request of function f that ended with err.
func (d *driverMetrics) answered(f Func, err error) {
	d.count(f, resultOf(err))
	if e, ok := errors.AsType[*Exception](err); ok {
		d.exception.WithLabelValues(d.id, e.Code.label()).Inc()
	}
	if r, ok := errors.AsType[*Rejection](err); ok && !r.counted {
		d.reject(r.Reason)
	}
}

func (d *driverMetrics) count(f Func, result string) {
	k := pduKey{f, result}
	c := d.pdus[k]
	if c == nil {
		for _, r := range []string{"ok", "err", "exception", "timeout"} { // an increase needs the zero
			d.pdus[pduKey{f, r}] = d.pdu.WithLabelValues(d.id, f.String(), r)
		}
		c = d.pdus[k]
	}
	c.Inc()
}

// reject counts an answer that was not believed.
func (d *driverMetrics) reject(reason string) {
	d.rejected.WithLabelValues(d.id, reason).Inc()
}

// resultOf returns the label result of modbus_pdu_total.
func resultOf(err error) string {
	if err == nil {
		return "ok"
	}
	if _, ok := errors.AsType[*Exception](err); ok {
		return "exception"
	}
	if isTimeout(err) {
		return "timeout"
	}
	return "err"
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}
