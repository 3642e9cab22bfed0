package overlay

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// merger puts layers over a document.
type merger struct {
	fleet    *Fleet
	below    *config.Document
	all      []*layer
	delta    config.Delta
	problems []Problem
}

func (m *merger) fail(p config.Place, rule, format string, args ...any) {
	m.problems = append(m.problems, problem(p, rule, format, args...))
}

// item merges what layers change in one item.
func (m *merger) item(t config.Table, id string, layers []*layer) {
	raw, has := m.below.Get(t, id)
	var below map[string]any
	if has {
		below, _ = config.Item{ID: id, JSON: raw}.Tree() // a document's items are JSON
	}
	tree, removed, whole := below, false, true
	for _, l := range layers {
		c := l.find(t, id)
		switch {
		case c == nil:
			continue
		case c.tree == nil && !has:
			m.fail(l.place(t, id), "removes-nothing", "no layer below has the %s %s, so there is nothing to remove", t.Singular(), id)
			whole = false
			continue
		case c.tree == nil:
			removed = true
			continue
		case !has && !m.complete(l, c):
			whole = false
			continue
		case has:
			m.nulls(l, c, nil, below, c.tree)
		}
		tree, _ = config.Overlay(config.CloneTree(tree), config.CloneTree(c.tree)).(map[string]any)
	}
	switch {
	case !whole:
	case removed:
		m.delta.Remove[t] = append(m.delta.Remove[t], id)
	case tree != nil:
		m.put(t, id, tree)
	}
}

// nulls finds what a layer removes and no layer below has.
func (m *merger) nulls(l *layer, c *change, path []string, below any, over map[string]any) {
	from, _ := below.(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(over)) {
		v := over[k]
		at := append(slices.Clone(path), k)
		if _, has := from[k]; v == nil && !has {
			m.fail(l.place(c.table, c.id, at...), "removes-nothing", "%s: no layer below sets it, so there is nothing to remove", strings.Join(at, "."))
		}
		if fields, isMap := v.(map[string]any); isMap && from[k] != nil {
			m.nulls(l, c, at, from[k], fields)
		}
	}
}

// complete reports whether an item that no layer below has is one.
func (m *merger) complete(l *layer, c *change) bool {
	tree, _ := config.Overlay(nil, config.CloneTree(c.tree)).(map[string]any)
	_, findings := c.check(tree)
	errs, _ := findings.Count()
	for _, f := range findings {
		if f.Severity != config.SeverityError {
			continue
		}
		if f.Rule == "missing-key" {
			f.Message = fmt.Sprintf("no layer below has the %s %s, so it must be complete here: %s", c.table.Singular(), c.id, f.Message)
		}
		m.add(f, l.place(c.table, c.id, fieldPath(c.table, c.id, f)...))
	}
	return errs == 0
}

// put checks a merged item and puts it into the result.
func (m *merger) put(t config.Table, id string, tree map[string]any) {
	c := change{t, id, tree}
	form, findings := c.check(tree)
	for _, f := range findings {
		from := m.fleet.origin(m.all, t, id, fieldPath(t, id, f))
		if f.Severity == config.SeverityError || from.Table.IsLayer() { // of the base it was told
			m.add(f, from)
		}
	}
	if form == nil {
		return
	}
	if t == config.Settings && len(tree) == 0 {
		if _, has := m.below.Get(t, id); has {
			m.delta.Remove[t] = append(m.delta.Remove[t], id)
		}
		return
	}
	if m.delta.Put[t] == nil {
		m.delta.Put[t] = map[string]json.RawMessage{}
	}
	m.delta.Put[t][id] = form
}

func (m *merger) add(f config.Finding, p config.Place) {
	m.problems = append(m.problems, Problem{Finding: f, Place: p})
}

// check holds an item to its schema.
func (c *change) check(tree map[string]any) ([]byte, config.Findings) {
	if field := c.table.IDField(); field != "" && tree[field] == nil {
		tree[field] = c.id
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		panic("overlay: " + err.Error()) // it came from JSON
	}
	return c.table.Check(c.id, raw)
}

// fieldPath is the path of a finding about an item.
func fieldPath(t config.Table, id string, f config.Finding) []string {
	field, ok := strings.CutPrefix(f.Key, config.Key(t, id)+"/")
	if missing, is := strings.CutPrefix(f.Message, "key "); is && f.Rule == "missing-key" {
		field, ok = strings.CutSuffix(missing, " is missing")
	}
	if !ok {
		return nil
	}
	return strings.Split(field, ".")
}

// findConflicts finds, for each variant, what two of its groups set differently.
func (f *Fleet) findConflicts() {
	type pair struct{ a, b *layer }
	known := make(map[pair][]Problem)
	for _, v := range f.Variants() {
		for i, a := range v.groups {
			for _, b := range v.groups[i+1:] {
				p := pair{a, b}
				list, looked := known[p]
				if !looked {
					list = conflicts(a, b)
					known[p] = list
				}
				v.Problems = append(v.Problems, list...)
			}
		}
	}
}

// conflicts lists what two groups set differently.
func conflicts(a, b *layer) []Problem {
	var out []Problem
	for _, c := range a.changes {
		other := b.find(c.table, c.id)
		if other == nil {
			continue
		}
		for _, path := range differing(nil, asAny(c.tree), asAny(other.tree)) {
			also := a.place(c.table, c.id, path...)
			what := fmt.Sprintf("%s %s", c.table.Singular(), c.id)
			if len(path) > 0 {
				what = strings.Join(path, ".")
			}
			p := problem(b.place(c.table, c.id, path...), "group-conflict",
				"%s: the group %s says something else of it, and has the same gateways: set it in one of the two, or in the gateways", what, a.id)
			p.Also = &also
			out = append(out, p)
		}
	}
	return out
}

// asAny makes a nil tree a nil value.
func asAny(tree map[string]any) any {
	if tree == nil {
		return nil
	}
	return tree
}

// differing lists the paths where two values can't both hold. Mappings can, as far as
// their fields can.
func differing(path []string, a, b any) [][]string {
	x, xMap := a.(map[string]any)
	y, yMap := b.(map[string]any)
	if !xMap || !yMap {
		if reflect.DeepEqual(a, b) {
			return nil
		}
		return [][]string{path}
	}
	var out [][]string
	for _, k := range slices.Sorted(maps.Keys(x)) {
		if v, both := y[k]; both {
			out = append(out, differing(append(slices.Clone(path), k), x[k], v)...)
		}
	}
	return out
}
