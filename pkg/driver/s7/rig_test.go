package s7_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/s7test"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// rig is a running driver and its PLC.
type rig struct {
	driver.Driver
	t    *testing.T
	plc  *s7test.PLC
	log  *modbustest.Log
	said *bytes.Buffer // what the driver logged; to be read after stop
	stop func()
	reg  *prometheus.Registry
}

// start runs a driver with a PLC until the test ends. prepare, which may be nil, is
// called before.
func start(t *testing.T, cfg map[string]any, vars []config.Variable, prepare func(*s7test.PLC)) *rig {
	t.Helper()
	r := &rig{t: t, log: modbustest.NewLog(), said: new(bytes.Buffer), reg: prometheus.NewRegistry()}
	ep := modbustest.Dial(t, "tcp", func() string { return r.plc.Addr() })
	r.plc = s7test.New(t) // after ep, so that it is closed before
	if prepare != nil {
		prepare(r.plc)
	}
	all := map[string]any{"polling": "20ms", "timeout": "300ms", "backoff_max": "100ms", "enable_write": true, "retry_refused": "200ms"}
	for k, v := range cfg {
		all[k] = v
	}
	f, err := s7.NewFactory(r.reg)
	if err != nil {
		t.Fatal(err)
	}
	r.Driver, err = f.New(driver.Config{ID: "d1", Item: config.Driver{Kind: config.KindStatic, Proto: s7.Proto, Cfg: all}, Points: modbustest.Compile(t, vars, nil)},
		driver.Deps{Endpoint: ep, Out: r.log, Log: slog.New(slog.NewTextHandler(r.said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// wait waits until tag has a value.
func (r *rig) wait(tag, want string) {
	r.t.Helper()
	r.log.Wait(r.t, tag+" is "+want, func() bool {
		f := r.log.Last(tag)
		return f.Quality == frame.Good && f.Value.String() == want
	})
}

// waitNew waits until tag has a value, in a frame that comes now.
func (r *rig) waitNew(tag, want string) {
	r.t.Helper()
	n := len(r.log.Of(tag))
	r.log.Wait(r.t, tag+" is "+want+" again", func() bool {
		of := r.log.Of(tag)
		last := r.log.Last(tag)
		return len(of) > n && last.Quality == frame.Good && last.Value.String() == want
	})
}

// waitBad waits until tag is bad.
func (r *rig) waitBad(tag string) {
	r.t.Helper()
	r.log.Wait(r.t, tag+" is bad", func() bool { fs := r.log.Of(tag); return len(fs) > 0 && fs[len(fs)-1].Quality == frame.Bad })
}

// metric returns the value of a counter or gauge whose labels include the given ones.
func (r *rig) metric(name string, labels ...string) float64 {
	r.t.Helper()
	return drivertest.Metric(r.t, r.reg, name, labels...)
}
