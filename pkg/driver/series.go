package driver

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Series are the metrics that all drivers of a protocol share. Each has the label
// driver_id first, and the series of a driver exist only while it runs.
type Series struct {
	all []interface {
		prometheus.Collector
		DeletePartialMatch(labels prometheus.Labels) int
	}
}

// Counter makes a counter.
func (s *Series) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, driverAnd(labels))
	s.all = append(s.all, c)
	return c
}

// Gauge makes a gauge.
func (s *Series) Gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, driverAnd(labels))
	s.all = append(s.all, g)
	return g
}

// Histogram makes a histogram.
func (s *Series) Histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, driverAnd(labels))
	s.all = append(s.all, h)
	return h
}

func driverAnd(labels []string) []string { return append([]string{"driver_id"}, labels...) }

// Register registers all in reg. It fails if they are registered already.
func (s *Series) Register(reg prometheus.Registerer, proto string) error {
	for _, c := range s.all {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("register the metrics of the %s driver: %w", proto, err)
		}
	}
	return nil
}

// Drop removes the series of a driver.
func (s *Series) Drop(id string) {
	for _, c := range s.all {
		c.DeletePartialMatch(prometheus.Labels{"driver_id": id})
	}
}
