package driver

import "github.com/prometheus/client_golang/prometheus"

// collector gives a manager's metrics. They are made of the drivers' status when
// they are asked for, so that they are never stale, and a driver that is removed
// leaves none behind.
type collector struct {
	m                                                                          *Manager
	state, polls, errs, retries, cycles, skips, restarts, points, bad, latency *prometheus.Desc
}

func newCollector(m *Manager) collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"driver_id"}, labels...), nil)
	}
	return collector{
		m:        m,
		state:    desc("driver_state", "1 for the state that the driver is in, 0 for the others.", "state"),
		polls:    desc("driver_polls_total", "Requests that the device answered."),
		errs:     desc("driver_poll_errors_total", "Requests that failed."),
		retries:  desc("driver_retries_total", "Requests that were repeated."),
		cycles:   desc("driver_cycles_total", "Poll cycles that were due, those skipped among them."),
		bad:      desc("driver_bad_points", "Tags whose last value is bad."),
		points:   desc("driver_points", "Tags of the driver."),
		latency:  desc("driver_request_latency_ms", "What the device needed for the last requests, in milliseconds, by quantile.", "quantile"),
		skips:    desc("driver_overruns_total", "Poll cycles skipped since the one before was not done."),
		restarts: desc("driver_restarts_total", "Times that the driver was started anew, after a failure, by configuration or by hand."),
	}
}

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.state, c.polls, c.errs, c.retries, c.cycles, c.skips, c.restarts, c.points, c.bad, c.latency} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.m.List() {
		for _, state := range []State{Stopped, Starting, Running, Fault, Paused} {
			is := 0.0
			if s.State == state {
				is = 1
			}
			ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, is, s.ID, string(state))
		}
		count := func(d *prometheus.Desc, n uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), s.ID)
		}
		count(c.polls, s.Polls)
		count(c.errs, s.Errors)
		count(c.retries, s.Retries)
		count(c.cycles, s.Cycles)
		count(c.skips, s.Overruns)
		count(c.restarts, s.Restarts)
		ch <- prometheus.MustNewConstMetric(c.points, prometheus.GaugeValue, float64(s.Tags), s.ID)
		if s.LatencyP50 > 0 { // else it isn't known
			ch <- prometheus.MustNewConstMetric(c.latency, prometheus.GaugeValue, s.LatencyP50.Seconds()*1000, s.ID, "0.5")
			ch <- prometheus.MustNewConstMetric(c.latency, prometheus.GaugeValue, s.LatencyP99.Seconds()*1000, s.ID, "0.99")
		}
		ch <- prometheus.MustNewConstMetric(c.bad, prometheus.GaugeValue, float64(s.Bad), s.ID)
	}
}
