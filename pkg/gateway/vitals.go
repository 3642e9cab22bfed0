package gateway

import (
	"cmp"
	"fmt"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// vitals says how the gateway is, for a rollout to compare: which drivers can't read, and
// how many points are bad.
func (g *Gateway) vitals() center.Vitals {
	tags, err := g.drivers.Tags("")
	if err != nil {
		g.log.Error("a rollout sees no points", "error", err) // the pattern is a good one
	}
	return vitalsOf(g.drivers.List(), tags)
}

func vitalsOf(drivers []driver.DriverStatus, tags []driver.TagStatus) center.Vitals {
	v := center.Vitals{Faults: map[string]string{}, Points: len(tags)}
	of := make(map[string][]*driver.TagStatus)
	for i := range tags {
		t := &tags[i]
		of[t.Driver] = append(of[t.Driver], t)
		if t.Last.Known && t.Last.Quality == frame.Bad || !t.Last.Known && t.Reason.Text != "" {
			v.Bad++
		}
	}
	for i := range drivers {
		d := &drivers[i]
		switch {
		case d.State == driver.Fault, d.Tags > 0 && d.Device.Text != "":
			v.Faults[d.ID] = cmp.Or(d.Device.Text, d.Error, "no reason given")
			continue
		case d.Tags > 0 && d.State != driver.Running:
			v.Idle = append(v.Idle, d.ID)
		}
		tagProblems(d, of[d.ID], func(p *pb.Problem) {
			if v.Trouble == "" {
				v.Trouble = fmt.Sprintf("driver %s: %s", d.ID, p.Text)
			}
		})
	}
	return v
}
