package lint

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/connectors"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// gatewayFile is the name of the bootstrap file.
const gatewayFile = "gateway.yml"

// Result is what was checked and what was found.
type Result struct {
	Findings config.Findings
	Files    []string         // in the order in which they were read
	Snapshot *config.Snapshot // what was good of the tables
}

// Paths checks directories and files: tables, each named for what it is, and
// gateway.yml. Of a directory its tables and its gateway.yml are checked; if it
// has a gateway.yml but no tables, those that its config.dir names. What isn't
// among the paths is not missed: variables.yml alone is checked without looking
// for its drivers.
func Paths(paths ...string) *Result {
	res := &Result{}
	var tables, gateways []string
	for _, p := range paths {
		st, err := os.Stat(p)
		switch {
		case err != nil:
			res.unreadable(p, err)
		case st.IsDir():
			t, g := res.directory(p)
			tables, gateways = append(tables, t...), append(gateways, g...)
		case filepath.Base(p) == gatewayFile:
			gateways = append(gateways, p)
		default:
			tables = append(tables, p)
		}
	}
	res.tables(tables)
	for _, g := range gateways {
		res.gateway(g)
	}
	res.Findings.Sort()
	return res
}

func (res *Result) unreadable(path string, err error) {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	res.Findings = append(res.Findings, config.Finding{File: path, Severity: config.SeverityError, Rule: "no-file",
		Message: "cannot be read: " + err.Error()})
}

// directory lists what is to be checked in a directory.
func (res *Result) directory(dir string) (tables, gateways []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		res.unreadable(dir, err)
		return nil, nil
	}
	for _, t := range config.AllTables() {
		files, err := config.TableFiles(dir, t)
		if err != nil {
			res.unreadable(filepath.Join(dir, string(t)), err)
		}
		tables = append(tables, files...)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.Name() == gatewayFile {
			gateways = append(gateways, path)
		} else if other, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && isKnown(other+".yml") {
			res.warn(path, "no-table", "is not read; rename it to "+other+".yml")
		}
	}
	for _, name := range config.Unread(dir) {
		if other, ok := strings.CutSuffix(name, ".yaml"); !ok || !isKnown(other+".yml") {
			res.warn(filepath.Join(dir, name), "no-table", "is not read: a table is a file called "+config.FileNames+"; "+config.PartNames)
		}
	}
	if len(tables) > 0 {
		return tables, gateways
	}
	if len(gateways) > 0 {
		if sub := tablesDir(gateways[0]); sub != "" && sub != filepath.Clean(dir) {
			tables, _ = res.directory(sub)
			return tables, gateways
		}
	}
	res.Findings = append(res.Findings, config.Finding{File: dir, Severity: config.SeverityError, Rule: "no-file",
		Message: "has no table: expected " + config.FileNames})
	return nil, gateways
}

func isKnown(name string) bool {
	return name == gatewayFile || slices.ContainsFunc(config.AllTables(), func(t config.Table) bool { return t.FileName() == name })
}

func (res *Result) warn(file, rule, msg string) {
	res.Findings = append(res.Findings, config.Finding{File: file, Severity: config.SeverityWarning, Rule: rule, Message: msg})
}

// tablesDir returns where a gateway.yml looks for its tables, "" if there is no
// such directory.
func tablesDir(path string) string {
	f, err := config.ReadFile("gateway", path)
	if err != nil {
		return "" // told when the file itself is checked
	}
	sub, ok := config.ValueAt(f.Tree, []string{"config", "dir"}).(string)
	if !ok {
		sub = "config"
	}
	if !filepath.IsAbs(sub) {
		sub = filepath.Join(filepath.Dir(path), sub)
	}
	if st, err := os.Stat(sub); err != nil || !st.IsDir() {
		return ""
	}
	return filepath.Clean(sub)
}

// tables checks table files as one configuration. What crosses items is checked
// among those that are good.
func (res *Result) tables(paths []string) {
	if len(paths) == 0 {
		return
	}
	snap, src, findings := config.ReadFiles(paths...)
	res.Files = append(res.Files, paths...)
	res.Snapshot = snap
	res.Findings = append(res.Findings, findings...)
	if src.Layered() {
		res.layered(snap, src)
		return
	}
	res.Findings = append(res.Findings, Snapshot(snap, src, protocols.Builtin())...)
}

// gateway checks a gateway.yml.
func (res *Result) gateway(path string) {
	res.Files = append(res.Files, path)
	g, err := bootstrap.Load(path, nil, nil)
	var fs config.Findings
	if errors.As(err, &fs) {
		res.Findings = append(res.Findings, fs...)
		return
	}
	if err != nil {
		res.unreadable(path, err)
		return
	}
	res.Findings = append(res.Findings, g.Warnings...)
	f, err := config.ReadFile("gateway", path)
	if err != nil {
		res.unreadable(path, err)
		return
	}
	res.Findings = append(res.Findings, Connectors(g, f.Pos)...)
	res.Findings = append(res.Findings, Security(g)...)
}

// Connectors checks the connectors of a gateway.yml that was loaded. pos tells where
// a key stands.
func Connectors(g *bootstrap.Gateway, pos func(path []string) config.Pos) config.Findings {
	var out config.Findings
	for _, name := range slices.Sorted(maps.Keys(g.Connectors)) {
		c := g.Connectors[name]
		at := []string{"connectors", name}
		kind, built := connectors.Builtin().Find(text(c["kind"]))
		if !built {
			out = append(out, config.Finding{Severity: config.SeverityWarning, Rule: "not-built", Key: strings.Join(append(at, "kind"), "."),
				Message: "kind: connectors of kind " + text(c["kind"]) + " are not built yet; the gateway will refuse this one"}.
				At(pos(append(at, "kind"))))
			continue
		}
		kind.Check(c, func(path []string, rule, message string) {
			path = slices.Concat(at, path)
			out = append(out, config.Finding{Severity: config.SeverityError, Rule: rule, Message: message, Key: strings.Join(path, ".")}.At(pos(path)))
		})
	}
	return out
}

// checkSettings checks the settings of connectors in the tables, whose kind only the
// gateway knows.
func checkSettings(settings map[string]map[string]any, pos func(path []string) config.Pos) config.Findings {
	var out config.Findings
	for group, values := range settings {
		for _, kind := range connectors.Builtin() {
			kind.Check(values, func(path []string, rule, message string) {
				out = append(out, config.Finding{Severity: config.SeverityError, Rule: rule, Message: message, Key: config.Key(config.Settings, group, path...)}.
					At(pos(append([]string{group}, path...))))
			})
		}
	}
	return out
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
