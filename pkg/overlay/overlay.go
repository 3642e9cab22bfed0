// Package overlay renders what each gateway of a fleet runs, from one document with
// layers: a base that all share, what groups of gateways have different, and what single
// gateways have different.
//
// A layer changes the items below it: mappings are merged field by field, null removes a
// field or an item, and a list is replaced as a whole. An item that no layer below has
// must be complete. Groups have no order. Two groups of one gateway that set a field
// differently, a field and its ancestor, or null and a value, are an error: so what a
// gateway runs doesn't depend on names.
//
// Gateways of the same groups share a variant, which is the base with these groups over
// it, made once. What a gateway runs is its variant with its own layer over it. Every
// field of it has an origin, the topmost layer that sets it: that is where findings about
// the field belong.
package overlay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/selector"
)

// Fleet is a document with layers, ready to render. It is immutable; its methods may be
// called at the same time.
type Fleet struct {
	base     *config.Document
	groups   []*group
	gateways map[string]*gateway
	variants map[string]*Variant // by the ids of their groups
}

// layer is what an item of a layer's table changes.
type layer struct {
	table   config.Table
	id      string
	changes []change // by table and id
}

// change is what a layer does to an item. A nil tree removes it.
type change struct {
	table config.Table
	id    string
	tree  map[string]any
}

func (c *change) compare(t config.Table, id string) int {
	return cmp.Or(c.table.Index()-t.Index(), cmp.Compare(c.id, id))
}

// find returns the change of an item, nil if there is none.
func (l *layer) find(t config.Table, id string) *change {
	i, ok := slices.BinarySearchFunc(l.changes, id, func(c change, id string) int { return c.compare(t, id) })
	if !ok {
		return nil
	}
	return &l.changes[i]
}

// place is where the layer sets a field.
func (l *layer) place(t config.Table, id string, path ...string) config.Place {
	return config.Place{Table: l.table, ID: l.id, Path: append([]string{string(t), id}, path...)}
}

type group struct {
	layer
	selects selector.Selector
}

type gateway struct {
	layer
	text      json.RawMessage // its item
	labels    map[string]string
	suspended bool
	variant   *Variant
}

// Variant is the base with one combination of groups over it.
type Variant struct {
	Groups   []string // ids, sorted
	Doc      *config.Document
	Problems []Problem
	groups   []*layer
}

// Problem is something that is wrong with the layers: a finding whose place in the files
// is not known here.
type Problem struct {
	config.Finding
	Place config.Place
	Also  *config.Place // another place that is part of it
}

func problem(p config.Place, rule, format string, args ...any) Problem {
	return Problem{Finding: config.Finding{Severity: config.SeverityError, Rule: rule, Message: fmt.Sprintf(format, args...)}, Place: p}
}

// New reads the layers of a document. The problems are those of groups that no gateway
// shows, such as a selector that matches nobody; rendering tells the others.
func New(doc *config.Document) (*Fleet, []Problem) {
	f := &Fleet{base: doc.Base(), gateways: map[string]*gateway{}, variants: map[string]*Variant{}}
	var problems []Problem
	for _, it := range doc.Items(config.Groups) {
		tree, l := readLayer(config.Groups, it)
		g := &group{layer: l}
		text, _ := tree[config.LayerSelect].(string)
		var err error
		if g.selects, err = selector.Parse(text); err != nil {
			problems = append(problems, g.selectProblem(err.Error()))
		}
		f.groups = append(f.groups, g)
	}
	matched := make(map[*group]bool)
	for _, it := range doc.Items(config.Gateways) {
		g := readGateway(it)
		var groups []*layer
		for _, grp := range f.groups {
			if grp.selects.Matches(g.labels) {
				groups, matched[grp] = append(groups, &grp.layer), true
			}
		}
		g.variant = f.variant(groups)
		f.gateways[it.ID] = g
	}
	for _, g := range f.groups {
		if !matched[g] && g.selects.String() != "" {
			problems = append(problems, g.selectProblem(fmt.Sprintf("%s matches none of the %d gateways", g.selects, len(f.gateways))))
		}
	}
	f.findConflicts()
	return f, problems
}

func (g *group) selectProblem(text string) Problem {
	return problem(config.Place{Table: config.Groups, ID: g.id, Path: []string{config.LayerSelect}}, "selector", "select: %s", text)
}

func readGateway(it config.Item) *gateway {
	tree, l := readLayer(config.Gateways, it)
	g := &gateway{layer: l, text: it.JSON, labels: map[string]string{}}
	labels, _ := tree[config.LayerLabels].(map[string]any)
	for k, v := range labels {
		g.labels[k], _ = v.(string)
	}
	g.suspended, _ = tree[config.LayerSuspended].(bool)
	return g
}

// readLayer reads an item of a layer's table. Whoever made the document has checked it.
func readLayer(t config.Table, it config.Item) (map[string]any, layer) {
	l := layer{table: t, id: it.ID}
	tree, _ := it.Tree() // a document's items are JSON
	for _, below := range config.Tables() {
		items, _ := tree[string(below)].(map[string]any)
		for _, id := range slices.Sorted(maps.Keys(items)) {
			fields, _ := items[id].(map[string]any)
			l.changes = append(l.changes, change{below, id, fields})
		}
	}
	return tree, l
}

// variant returns the variant of groups, which are sorted by id.
func (f *Fleet) variant(groups []*layer) *Variant {
	ids := make([]string, len(groups))
	for i, g := range groups {
		ids[i] = g.id
	}
	key := strings.Join(ids, " ")
	v := f.variants[key]
	if v == nil {
		v = &Variant{Groups: ids, groups: groups}
		v.Doc, v.Problems = f.over(f.base, groups, groups)
		f.variants[key] = v
	}
	return v
}

// Gateways lists the ids of all gateways, sorted.
func (f *Fleet) Gateways() []string { return slices.Sorted(maps.Keys(f.gateways)) }

// Labels returns the labels of a gateway, nil if there is none of that name.
func (f *Fleet) Labels(id string) map[string]string {
	if g := f.gateways[id]; g != nil {
		return g.labels
	}
	return nil
}

// Variants lists the variants that gateways have, sorted by their groups.
func (f *Fleet) Variants() []*Variant {
	out := make([]*Variant, 0, len(f.variants))
	for _, key := range slices.Sorted(maps.Keys(f.variants)) {
		out = append(out, f.variants[key])
	}
	return out
}

// Alike reports whether a gateway runs the same in another fleet, where that can be told
// without rendering it: its item is the same, over the same variant.
func (f *Fleet) Alike(other *Fleet, id string) bool {
	a, b := f.gateways[id], other.gateways[id]
	return a != nil && b != nil && bytes.Equal(a.text, b.text) && a.variant.Doc.SHA256() == b.variant.Doc.SHA256()
}

// Base returns the document without layers.
func (f *Fleet) Base() *config.Document { return f.base }

// Rendered is what is rendered for one gateway.
type Rendered struct {
	Gateway string
	Variant *Variant
	// Suspended: the gateway may run nothing, whatever Doc says.
	Suspended bool
	// Own: the gateway has a layer of its own. Without one, Doc is its variant's.
	Own      bool
	Doc      *config.Document
	Problems []Problem // of the variant, and of the gateway's own layer

	fleet  *Fleet
	layers []*layer // from the bottom to the top
}

// Render renders one gateway. It is an error if there is none of that id; what is wrong
// with its layers is in the result.
func (f *Fleet) Render(id string) (*Rendered, error) {
	g := f.gateways[id]
	if g == nil {
		text := fmt.Sprintf("there is no gateway %s in %s", id, config.Gateways.FileName())
		if near := config.Nearest(id, f.Gateways()); near != "" {
			text += "; did you mean " + near + "?"
		}
		return nil, fmt.Errorf("%s", text)
	}
	r := &Rendered{Gateway: id, Variant: g.variant, Suspended: g.suspended, Doc: g.variant.Doc, Problems: g.variant.Problems,
		fleet: f, layers: g.variant.groups}
	if len(g.changes) > 0 {
		var own []Problem
		r.Own, r.layers = true, append(slices.Clone(r.layers), &g.layer)
		r.Doc, own = f.over(r.Doc, []*layer{&g.layer}, r.layers)
		r.Problems = append(slices.Clone(r.Problems), own...)
	}
	return r, nil
}

// Runs returns what the gateway runs: nothing while it is suspended.
func (r *Rendered) Runs() *config.Document {
	if r.Suspended {
		return config.EmptyDocument()
	}
	return r.Doc
}

// Origin returns the topmost layer that sets a field, or the lowest that has an item.
func (r *Rendered) Origin(t config.Table, id string, path []string) config.Place {
	return r.fleet.origin(r.layers, t, id, path)
}

// origin is [Rendered.Origin] for some layers over the base.
func (f *Fleet) origin(layers []*layer, t config.Table, id string, path []string) config.Place {
	lowest := config.Place{Table: t, ID: id, Path: path}
	_, found := f.base.Get(t, id)
	for i := len(layers) - 1; i >= 0 && len(path) > 0; i-- {
		if c := layers[i].find(t, id); c != nil && c.sets(path) {
			return layers[i].place(t, id, path...)
		}
	}
	for _, l := range layers {
		if c := l.find(t, id); c != nil && !found {
			return l.place(t, id, path...)
		}
	}
	return lowest
}

// sets reports whether the change says what is at path: with a value or null there, or
// above it.
func (c *change) sets(path []string) bool {
	var at any = c.tree
	if c.tree == nil {
		return true
	}
	for _, step := range path {
		m, isMap := at.(map[string]any)
		if !isMap {
			return true
		}
		next, has := m[step]
		if !has {
			return false
		}
		at = next
	}
	_, isMap := at.(map[string]any)
	return !isMap
}

// over returns below with layers over it, which have no order among them. all are the
// layers that are merged then, these included.
func (f *Fleet) over(below *config.Document, layers, all []*layer) (*config.Document, []Problem) {
	m := merger{fleet: f, below: below, all: all, delta: config.Delta{
		Put: map[config.Table]map[string]json.RawMessage{}, Remove: map[config.Table][]string{}}}
	merged := make(map[config.Table]map[string]bool)
	for _, l := range layers {
		for i := range l.changes {
			c := &l.changes[i]
			if merged[c.table][c.id] {
				continue // with the layer before
			}
			if len(layers) > 1 {
				if merged[c.table] == nil {
					merged[c.table] = map[string]bool{}
				}
				merged[c.table][c.id] = true
			}
			m.item(c.table, c.id, layers)
		}
	}
	doc, err := m.delta.Apply(below)
	if err != nil {
		panic("overlay: " + err.Error()) // the delta puts checked items, and removes what is there
	}
	return doc, m.problems
}
