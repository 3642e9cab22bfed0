package mqtt

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of all connectors of the kind. The names of the first four
// are the specification's, and they are sums over the connectors.
type metrics struct {
	outBytes    prometheus.Counter
	batchFrames prometheus.Histogram
	retryTotal  prometheus.Counter
	rtt         prometheus.Histogram

	outFrames   *prometheus.CounterVec // connector
	inflight    *prometheus.GaugeVec
	backlogAge  *prometheus.GaugeVec
	resent      *prometheus.CounterVec
	sessionLost *prometheus.CounterVec
	takeover    *prometheus.CounterVec
	remade      *prometheus.CounterVec // connector, reason
	refused     *prometheus.CounterVec // connector, reason
	unanswered  *prometheus.CounterVec // connector
	parked      *prometheus.CounterVec // connector
	commands    *prometheus.CounterVec // connector, result
	up          *prometheus.GaugeVec
	certificate *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	byName := []string{"connector"}
	m := &metrics{
		outBytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "mqtt_out_bytes_total", Help: "Payload bytes that the broker has accepted."}),
		batchFrames: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mqtt_batch_frames", Help: "Frames of a message.", Buckets: []float64{1, 8, 16, 32, 64, 256, 1024, 4096, 16384}}),
		retryTotal:  prometheus.NewCounter(prometheus.CounterOpts{Name: "mqtt_retry_total", Help: "Attempts to connect after the first."}),
		rtt:         prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mqtt_rtt_ms", Help: "Time from PUBLISH to the end of its handshake, in milliseconds.", Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000}}),

		outFrames:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_out_frames_total", Help: "Frames that the broker has accepted."}, byName),
		inflight:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mqtt_inflight", Help: "Messages sent whose handshake is not complete."}, byName),
		backlogAge:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mqtt_backlog_age_seconds", Help: "Age of the oldest frame that is not delivered."}, byName),
		resent:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_resent_total", Help: "Messages and releases that were sent again on a new connection."}, byName),
		sessionLost: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_session_lost_total", Help: "Times that the broker had lost the session while messages were in flight."}, byName),
		takeover:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_takeover_total", Help: "Times that another client with the same client id took the connection."}, byName),
		remade:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_remade_total", Help: "Messages in flight that could not be sent again as they were, by reason: packet_size, qos, frames_gone, in_doubt."}, []string{"connector", "reason"}),
		refused:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_refused_total", Help: "Messages that the broker refused, by reason code."}, []string{"connector", "reason"}),
		unanswered:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_unanswered_total", Help: "Connections that were given up because the broker did not answer a message in time."}, byName),
		parked:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_parked_total", Help: "Messages that the broker refused and that were put aside (on_refused: park)."}, byName),
		commands:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mqtt_commands_total", Help: "Commands that came down, by what became of them."}, []string{"connector", "result"}),
		up:          prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mqtt_up", Help: "1 while there is a connection."}, byName),
		certificate: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mqtt_certificate_expiry_timestamp_seconds", Help: "End of the broker's certificate, as of the last handshake, Unix time."}, byName),
	}
	all := []prometheus.Collector{m.outBytes, m.batchFrames, m.retryTotal, m.rtt}
	for _, v := range m.byConnector() {
		all = append(all, v)
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("mqtt metrics: %w", err)
		}
	}
	return m, nil
}

// vector is a metric with labels.
type vector interface {
	prometheus.Collector
	DeletePartialMatch(prometheus.Labels) int
}

// byConnector are the metrics that have a series for each connector.
func (m *metrics) byConnector() []vector {
	return []vector{m.outFrames, m.inflight, m.backlogAge, m.resent, m.sessionLost, m.takeover, m.remade, m.refused, m.unanswered, m.parked, m.commands, m.up, m.certificate}
}

// begin makes the series of a connector, at zero: an alert on an increase never sees
// the first event of a series that begins with it.
func (m *metrics) begin(name string) {
	for _, v := range []*prometheus.CounterVec{m.outFrames, m.resent, m.sessionLost, m.takeover, m.unanswered, m.parked} {
		v.WithLabelValues(name)
	}
	for _, v := range []*prometheus.GaugeVec{m.inflight, m.backlogAge, m.up} {
		v.WithLabelValues(name)
	}
	for _, why := range []string{remadeSize, remadeQoS, remadeGone, remadeDoubt} {
		m.remade.WithLabelValues(name, why)
	}
	for _, code := range []byte{0x80, 0x83, codeNotAuthorized, 0x90, codeTooLarge, codeQuotaExceeded, 0x99} { // those of PUBACK and PUBREC
		m.refused.WithLabelValues(name, reasonLabel(code))
	}
	for _, result := range []string{"accepted", "rejected", "duplicate", "ok", "error", "unknown"} {
		m.commands.WithLabelValues(name, result)
	}
}

// forget removes the series of a connector that is gone.
func (m *metrics) forget(name string) {
	labels := prometheus.Labels{"connector": name}
	for _, v := range m.byConnector() {
		v.DeletePartialMatch(labels)
	}
}

// reasonLabel is a reason code as a label.
func reasonLabel(code byte) string { return fmt.Sprintf("0x%02x", code) }
