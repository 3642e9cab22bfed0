package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/point"
	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// Write writes a tag through its driver.
func (m *Manager) Write(ctx context.Context, w Write) (res WriteResult, err error) {
	u, d, err := m.route(w.Tag)
	if err != nil {
		return WriteResult{}, err
	}
	err = u.call("write", func() error { res, err = d.Write(ctx, w); return err })
	if supervise.Stack(err) != nil {
		err = fmt.Errorf("%w: the driver failed while it wrote: %w", ErrOutcomeUnknown, err)
	}
	return res, err
}

// Read reads a tag from its device.
func (m *Manager) Read(ctx context.Context, tag string) (r Reading, err error) {
	u, d, err := m.route(tag)
	if err != nil {
		return Reading{}, err
	}
	err = u.call("read", func() error { r, err = d.Read(ctx, tag); return err })
	return r, err
}

// route returns the driver that has tag and runs.
func (m *Manager) route(tag string) (*unit, Driver, error) {
	for _, u := range m.all() {
		if _, ok := u.points().Index(tag); !ok {
			continue
		}
		d, err := u.running()
		if err != nil {
			return nil, nil, fmt.Errorf("tag %s: %w", tag, err)
		}
		return u, d, nil
	}
	return nil, nil, fmt.Errorf("tag %s: %w", tag, ErrUnknownTag)
}

// Diagnose asks driver id and its device for what may help to find a fault.
func (m *Manager) Diagnose(ctx context.Context, id string) (facts []Fact, err error) {
	u, err := m.unit(id)
	if err != nil {
		return nil, err
	}
	d, err := u.running()
	if err != nil {
		return nil, err
	}
	diag, ok := d.(Diagnoser)
	if !ok {
		return nil, fmt.Errorf("driver %s: protocol %s has no diagnosis: %w", id, u.spec.item.Proto, errors.ErrUnsupported)
	}
	err = u.call("diagnose", func() error { facts, err = diag.Diagnose(ctx); return err })
	return facts, err
}

// DriverStatus is a driver and what it is doing.
type DriverStatus struct {
	ID       string
	Item     config.Driver
	Tags     int
	Bad      int    // of the tags, whose last value is bad
	Device   Reason // why no tag can be read, if that is so
	Restarts uint64 // after a failure, by configuration and by hand, since it was first started
	Status
}

// List returns the drivers, sorted by id.
func (m *Manager) List() []DriverStatus {
	units := m.all()
	list := make([]DriverStatus, len(units))
	for i, u := range units {
		list[i] = u.describe()
	}
	return list
}

// Status returns what driver id is doing; ok is false if there is none. A driver
// that has failed and waits to be started anew is at [Fault], its counters are
// zero until it runs.
func (m *Manager) Status(id string) (s Status, ok bool) {
	u, err := m.unit(id)
	if err != nil {
		return Status{}, false
	}
	return u.describe().Status, true
}

// TagStatus is a tag and what was last observed of it.
type TagStatus struct {
	Tag      string
	Driver   string
	Unit     string
	Address  string // as the device's protocol counts, "" if the driver does not say
	Last     point.Last
	Reason   Reason           // why it is bad; Text is "" if it is not
	Variable *config.Variable // not to be changed
}

// Tags returns the tags that match glob (as [path.Match]; "" is all), sorted.
func (m *Manager) Tags(glob string) ([]TagStatus, error) {
	if _, err := path.Match(glob, ""); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", glob, err)
	}
	var list []TagStatus
	for _, u := range m.all() {
		table, addresses := u.addresses()
		why := u.reasons()
		for i := range table.Len() {
			tag := table.Variable(i).Tag
			if ok, _ := path.Match(glob, tag); ok || glob == "" { // glob is well formed, see above
				list = append(list, u.tag(table, i, addresses[i], why))
			}
		}
	}
	slices.SortFunc(list, func(a, b TagStatus) int { return cmp.Compare(a.Tag, b.Tag) })
	return list, nil
}

// Tag returns one tag; ok is false if no driver has it.
func (m *Manager) Tag(tag string) (s TagStatus, ok bool) {
	for _, u := range m.all() {
		if i, ok := u.points().Index(tag); ok {
			table, addresses := u.addresses()
			if i < table.Len() && table.Variable(i).Tag == tag {
				return u.tag(table, i, addresses[i], u.reasons()), true
			}
		}
	}
	return TagStatus{}, false
}
