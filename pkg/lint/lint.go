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
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// Report collects findings and gives them their places. It is [driver.Findings].
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
func Snapshot(snap *config.Snapshot, src *config.Source, list protocols.List) config.Findings {
	r := &Report{src: src}
	checkEndpoints(snap, list, r)
	checkVariables(snap, r)
	setups := make(map[string][]driver.Setup)
	groups := snap.DriverVariables()
	for _, id := range slices.Sorted(maps.Keys(snap.Drivers)) {
		d := driver.Setup{ID: id, Item: snap.Drivers[id], Variables: groups[id]}
		if e, ok := snap.Endpoints[d.Item.EndpointID]; ok {
			d.Endpoint = &e
		}
		if checkDriver(&d, src, list, r) {
			p, _ := list.For(d.Item) // it is built in
			setups[p.Name] = append(setups[p.Name], d)
		}
	}
	for _, p := range list {
		if p.CheckAll != nil {
			p.CheckAll(setups[p.Name], r)
		}
	}
	r.findings = append(r.findings, checkSettings(snap.Settings, func(path []string) config.Pos {
		return src.Pos(config.Settings, path[0], path[1:]...)
	})...)
	r.findings.Sort()
	return r.findings
}

// checkDriver checks what holds for every protocol, and hands over to the driver's
// own. It reports whether that is built in.
func checkDriver(d *driver.Setup, src *config.Source, list protocols.List, r *Report) bool {
	if len(d.Variables) == 0 && (src == nil || src.Whole(config.Variables)) {
		r.Warnf(config.Drivers, d.ID, nil, "unused", "driver %s has no variables", d.ID)
	}
	p, ok := list.For(d.Item)
	if !ok && d.Item.Kind != config.KindStatic {
		r.Warnf(config.Drivers, d.ID, []string{"kind"}, "not-built",
			"kind: drivers of kind %s are not built yet; a gateway will refuse this driver", d.Item.Kind)
		return false
	}
	if !ok {
		hint := ""
		if near := config.Nearest(d.Item.Proto, list.Names()); near != "" {
			hint = "; did you mean " + near + "?"
		}
		r.Warnf(config.Drivers, d.ID, []string{"proto"}, "not-built",
			"proto: %s is not built in; a gateway will refuse this driver%s", d.Item.Proto, hint)
		return false
	}
	if p.Check != nil {
		p.Check(d, r)
	}
	return true
}
