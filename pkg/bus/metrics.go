package bus

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// metrics holds the counters; readings are taken from the bus when asked for.
type metrics struct {
	reg       prometheus.Registerer
	bus       *Bus
	publish   [2]prometheus.Counter // by frame.Kind
	drops     *prometheus.CounterVec
	fsyncTime prometheus.Histogram
	all       []prometheus.Collector
}

// newMetrics registers the bus's metrics with reg, which may be nil.
func newMetrics(reg prometheus.Registerer, b *Bus) (*metrics, error) {
	m := &metrics{reg: reg, bus: b}
	publish := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "framebus_publish_total", Help: "Frames that entered the bus."}, []string{"kind"})
	for k := range m.publish {
		m.publish[k] = publish.WithLabelValues(frame.Kind(k).String())
	}
	m.drops = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "framebus_drop_total", Help: "Frames that were not accepted, or given up: " + strings.Join(dropReasons(), ", ") + "."}, []string{"reason"})
	for _, reason := range dropReasons() {
		m.drops.WithLabelValues(reason) // from the start: an increase needs the zero
	}
	m.fsyncTime = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "framebus_fsync_seconds", Help: "Duration of syncs of the log.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13),
	})
	m.all = []prometheus.Collector{publish, m.drops, m.fsyncTime, &readings{b: b}}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := reg.Register(c); err != nil { // such as a second bus on one registry
			for _, done := range m.all[:i] {
				reg.Unregister(done)
			}
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) close() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all {
		m.reg.Unregister(c)
	}
}

func (m *metrics) published(k frame.Kind, n int)   { m.publish[k&1].Add(float64(n)) }
func (m *metrics) dropped(reason string, n uint64) { m.drops.WithLabelValues(reason).Add(float64(n)) }

// dropReasons are why frames are dropped.
func dropReasons() []string {
	return []string{"ring_full", "overflow", "parked", "gc", wal.ReasonDamaged}
}

func (m *metrics) fsync(took time.Duration) { m.fsyncTime.Observe(took.Seconds()) }

// readings is the collector of what is measured when asked for.
type readings struct{ b *Bus }

func descs() map[string]*prometheus.Desc {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return map[string]*prometheus.Desc{
		"ring":    d("framebus_ring_used", "Frames of the ring that the slowest consumer has not read (used), and the rest (free).", "status"),
		"bytes":   d("framebus_wal_bytes", "Bytes of the frames that the log holds."),
		"max":     d("framebus_wal_max_bytes", "Bytes that the log may hold: wal_max_bytes."),
		"free":    d("framebus_disk_free_bytes", "Bytes left on the log's disk."),
		"min":     d("framebus_min_free_bytes", "Bytes left on the log's disk below which publishing stops: min_free."),
		"paused":  d("framebus_paused", "1 while the drivers are paused because the log or its disk is too full."),
		"disk":    d("framebus_wal_disk_bytes", "Bytes that the log takes on the disk."),
		"lag":     d("framebus_backlog_lag", "Durable frames that the consumer has not acknowledged.", "consumer"),
		"durable": d("framebus_durable_lag", "Frames published and not yet durable."),
		"amp":     d("framebus_write_amplification", "Bytes written to files per byte of frames appended, since the start."),
	}
}

// Describe implements prometheus.Collector.
func (g *readings) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *readings) Collect(ch chan<- prometheus.Metric) {
	if g.b.log.Err() != nil {
		return
	}
	s := g.b.Stats()
	d := descs()
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	send(d["ring"], float64(s.RingUsed), "used")
	send(d["ring"], float64(s.RingSize-s.RingUsed), "free")
	send(d["bytes"], float64(s.WALBytes))
	send(d["max"], float64(s.WALMaxBytes))
	send(d["disk"], float64(s.DiskBytes))
	send(d["free"], float64(s.FreeBytes))
	send(d["min"], float64(g.b.cfg.Load().MinFree))
	send(d["paused"], asGauge(s.Paused))
	send(d["durable"], float64(s.LastSeq-s.DurableSeq))
	send(d["amp"], s.WriteAmplification)
	for _, c := range s.Consumers {
		send(d["lag"], float64(c.Lag), c.Name)
	}
}

// asGauge is a flag as a metric.
func asGauge(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
