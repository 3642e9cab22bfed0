package dyn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/plugin"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// DirVariable is the environment variable that says where lint looks for drivers, on machines
// where that is not [DefaultDir].
const DirVariable = "EDGE_CFG_DRIVERS_DIR"

// lintMemory is what a driver may have while lint asks it.
const lintMemory = 256 << 20

// Protocol describes the drivers of kind dyn to the rest of the program. Which protocols they
// speak, they say themselves.
func Protocol() driver.Protocol {
	return driver.Protocol{
		Name: string(config.KindDyn),
		Kind: config.KindDyn,
		New: func(h driver.Host) (driver.Factory, error) {
			return factory{newHost(cmp.Or(h.DriversDir, DefaultDir), Limits{Memory: h.DriverMemory})}, nil
		},
		Check: func(d *driver.Setup, r driver.Findings) {
			newHost(cmp.Or(os.Getenv(DirVariable), DefaultDir), Limits{Memory: lintMemory}).lint(d, r)
		},
	}
}

// lint implements [driver.Protocol].
func (h *host) lint(d *driver.Setup, r driver.Findings) {
	ctx, cancel := context.WithTimeout(context.Background(), checkLimit)
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	if err := checkPath(d.Item.Path); err != nil {
		tell(d.ID, err, r)
		return
	}
	what, _, err := h.describe(ctx, d.Item, log)
	switch {
	case errors.Is(err, ErrNotInstalled):
		r.Warnf(config.Drivers, d.ID, []string{"path"}, "plugin-unknown",
			"%v here, so neither cfg nor addresses are checked; install the driver, or name its directory with %s", err, DirVariable)
		return
	case errors.Is(err, ErrRefused): // by the rules of this machine
		r.Warnf(config.Drivers, d.ID, []string{"path"}, "plugin-unknown", "%v; neither cfg nor addresses are checked", err)
		return
	case err != nil:
		tell(d.ID, err, r)
		return
	}
	tell(d.ID, what.Refuse(d.Item), r)
	s, rest, err := plugin.Split(d.Item.Cfg)
	if err != nil {
		return // told above
	}
	sound := true
	for i := range d.Variables {
		sound = lintVariable(what, s, &d.Variables[i], r) && sound
	}
	if !sound || !what.Checks {
		return
	}
	h.lintBeyond(ctx, d, s, rest, r)
}

// tell reports the errors of an item.
func tell(id string, err error, r driver.Findings) {
	for _, e := range config.FieldErrors(err) {
		r.Errorf(config.Drivers, id, e.Path, "plugin-cfg", "%v", e)
	}
}

// lintVariable checks one variable, and reports whether it is in order.
func lintVariable(what *plugin.Description, s *plugin.Settings, v *config.Variable, r driver.Findings) bool {
	address, err := plugin.Address(&v.Address)
	if err == nil {
		err = what.RefuseAddress(address)
	}
	for _, e := range config.FieldErrors(err) {
		r.Errorf(config.Variables, v.Tag, []string{"address"}, "plugin-address", "%v", e)
	}
	if v.Access.Writable() && !s.EnableWrite {
		r.Warnf(config.Variables, v.Tag, []string{"access"}, "plugin-write",
			"access: %s, but the driver %s has no enable_write: true in its cfg; writes will be refused", v.Access, v.DriverID)
	}
	return err == nil
}

// lintBeyond has the driver check what its schemas don't say.
func (h *host) lintBeyond(ctx context.Context, d *driver.Setup, s *plugin.Settings, rest map[string]any, r driver.Findings) {
	var e config.Endpoint
	if d.Endpoint != nil {
		e = *d.Endpoint
	}
	request, err := plugin.CheckRequest(d.ID, s, rest, e, d.Variables)
	if err != nil {
		return // the points are not in order: told elsewhere
	}
	found, err := h.findings(ctx, d.Item, request)
	if err != nil {
		tell(d.ID, &config.FieldError{Path: []string{"path"}, Msg: fmt.Sprintf("%s: %v", d.Item.Path, err)}, r)
		return
	}
	for _, f := range found {
		table, item := config.Drivers, d.ID
		if f.Tag != "" {
			table, item = config.Variables, f.Tag
		}
		e := &config.FieldError{Path: f.Path, Msg: f.Text}
		if f.Warning {
			r.Warnf(table, item, f.Path, "plugin-check", "%v", e)
		} else {
			r.Errorf(table, item, f.Path, "plugin-check", "%v", e)
		}
	}
}

// findings has the executable of an item check a configuration.
func (h *host) findings(ctx context.Context, item config.Driver, request *driverpb.CheckRequest) (found []plugin.Finding, err error) {
	f, err := locate(h.dir, item.Path, item.SHA256)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	err = h.with(ctx, f, slog.New(slog.DiscardHandler), func(s plugin.Session) error {
		found, err = plugin.Findings(ctx, s, request)
		return err
	})
	return found, err
}
