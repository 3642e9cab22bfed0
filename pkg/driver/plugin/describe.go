package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

const (
	maxSchema   = 1 << 20 // bytes
	maxFindings = 100     // that are told
)

// Description is what a driver says that it is.
type Description struct {
	Name, Version string
	Protocols     []string // that it speaks; nil: it doesn't say
	Checks        bool     // it finds more than its schemas say

	settings *jsonschema.Schema // nil: there are none
	address  *jsonschema.Schema // nil: any is taken
}

// Describe asks a session what it is.
func Describe(ctx context.Context, s Session) (*Description, error) {
	r, err := s.Describe(ctx, &driverpb.DescribeRequest{})
	if err != nil {
		return nil, fault(ctx, s, "Describe", grace, err)
	}
	d := &Description{Name: clean(r.GetName()), Version: clean(r.GetVersion()), Protocols: r.GetProtocols(), Checks: r.GetChecks()}
	if d.Name == "" || d.Version == "" {
		return nil, nonsense("Describe", errors.New("it has no name or no version"))
	}
	if d.settings, err = compile("settings", r.GetSettingsSchema()); err == nil {
		d.address, err = compile("address", r.GetAddressSchema())
	}
	if err != nil {
		return nil, nonsense("Describe", err)
	}
	return d, nil
}

// compile reads a schema that a driver has; nil if it has none.
func compile(name, text string) (*jsonschema.Schema, error) {
	switch {
	case text == "":
		return nil, nil
	case len(text) > maxSchema:
		return nil, fmt.Errorf("its schema of %s has %d bytes, %d are taken", name, len(text), maxSchema)
	}
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft7
	c.LoadURL = func(url string) (io.ReadCloser, error) {
		return nil, fmt.Errorf("a schema refers to %s, and must be whole", url)
	}
	if err := c.AddResource("driver:"+name, strings.NewReader(text)); err != nil {
		return nil, fmt.Errorf("its schema of %s: %s", name, clean(err.Error()))
	}
	s, err := c.Compile("driver:" + name)
	if err != nil {
		return nil, fmt.Errorf("its schema of %s: %s", name, clean(err.Error()))
	}
	return s, nil
}

// Refuse says why an item of the drivers table does not suit the driver. The errors are
// [config.FieldError]s.
func (d *Description) Refuse(item config.Driver) error {
	var errs []error
	if len(d.Protocols) > 0 && !slices.Contains(d.Protocols, item.Proto) {
		errs = append(errs, config.FieldErrorf("proto", "%s: the driver %s %s at path speaks %s", item.Proto, d.Name, d.Version, clean(strings.Join(d.Protocols, ", "))))
	}
	_, rest, err := Split(item.Cfg)
	errs = append(errs, err)
	if d.settings == nil && len(rest) > 0 {
		for key := range rest {
			errs = append(errs, config.FieldErrorf("cfg."+key, "unknown key; the driver %s has no settings of its own", d.Name))
		}
	} else if d.settings != nil {
		errs = append(errs, violations(d.settings, rest, "cfg"))
	}
	return errors.Join(errs...)
}

// RefuseAddress says why an address, JSON, does not suit the driver.
func (d *Description) RefuseAddress(text string) error {
	if d.address == nil {
		return nil
	}
	var tree any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return config.FieldErrorf("address", "%v", err)
	}
	return violations(d.address, tree, "address")
}

// RefusePoints is RefuseAddress for the first of many that does not suit.
func (d *Description) RefusePoints(points []*driverpb.Point) error {
	for _, p := range points {
		if err := d.RefuseAddress(p.GetAddress()); err != nil {
			return fmt.Errorf("tag %s: %w", p.GetTag(), err)
		}
	}
	return nil
}

// violations says what a schema has against a value at path.
func violations(s *jsonschema.Schema, value any, path string) error {
	err := s.Validate(value)
	if err == nil {
		return nil
	}
	found, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return config.FieldErrorf(path, "%s", clean(err.Error()))
	}
	var errs []error
	var leaves func(e *jsonschema.ValidationError)
	leaves = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 && len(errs) < maxFindings {
			at := path + strings.ReplaceAll(e.InstanceLocation, "/", ".")
			errs = append(errs, config.FieldErrorf(at, "%s", clean(e.Message)))
		}
		for _, cause := range e.Causes {
			leaves(cause)
		}
	}
	leaves(found)
	return errors.Join(errs...)
}

// Finding is what a driver has against a configuration.
type Finding struct {
	Text, Tag string
	Path      []string
	Warning   bool
}

// Findings has a driver check a configuration.
func Findings(ctx context.Context, s Session, r *driverpb.CheckRequest) ([]Finding, error) {
	resp, err := s.Check(ctx, r)
	if err != nil {
		return nil, fault(ctx, s, "Check", grace, err)
	}
	var out []Finding
	for _, f := range resp.GetFindings() {
		if len(out) == maxFindings {
			break
		}
		found := Finding{Text: clean(f.GetText()), Tag: clean(f.GetTag()), Warning: f.GetWarning()}
		if f.GetPath() != "" {
			found.Path = strings.Split(clean(f.GetPath()), ".")
		}
		out = append(out, found)
	}
	return out, nil
}

// Check returns what a driver finds that can't work; nil if there is nothing.
func Check(ctx context.Context, s Session, r *driverpb.CheckRequest) error {
	found, err := Findings(ctx, s, r)
	if err != nil {
		return err
	}
	for _, f := range found {
		switch {
		case f.Warning:
		case f.Tag != "":
			return fmt.Errorf("tag %s: %w", f.Tag, &config.FieldError{Path: f.Path, Msg: f.Text})
		default:
			return &config.FieldError{Path: f.Path, Msg: f.Text}
		}
	}
	return nil
}
