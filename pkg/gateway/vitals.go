package gateway

import (
	"cmp"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// vitals says how the gateway is, for a rollout to compare: which drivers can't read, and
// how many points are bad.
func (g *Gateway) vitals() center.Vitals {
	v := center.Vitals{Faults: map[string]string{}}
	for _, d := range g.drivers.List() {
		v.Points += d.Tags
		v.Bad += d.Bad
		if d.State == driver.Fault || d.Tags > 0 && d.Device.Text != "" {
			v.Faults[d.ID] = cmp.Or(d.Device.Text, d.Error, "no reason given")
		}
	}
	return v
}
