package modbus

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Proto is the protocol's name in the drivers table.
const Proto = "modbus"

// Options are what all Modbus drivers of a process share. The zero value is good.
type Options struct {
	// TagSeries is the number of tags, over all drivers, that may have a series
	// of modbus_point_total each; 0 means 1,000. A driver whose tags do not fit
	// any more has one series, with an empty tag.
	TagSeries int
}

const defaultTagSeries = 1000

type factory struct{ metrics *metrics }

// NewFactory returns the factory of Modbus drivers and registers their metrics
// in reg. It fails if they are registered already.
func NewFactory(reg prometheus.Registerer, opts Options) (driver.Factory, error) {
	if opts.TagSeries == 0 {
		opts.TagSeries = defaultTagSeries
	}
	m, err := newMetrics(reg, opts.TagSeries)
	if err != nil {
		return nil, err
	}
	return &factory{metrics: m}, nil
}

// Proto implements driver.Factory.
func (f *factory) Proto() string { return Proto }

// New implements driver.Factory.
func (f *factory) New(cfg driver.Config, deps driver.Deps) (driver.Driver, error) {
	s, err := ParseSettings(cfg.Item.Cfg, cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", cfg.ID, err)
	}
	d := newDriver(cfg.ID, s, deps, f.metrics)
	if err := d.Update(cfg.Points); err != nil {
		return nil, err
	}
	return d, nil
}
