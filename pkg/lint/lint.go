// Package lint checks a configuration beyond its shape: what the tables say
// about each other and about the devices. edge-cfg runs it on files before they
// are pushed; the gateway runs it on a snapshot before anything is touched.
//
// What reading the files already finds (syntax, unknown keys, types, duplicates,
// dangling references, misplaced secrets) comes from package config, and is part
// of the result here.
package lint

import (
	"fmt"
	"maps"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Checker knows one protocol: what its drivers' cfg and its addresses may be.
type Checker interface {
	// Check reports what is wrong with a driver or its variables. The tables'
	// own schemas are satisfied; cfg is as its schema wants it, if there is one.
	Check(d *Driver, r *Report)
}

// Driver is a driver with what it works on.
type Driver struct {
	ID        string
	Item      config.Driver
	Endpoint  *config.Endpoint  // nil if it has none that is valid
	Variables []config.Variable // sorted by tag
}

// Checkers returns the checkers of the protocols that are built in, by name.
func Checkers() map[string]Checker {
	return map[string]Checker{"modbus": modbusChecker{}}
}

// Report collects findings and gives them their places.
type Report struct {
	src      *config.Source
	findings config.Findings
}

// Errorf reports what cannot work. path leads to a field of the item; it may be
// empty.
func (r *Report) Errorf(t config.Table, id string, path []string, rule, format string, args ...any) {
	r.add(config.SeverityError, t, id, path, rule, fmt.Sprintf(format, args...))
}

// Warnf reports what works, but is likely not meant.
func (r *Report) Warnf(t config.Table, id string, path []string, rule, format string, args ...any) {
	r.add(config.SeverityWarning, t, id, path, rule, fmt.Sprintf(format, args...))
}

func (r *Report) add(sev config.Severity, t config.Table, id string, path []string, rule, msg string) {
	f := config.Finding{Severity: sev, Rule: rule, Message: msg, Key: config.Key(t, id, path...)}
	r.findings = append(r.findings, f.At(r.src.Pos(t, id, path...)))
}

// Snapshot checks a snapshot that has been read without errors. src says where
// its items stand; it may be nil.
func Snapshot(snap *config.Snapshot, src *config.Source, checkers map[string]Checker) config.Findings {
	r := &Report{src: src}
	checkEndpoints(snap, r)
	checkVariables(snap, r)
	groups := snap.DriverVariables()
	for _, id := range slices.Sorted(maps.Keys(snap.Drivers)) {
		checkDriver(&Driver{ID: id, Item: snap.Drivers[id], Variables: groups[id]}, snap, src, checkers, r)
	}
	if err := snap.Document().Fits(config.DefaultMemory); err != nil {
		r.findings = append(r.findings, config.Finding{Severity: config.SeverityWarning, Rule: "memory", Message: err.Error()})
	}
	checkUnits(snap, r)
	checkLines(snap, groups, r)
	r.findings = append(r.findings, checkTopics(config.Settings, snap.Settings, func(path []string) config.Pos {
		return src.Pos(config.Settings, path[0], path[1:]...)
	})...)
	r.findings.Sort()
	return r.findings
}

// checkDriver checks what holds for every protocol, and hands over to the
// driver's own checker.
func checkDriver(d *Driver, snap *config.Snapshot, src *config.Source, checkers map[string]Checker, r *Report) {
	if e, ok := snap.Endpoints[d.Item.EndpointID]; ok {
		d.Endpoint = &e
	}
	if len(d.Variables) == 0 && (src == nil || src.Has(config.Variables)) {
		r.Warnf(config.Drivers, d.ID, nil, "unused", "driver %s has no variables", d.ID)
	}
	if d.Item.Kind != config.KindStatic {
		r.Warnf(config.Drivers, d.ID, []string{"kind"}, "not-built",
			"kind: drivers of kind %s are not built yet; a gateway will refuse this driver", d.Item.Kind)
		return
	}
	c, ok := checkers[d.Item.Proto]
	if !ok {
		hint := ""
		if near := config.Nearest(d.Item.Proto, slices.Collect(maps.Keys(checkers))); near != "" {
			hint = "; did you mean " + near + "?"
		}
		r.Warnf(config.Drivers, d.ID, []string{"proto"}, "not-built",
			"proto: %s is not built in; a gateway will refuse this driver%s", d.Item.Proto, hint)
		return
	}
	c.Check(d, r)
}
