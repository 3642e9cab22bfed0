package endpoint

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metric sums the samples of name that have the endpoint's label and all of the
// other label values given; -1 if there are none.
func metric(t *testing.T, reg prometheus.Gatherer, name, id string, values ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := make(map[string]bool)
			for _, l := range m.GetLabel() {
				labels[l.GetValue()] = true
			}
			if labels[id] && !slices.ContainsFunc(values, func(v string) bool { return !labels[v] }) {
				found = true
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	if !found {
		return -1
	}
	return sum
}

func TestMetrics(t *testing.T) {
	s := newEchoServer(t)
	reg := prometheus.NewPedanticRegistry()
	p := newTestPool(t, PoolOptions{Registerer: reg})
	if _, err := NewPool(PoolOptions{Registerer: reg}); err == nil {
		t.Error("two pools on one registry")
	}
	h := mustOpen(t, p, "plc", s.url(t, ""))
	for range 200 {
		mustAcquire(t, h).Release(nil)
	}
	l := mustAcquire(t, h)
	echo(t, l, "12345")
	l.Release(errors.New("broken"))
	mustAcquire(t, h).Release(nil)
	for _, want := range []struct {
		name, label string
		value       float64
	}{
		{"endpoint_acquire_latency_ms", "plc", 202},
		{"endpoint_pool_size", "plc", 1},
		{"endpoint_reconnect_total", "plc", 1},
		{"endpoint_bytes_total", "in", 5},
		{"endpoint_bytes_total", "out", 5},
		{"endpoint_up", "plc", 1},
		{"endpoint_certificate_expiry_timestamp_seconds", "plc", -1},
	} {
		if got := metric(t, reg, want.name, "plc", want.label); got != want.value {
			t.Errorf("%s{%s} = %v, want %v", want.name, want.label, got, want.value)
		}
	}
	h.Close()
	families, err := reg.Gather()
	if err != nil || len(families) != 0 {
		t.Errorf("a closed endpoint left %v, %v", families, err)
	}
}

func TestLatency(t *testing.T) {
	var l latency
	var timed atomic.Bool
	for _, d := range []time.Duration{0, 500 * time.Nanosecond, 3 * time.Millisecond, 20 * time.Second, time.Hour} {
		l.observe(d)
	}
	count, sum, buckets := l.snapshot()
	if count != 5 || buckets[0.001] != 2 || buckets[1] != 2 || buckets[5] != 3 || buckets[5000] != 3 || buckets[30000] != 4 {
		t.Errorf("%d in %v", count, buckets)
	}
	if want := 3.0005 + 20e3 + 3600e3; sum != want {
		t.Errorf("sum %v ms, want %v", sum, want)
	}
	l = latency{}
	n := 0
	timed.Store(true)
	for range 10 * sampling {
		var start time.Time
		if timed.Load() {
			start = time.Now()
			n++
		}
		l.hit(start, &timed)
	}
	if count, _, _ := l.snapshot(); count != 10*sampling || n < 5 || n > 20 {
		t.Errorf("%d of %d hits were timed", n, count)
	}
}

func TestCollectorDescribes(t *testing.T) {
	ch := make(chan *prometheus.Desc, 10)
	newMetrics(nil).Describe(ch)
	close(ch)
	var all strings.Builder
	for d := range ch {
		all.WriteString(d.String())
	}
	for _, name := range []string{"endpoint_acquire_latency_ms", "endpoint_pool_size", "endpoint_reconnect_total"} {
		if !strings.Contains(all.String(), `"`+name+`"`) {
			t.Errorf("no %s", name)
		}
	}
}
