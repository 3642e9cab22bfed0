package modbus

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	gomodbus "github.com/goburrow/modbus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// modbusDriver implements driver.Driver. What polls is the [poller] inside Run;
// this is what others see of it.
type modbusDriver struct {
	*driver.Account
	id       string
	settings *Settings
	deps     driver.Deps
	metrics  *metrics
	encode   func(Func, uint16, uint16) ([]byte, error)

	jobs  *driver.Jobs[*link] // for the poller, ahead of polls
	plans *driver.Plans[*plan]
	last  driver.LastRequest
	lates lates
}

func newDriver(id string, s *Settings, deps driver.Deps, m *metrics) *modbusDriver {
	return &modbusDriver{
		Account: driver.NewAccount(), id: id, settings: s, deps: deps, metrics: m,
		encode: readEncoder(s.Framing.packager(s.UnitID)),
		jobs:   driver.NewJobs[*link](),
		plans:  driver.NewPlans[*plan](),
	}
}

// readEncoder returns what builds the ADUs of read requests.
func readEncoder(p gomodbus.Packager) func(Func, uint16, uint16) ([]byte, error) {
	return func(f Func, addr, qty uint16) ([]byte, error) {
		data := []byte{byte(addr >> 8), byte(addr), byte(qty >> 8), byte(qty)}
		return p.Encode(&gomodbus.ProtocolDataUnit{FunctionCode: byte(f), Data: data})
	}
}

// Update implements driver.Driver.
func (d *modbusDriver) Update(points *point.Table) error {
	p, err := newPlan(d.settings, points, d.encode)
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	d.plans.Set(p)
	return nil
}

// Address implements driver.Addresser.
func (d *modbusDriver) Address(tag string) string {
	p := d.plans.Newest()
	if i, ok := p.table.Index(tag); ok {
		return p.points[i].String()
	}
	return ""
}

// Run implements driver.Driver.
func (d *modbusDriver) Run(ctx context.Context) error {
	d.jobs.Begin()
	err := d.Publishing(ctx, d.deps.Out, func(ctx context.Context, out chan<- *frame.Batch) {
		defer d.last.Bound(ctx)()
		p := newPoller(d, out)
		defer p.metrics.close()
		defer p.link.retire()
		p.loop(ctx)
		p.jobs.End()
	})
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	return nil
}

// Status implements driver.Driver.
func (d *modbusDriver) Status() driver.Status {
	st := d.Account.Status()
	d.lates.advise(&st, time.Now(), d.settings.held)
	return st
}

func (d *modbusDriver) log() *slog.Logger { return d.deps.Log }
