package gateway

import (
	"cmp"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// vitals says how the gateway is, for a rollout to compare: which drivers can't read, and
// how many points are bad.
func (g *Gateway) vitals() center.Vitals { return vitalsOf(g.drivers.List()) }

func vitalsOf(drivers []driver.DriverStatus) center.Vitals {
	v := center.Vitals{Faults: map[string]string{}}
	for _, d := range drivers {
		v.Points += d.Tags
		v.Bad += d.Bad
		switch {
		case d.State == driver.Fault, d.Tags > 0 && d.Device.Text != "":
			v.Faults[d.ID] = cmp.Or(d.Device.Text, d.Error, "no reason given")
		case d.Tags > 0 && d.State != driver.Running:
			v.Idle = append(v.Idle, d.ID)
		}
	}
	return v
}
