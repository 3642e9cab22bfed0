package modbus

import (
	"context"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Read implements driver.Driver. Raw is the data of the answer: registers in the
// order of the line, or packed bits.
func (d *modbusDriver) Read(ctx context.Context, tag string) (driver.Reading, error) {
	p := d.plans.Newest()
	return d.jobs.Read(ctx, p.table, tag, "the device",
		func(l *link, i int) ([]byte, error) {
			pt := &p.points[i]
			return l.read(pt.Func, pt.Addr, pt.Count)
		},
		func(i int, data []byte) (frame.Value, frame.Quality) { return p.points[i].decode(data) })
}
