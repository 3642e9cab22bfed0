package bootstrap

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// builder gathers the effective tree and where its values came from.
type builder struct {
	sources
	tree     map[string]any
	origins  map[string]string // by key
	findings config.Findings
}

const schema = "gateway"

func (s sources) build() (*Gateway, error) {
	b := &builder{sources: s, tree: map[string]any{}, origins: make(map[string]string)}
	if s.file != nil {
		b.tree, _ = config.CloneTree(s.file.Tree).(map[string]any)
		b.findings = append(b.findings, s.file.Warnings...)
		dropEmpty(b.tree)
	}
	b.laySettings()
	b.layEnv()
	b.layTexts(b.flags, "flag")
	b.layTexts(b.passing, OriginPassing)
	b.findings = append(b.findings, config.Check(schema, b.tree, b.place)...)
	if err := b.findings.Err(); err != nil {
		b.findings.Sort()
		return nil, b.findings
	}
	b.defaults()
	b.paths()
	g, err := b.decode()
	if err != nil {
		return nil, err
	}
	b.checkTogether(g)
	b.findings.Sort()
	if err := b.findings.Err(); err != nil {
		return nil, err
	}
	g.Warnings = b.findings
	return g, nil
}

// dropEmpty removes keys without a value: a section whose lines are all commented
// out is a section that isn't there.
func dropEmpty(tree map[string]any) {
	for k, v := range tree {
		switch v := v.(type) {
		case nil:
			delete(tree, k)
		case map[string]any:
			dropEmpty(v)
		}
	}
}

// set puts a value at a key, recording its origin.
func (b *builder) set(path []string, value any, origin string) {
	if config.SetAt(b.tree, path, value) {
		b.origins[strings.Join(path, ".")] = origin
	}
}

func (b *builder) laySettings() {
	for _, group := range slices.Sorted(maps.Keys(b.settings)) {
		base := strings.Split(group, ".")
		if base[0] == "connectors" && config.ValueAt(b.tree, base) == nil {
			continue // one set of settings serves many gateways; this one lacks the connector
		}
		for _, f := range config.Fields("settings", map[string]any{group: b.settings[group]}) {
			if v := config.ValueAt(map[string]any{group: b.settings[group]}, f.Path); f.Path[0] == group && v != nil {
				b.set(append(slices.Clone(base), f.Path[1:]...), v, "settings")
			}
		}
	}
}

func (b *builder) layEnv() {
	byName := make(map[string][]config.Field)
	for _, f := range config.Fields(schema, b.tree) {
		name := EnvName(f.Key())
		byName[name] = append(byName[name], f)
	}
	for _, name := range slices.Sorted(maps.Keys(b.env)) {
		fields := byName[name]
		switch len(fields) {
		case 1:
			b.setText(&fields[0], b.env[name], name)
		case 0:
			b.unknownVariable(name, slices.Collect(maps.Keys(byName)))
		default:
			b.fail(name, "ambiguous", fmt.Sprintf("stands for both %s and %s; rename one of the connectors", fields[0].Key(), fields[1].Key()))
		}
	}
}

// unknownVariable warns of a variable that looks like a misspelt key. Others are
// left alone: flags have variables too, and container platforms make some of
// their own.
func (b *builder) unknownVariable(name string, known []string) {
	if near := config.Nearest(name[len(EnvPrefix):], trimAll(known, EnvPrefix)); near != "" {
		b.findings = append(b.findings, config.Finding{File: name, Severity: config.SeverityWarning, Rule: "unknown-key",
			Message: "sets nothing; did you mean " + EnvPrefix + near + "?"})
	}
}

func trimAll(words []string, prefix string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.TrimPrefix(w, prefix)
	}
	return out
}

func (b *builder) layTexts(values map[string]string, origin string) {
	fields := make(map[string]config.Field)
	for _, f := range config.Fields(schema, b.tree) {
		fields[f.Key()] = f
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		f, ok := fields[key]
		if !ok {
			msg := "there is no such key"
			if near := config.Nearest(key, slices.Collect(maps.Keys(fields))); near != "" {
				msg += "; did you mean " + near + "?"
			}
			b.fail(key, "unknown-key", msg)
			continue
		}
		b.setText(&f, values[key], origin)
	}
}

func (b *builder) fail(subject, rule, msg string) {
	b.findings = append(b.findings, config.Finding{File: subject, Severity: config.SeverityError, Rule: rule, Message: msg})
}

// setText sets a key from a variable or flag. A relative path is the working
// directory's.
func (b *builder) setText(f *config.Field, text, origin string) {
	v := config.ParseText(f, text)
	if p, ok := v.(string); ok && f.IsPath && p != "" && !strings.HasPrefix(p, "${") {
		abs, err := filepath.Abs(p)
		if err != nil {
			b.fail(origin, "value", err.Error())
			return
		}
		v = abs
	}
	b.set(f.Path, v, origin)
}

// EnvName returns the variable that sets a key: EDGE_GW_BUS_WAL_FLUSH_MS for
// bus.wal_flush_ms.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// place finds where a finding belongs: in the file, or at the variable or flag that won.
func (b *builder) place(path []string, onKey bool) config.Pos {
	for n := len(path); n > 0; n-- {
		switch origin := b.origins[strings.Join(path[:n], ".")]; origin {
		case "", "default":
		case "flag", OriginPassing:
			return config.Pos{File: origin + " " + strings.Join(path, ".")}
		default:
			return config.Pos{File: origin}
		}
	}
	if b.file == nil {
		return config.Pos{File: "gateway.yml"}
	}
	if onKey {
		return b.file.KeyPos(path)
	}
	return b.file.Pos(path)
}

// defaults fills in what nothing has set. It goes round again, since a default
// may be what makes a schema's condition hold.
func (b *builder) defaults() {
	for _, f := range config.Fields(schema, b.tree) {
		if f.Default != nil && config.ValueAt(b.tree, f.Path) == nil {
			b.set(f.Path, config.CloneTree(f.Default), "default")
		}
	}
	derive := func(value any, path ...string) {
		if v := config.ValueAt(b.tree, path); v == nil || v == "" {
			b.set(path, value, "default")
		}
	}
	for _, f := range config.Fields(schema, b.tree) {
		if f.DefaultFrom != "" {
			derive(config.ValueAt(b.tree, strings.Split(f.DefaultFrom, ".")), f.Path...)
		}
	}
	data := b.text("data_dir")
	derive(filepath.Join(data, "admin.sock"), "admin", "socket")
	derive(filepath.Join(data, "log"), "bus", "wal_dir")
	derive(filepath.Join(b.text("secrets_dir"), "tables"), "policy", "secrets_dir")
}

func (b *builder) text(path ...string) string {
	s, _ := config.ValueAt(b.tree, path).(string)
	return s
}

// paths makes the paths absolute.
func (b *builder) paths() {
	base := "."
	if b.file != nil {
		base = filepath.Dir(b.file.Name)
	}
	for _, f := range config.Fields(schema, b.tree) {
		p := b.text(f.Path...)
		if !f.IsPath || p == "" || filepath.IsAbs(p) || strings.HasPrefix(p, "${") {
			continue
		}
		abs, err := filepath.Abs(filepath.Join(base, p))
		if err != nil {
			b.fail(f.Key(), "value", err.Error())
			continue
		}
		config.SetAt(b.tree, f.Path, abs)
	}
}

// decode makes the Gateway of the tree, which its schema has accepted.
func (b *builder) decode() (*Gateway, error) {
	doc, err := json.Marshal(b.tree)
	if err != nil {
		return nil, fmt.Errorf("gateway.yml: %w", err) // not reached: it was decoded from text
	}
	g := &Gateway{Connectors: map[string]map[string]any{}, sources: b.sources}
	g.sources.pos = b.place
	if err := json.Unmarshal(doc, g); err != nil { // such as a duration of 300 years
		return nil, config.Findings{config.Finding{Severity: config.SeverityError, Rule: "value", Message: err.Error()}.At(b.place(nil, false))}
	}
	g.Bus, _ = b.tree["bus"].(map[string]any)
	connectors, _ := b.tree["connectors"].(map[string]any)
	for name, c := range connectors {
		g.Connectors[name], _ = c.(map[string]any) // with its numbers as they were decoded
	}
	if b.file != nil {
		g.ConnectorNames = slices.DeleteFunc(b.file.Keys("connectors"), func(name string) bool { return g.Connectors[name] == nil })
	}
	g.values = b.list()
	return g, nil
}

// maxSocketPath is what fits into a Unix socket's address on Linux.
const maxSocketPath = 107

// checkTogether holds values to each other.
func (b *builder) checkTogether(g *Gateway) {
	fail := func(msg string, path ...string) {
		b.findings = append(b.findings, config.Finding{Severity: config.SeverityError, Rule: "value", Message: msg,
			Key: strings.Join(path, ".")}.At(b.place(path, false)))
	}
	for _, e := range config.CheckOrder(config.Fields(schema, b.tree), b.tree) {
		fail(e.Error(), e.Path...)
	}
	if n := len(g.Admin.Socket); n > maxSocketPath {
		fail(fmt.Sprintf("admin.socket: %s has %d characters; a socket's path can have %d: set admin.socket or a shorter data_dir",
			g.Admin.Socket, n, maxSocketPath), "admin", "socket")
	}
	b.checkUnique(fail)
	checkRenames(g, fail)
}

// checkRenames refuses renames that can't be meant.
func checkRenames(g *Gateway, fail func(msg string, path ...string)) {
	heir := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(g.Connectors)) {
		from, _ := g.Connectors[name]["rename_from"].(string)
		if from == "" {
			continue
		}
		key := "connectors." + name + ".rename_from"
		switch other := heir[from]; {
		case g.Connectors[from] != nil:
			fail(fmt.Sprintf("%s: connectors.%s is still there; take it out, or leave rename_from out", key, from), "connectors", name, "rename_from")
		case other != "":
			fail(fmt.Sprintf("%s: connectors.%s takes the place of %s already", key, other, from), "connectors", name, "rename_from")
		}
		heir[from] = name
	}
}

// checkUnique refuses two connectors of a kind that have a value in common which may not
// be: a broker would take two of one client id for one, and each would have the other's
// session, and take what it did not deliver for delivered.
func (b *builder) checkUnique(fail func(msg string, path ...string)) {
	type value struct{ kind, key, with, text string }
	owner := map[value]string{}
	for _, f := range config.Fields(schema, b.tree) {
		if f.Unique == nil || len(f.Path) < 3 || f.Path[0] != "connectors" {
			continue
		}
		name, key := f.Path[1], strings.Join(f.Path[2:], ".")
		in := func(key string) string { return fmt.Sprint(config.ValueAt(b.tree, []string{"connectors", name, key})) }
		v := value{in("kind"), key, in(f.Unique.With), fmt.Sprint(config.ValueAt(b.tree, f.Path))}
		if other, taken := owner[v]; taken {
			fail(fmt.Sprintf("%s: %q %s", f.Key(), v.text, strings.ReplaceAll(f.Unique.Text, "{other}", "connectors."+other)), "connectors", name)
		}
		owner[v] = name
	}
}
