package modbus

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Read implements driver.Driver. Raw is the data of the answer: registers in the
// order of the line, or packed bits.
func (d *modbusDriver) Read(ctx context.Context, tag string) (driver.Reading, error) {
	p := d.plans.Newest()
	i, ok := p.table.Index(tag)
	if !ok {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, driver.ErrUnknownTag)
	}
	if v := p.table.Variable(i); !v.Access.Readable() {
		return driver.Reading{}, fmt.Errorf("read %s: %w: the variable has access %s", tag, driver.ErrAccess, v.Access)
	}
	pt := p.points[i]
	var r driver.Reading
	err := d.jobs.Submit(driver.NewJob(ctx, func(l *link) error {
		data, err := l.read(pt.Func, pt.Addr, pt.Count)
		if err != nil {
			return err
		}
		raw, quality := pt.decode(data)
		r = driver.Reading{Raw: data, TS: time.Now().UnixNano()}
		if r.Value, r.Quality = p.table.Scale(i, raw); quality > r.Quality {
			r.Quality = quality
		}
		return nil
	}), "the device")
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	return r, nil
}
