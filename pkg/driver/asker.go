package driver

import (
	"context"
	"errors"
	"fmt"
)

// Ask runs an ability of protocol proto over the connection of a driver that runs at an
// endpoint. It fails with [errors.ErrUnsupported], and has asked nothing then, if no
// driver there does that.
func (m *Manager) Ask(ctx context.Context, endpoint, proto, ability string, a Args, emit func(Event) error) (r Report, err error) {
	for _, u := range m.all() {
		if u.spec.item.EndpointID != endpoint || u.spec.item.Proto != proto {
			continue
		}
		d, err := u.running()
		if err != nil {
			continue // another one may run
		}
		asker, ok := d.(Asker)
		if !ok || d.Status().State != Running {
			continue
		}
		err = u.call(ability, func() error { r, err = asker.Ask(ctx, ability, a, emit); return err })
		if !errors.Is(err, errors.ErrUnsupported) {
			return r, err
		}
	}
	return Report{}, fmt.Errorf("endpoint %s: %s over a driver's connection: %w", endpoint, ability, errors.ErrUnsupported)
}
