package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/point"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// plan is what to ask a driver for. It is immutable, but for when its groups are due, which
// belongs to the goroutine that polls.
type plan struct {
	table  *point.Table
	points []*driverpb.Point // by index in the table
	groups []*group
}

// group holds the points with one polling interval.
type group struct {
	driver.Cycle
	points []int // indexes in the table
}

// newPlan makes the plan for a table.
func newPlan(id string, s *Settings, table *point.Table) (*plan, error) {
	p := &plan{table: table, points: make([]*driverpb.Point, table.Len())}
	of := map[time.Duration]*group{}
	types := config.DataTypes()
	for i := range p.points {
		v := table.Variable(i)
		every, err := driver.Interval(v, s.Polling)
		if err == nil && !slices.Contains(types, string(v.Datatype)) {
			err = config.FieldErrorf("datatype", "%q, which is none", v.Datatype)
		}
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", v.Tag, err)
		}
		address, err := Address(&v.Address)
		if err != nil {
			return nil, fmt.Errorf("tag %s: address: %w", v.Tag, err)
		}
		p.points[i] = &driverpb.Point{
			Index: uint32(i), Tag: v.Tag, Address: address, Datatype: string(v.Datatype),
			Readable: v.Access.Readable(), Writable: v.Access.Writable(),
		}
		if !v.Access.Readable() {
			continue
		}
		g := of[every]
		if g == nil {
			g = &group{Cycle: driver.NewCycle(id, every)}
			of[every] = g
			p.groups = append(p.groups, g)
		}
		g.points = append(g.points, i)
	}
	slices.SortFunc(p.groups, func(a, b *group) int { return cmp.Compare(a.Interval, b.Interval) })
	for n, g := range p.groups {
		for _, i := range g.points {
			p.points[i].Group = uint32(n)
		}
	}
	return p, nil
}

// goOn takes over when the groups of the plan before are due.
func (p *plan) goOn(before *plan) {
	for _, g := range p.groups {
		if i := slices.IndexFunc(before.groups, func(o *group) bool { return o.Interval == g.Interval }); i >= 0 {
			g.Next = before.groups[i].Next
		}
	}
}

// CheckRequest asks a driver about an item of the drivers table and its variables.
func CheckRequest(id string, s *Settings, rest map[string]any, e config.Endpoint, vars []config.Variable) (*driverpb.CheckRequest, error) {
	table, err := point.Compile(id, vars, nil)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(id, s, table)
	if err != nil {
		return nil, err
	}
	text, err := settingsText(rest)
	return &driverpb.CheckRequest{Id: id, Settings: text, Endpoint: endpointOf(e), Points: p.points}, err
}
