package config

import (
	"maps"
	"slices"
)

// Impact is what a running gateway has to do to go from one snapshot to another.
// All lists are sorted; a driver is in one of them at most.
type Impact struct {
	Drain   []string // endpoints, changed or removed, whose connections must go
	Stop    []string // drivers that are removed
	Start   []string // drivers that are added
	Restart []string // drivers that changed, or whose endpoint did
	Reload  []string // drivers of which only variables changed
	Groups  []string // groups of settings that were added, removed or changed
}

// Impact works out what d means for the drivers of both snapshots.
func (d *Difference) Impact(old, new *Snapshot) *Impact {
	if old == nil {
		old = &Snapshot{}
	}
	im := &Impact{Stop: d.Drivers.Removed, Start: d.Drivers.Added}
	touched := make(map[string]bool)
	im.Drain = append(im.Drain, d.Endpoints.Removed...)
	for _, c := range d.Endpoints.Changed {
		im.Drain = append(im.Drain, c.ID)
	}
	for _, id := range append(slices.Clone(im.Drain), d.Endpoints.Added...) {
		touched[id] = true
	}
	restart := make(map[string]bool)
	for _, c := range d.Drivers.Changed {
		restart[c.ID] = true
	}
	for id, drv := range new.Drivers {
		if was, ok := old.Drivers[id]; ok && (touched[drv.EndpointID] || touched[was.EndpointID]) {
			restart[id] = true
		}
	}
	for id := range d.ByDriver {
		_, before := old.Drivers[id]
		_, after := new.Drivers[id]
		if before && after && !restart[id] {
			im.Reload = append(im.Reload, id)
		}
	}
	im.Restart = slices.Sorted(maps.Keys(restart))
	im.Groups = append(slices.Clone(d.Settings.Added), d.Settings.Removed...)
	for _, c := range d.Settings.Changed {
		im.Groups = append(im.Groups, c.ID)
	}
	slices.Sort(im.Drain)
	slices.Sort(im.Reload)
	slices.Sort(im.Groups)
	return im
}

// Empty reports whether there is nothing to do.
func (im *Impact) Empty() bool {
	return len(im.Drain)+len(im.Stop)+len(im.Start)+len(im.Restart)+len(im.Reload)+len(im.Groups) == 0
}
