package bus

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMetrics: the names and labels of the specification, §4.9, and ours.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := openBus(t, testConfig(t.TempDir()), Deps{Registerer: reg})
	openReader(t, b, "mqtt")
	publish(t, b, batchOf(testSet("plc", 10), 50, 0))
	syncBus(t, b)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "{" + l.GetName() + "=" + l.GetValue() + "}"
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, ok := range map[string]func(float64) bool{
		"framebus_ring_used{status=used}":       func(v float64) bool { return v == 50 },
		"framebus_ring_used{status=free}":       func(v float64) bool { return v == 1<<14-50 },
		"framebus_publish_total{kind=data}":     func(v float64) bool { return v == 50 },
		"framebus_publish_total{kind=cmd}":      func(v float64) bool { return v == 0 },
		"framebus_drop_total{reason=ring_full}": func(v float64) bool { return v == 0 },
		"framebus_drop_total{reason=overflow}":  func(v float64) bool { return v == 0 },
		"framebus_drop_total{reason=damaged}":   func(v float64) bool { return v == 0 },
		"framebus_wal_max_bytes":                func(v float64) bool { return v > 0 },
		"framebus_disk_free_bytes":              func(v float64) bool { return v > 0 },
		"framebus_paused":                       func(v float64) bool { return v == 0 },
		"framebus_wal_bytes":                    func(v float64) bool { return v > 50 },
		"framebus_backlog_lag{consumer=mqtt}":   func(v float64) bool { return v == 50 },
		"framebus_fsync_seconds":                func(v float64) bool { return v >= 1 },
		"framebus_durable_lag":                  func(v float64) bool { return v == 0 },
		"framebus_write_amplification":          func(v float64) bool { return v > 0 },
		"framebus_wal_disk_bytes":               func(v float64) bool { return v > 0 },
	} {
		if v, there := got[name]; !there || !ok(v) {
			t.Errorf("%s: %v (there: %v)", name, v, there)
		}
	}
}

// TestMetricsThatAreTaken: a bus whose metrics can't be registered does not open, and
// leaves the registry and the log as they were.
func TestMetricsThatAreTaken(t *testing.T) {
	reg := prometheus.NewRegistry()
	first := openBus(t, testConfig(t.TempDir()), Deps{Registerer: reg})
	cfg := testConfig(t.TempDir())
	if b, err := Open(cfg, Deps{Registerer: reg}); err == nil {
		_ = b.Close()
		t.Fatal("two buses on one registry")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := Open(cfg, Deps{Registerer: reg})
	if err != nil {
		t.Fatalf("after the first is closed: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
