package config

import (
	"maps"
	"slices"
	"strings"
)

// LayerSelect, LayerLabels and LayerSuspended are the fields of a layer's item that are
// no tables.
const (
	LayerSelect    = "select"
	LayerLabels    = "labels"
	LayerSuspended = "suspended"
)

// layeredFinding says that a fleet's tables are no gateway's.
var layeredFinding = Finding{Severity: SeverityError, Rule: "fleet",
	Message: "these are the tables of a fleet (groups.yml, gateways.yml), which no gateway runs as they are: 'edge-cfg render DIR --gateway ID --into DIR' writes those of one gateway"}

// layer returns where the snapshot has the items of a layer.
func (s *Snapshot) layer(t Table) *map[string]map[string]any {
	if t == Groups {
		return &s.groups
	}
	return &s.gateways
}

// layerRows are the items of a layer: fields of their own, and by table and id what they
// change in the items below.
type layerRows struct{ mapRows[map[string]any] }

// layerItem is what an item of a layer changes in an item below. Which types its scalars
// have is known once all tables are read.
type layerItem struct {
	layer Table
	owner string // id in the layer
	table Table
	id    string
	tree  map[string]any
	into  map[string]any // the table of the owner, to put it in
	doc   *document
}

// readFile implements [rows].
func (l layerRows) readFile(r *reader, doc *document) {
	items, _ := doc.tree.(map[string]any)
	for _, owner := range slices.Sorted(maps.Keys(items)) {
		fields, _ := items[owner].(map[string]any)
		for _, t := range Tables() {
			table, _ := fields[string(t)].(map[string]any)
			for _, id := range slices.Sorted(maps.Keys(table)) {
				if tree, ok := table[id].(map[string]any); ok {
					r.layers = append(r.layers, layerItem{l.table, owner, t, id, tree, table, doc})
					table[id] = map[string]any{} // no schema knows it alone
				}
			}
		}
	}
	l.mapRows.readFile(r, doc)
}

// typeLayers types what layers change as the fields of the items below are: those of the
// base, or else of the first group that has the item.
func (r *reader) typeLayers() {
	type key struct {
		t  Table
		id string
	}
	slices.SortStableFunc(r.layers, func(a, b layerItem) int { return a.layer.Index() - b.layer.Index() })
	below := make(map[key]map[string]any)
	for _, l := range r.layers {
		k := key{l.table, l.id}
		if _, looked := below[k]; !looked {
			if form := l.table.rows().form(&r.snap, l.id); form != nil {
				tree, _ := parseJSON(form) // which is JSON
				below[k], _ = tree.(map[string]any)
			} else {
				below[k] = r.below.Below(l.layer, l.table, l.id)
			}
		}
		merged, _ := Overlay(CloneTree(below[k]), l.tree).(map[string]any)
		var types typer
		types.value(itemRoot(l.table, l.id, merged), merged, nil)
		for _, v := range types.violations {
			r.add(l.place(v.finding("", nil), v))
		}
		for _, v := range types.old {
			r.add(l.place(v.warning("", nil), v))
		}
		typed, _ := pick(l.tree, merged).(map[string]any)
		l.into[l.id] = typed
		if below[k] == nil && l.layer == Groups {
			below[k] = typed
		}
	}
}

// Below returns an item as it is below a layer: that of the base, or else of the first group
// that has it. Nil if there is none.
func (d *Document) Below(layer, t Table, id string) map[string]any {
	if d == nil {
		return nil
	}
	if raw, ok := d.Get(t, id); ok {
		tree, _ := Item{ID: id, JSON: raw}.Tree() // a document's items are JSON
		return tree
	}
	for _, g := range d.Items(Groups) {
		if layer == Groups {
			break
		}
		tree, _ := g.Tree()
		items, _ := tree[string(t)].(map[string]any)
		if fields, _ := items[id].(map[string]any); fields != nil {
			return fields
		}
	}
	return nil
}

// place gives a finding the place of a violation in the layer's file.
func (l *layerItem) place(f Finding, v violation) Finding {
	path := append([]string{l.owner, string(l.table), l.id}, v.path...)
	f.Key = keyOf(l.layer, path)
	if len(v.path) > 0 && !v.onKey {
		f.Message = strings.Join(v.path, ".") + ": " + f.Message
	}
	return f.At(l.doc.pos(path, v.onKey))
}

// Overlay returns what a value becomes with a layer over it: mappings are merged by their
// keys, null removes, and anything else replaces what is there, lists as a whole. It
// changes below, and shares parts of over.
func Overlay(below, over any) any {
	changes, ok := over.(map[string]any)
	if !ok {
		return over
	}
	into, ok := below.(map[string]any)
	if !ok || into == nil {
		into = make(map[string]any, len(changes))
	}
	for k, v := range changes {
		if v == nil {
			delete(into, k)
			continue
		}
		into[k] = Overlay(into[k], v)
	}
	return into
}

// pick returns the values of a tree that a layer sets.
func pick(layer, tree any) any {
	fields, ok := layer.(map[string]any)
	if !ok {
		return tree
	}
	from, _ := tree.(map[string]any)
	out := make(map[string]any, len(fields))
	for k, v := range fields {
		if v == nil {
			out[k] = nil
			continue
		}
		out[k] = pick(v, from[k])
	}
	return out
}

// Layered reports whether the source has layers, good or bad.
func (s *Source) Layered() bool {
	if s == nil {
		return false
	}
	for _, t := range []Table{Groups, Gateways} {
		for _, d := range s.docs[t] {
			if items, _ := d.tree.(map[string]any); d.broken || len(items) > 0 {
				return true
			}
		}
	}
	return false
}

// Place is where a field of a rendered item comes from.
type Place struct {
	Table Table
	ID    string
	Path  []string
}

// Rendered returns the source of a document that is rendered from this one's tables and
// layers, which must be without errors. origin tells where a field of it comes from.
func (s *Source) Rendered(origin func(t Table, id string, path []string) Place) *Source {
	if s == nil {
		return nil
	}
	return &Source{docs: s.docs, origin: origin}
}

// Locate gives findings the places of their keys, those that name an item of a table that
// was read.
func (s *Source) Locate(findings Findings) {
	for i, f := range findings {
		table, key, _ := strings.Cut(f.Key, "/")
		id, field, _ := strings.Cut(key, "/")
		var path []string
		if field != "" {
			path = strings.Split(field, ".")
		}
		if t := Table(table); s.Has(t) {
			findings[i] = f.At(s.Pos(t, id, path...))
		}
	}
}
