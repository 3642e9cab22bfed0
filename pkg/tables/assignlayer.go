package tables

import (
	"maps"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// layerField is a field of a group or a gateway of a fleet.
type layerField struct {
	path  []string // from the item on
	table config.Table
	id    string // of the item below that it changes; "": it is a field of the layer's own
	item  map[string]any
}

// layerField finds the field of a layer's item that k names. Tags and labels may have dots
// in them, so what there is decides where they end.
func (k Key) layerField(doc *config.Document, tree map[string]any) (layerField, error) {
	own := config.LayerSelect
	if k.Table == config.Gateways {
		own = config.LayerSuspended
	}
	first, rest := k.Field[0], k.Field[1:]
	switch {
	case first == own && len(rest) == 0:
		return layerField{path: k.Field}, nil
	case first == config.LayerLabels && k.Table == config.Gateways && len(rest) > 0:
		return layerField{path: []string{first, fieldName(rest)}}, nil
	case !slices.Contains(config.Tables(), config.Table(first)):
		also := ""
		if k.Table == config.Gateways {
			also = config.LayerLabels + ".NAME, "
		}
		return layerField{}, usagef("%s: there is no field %s; expected %s%s, or what is different below, such as endpoints.ID.host",
			config.Key(k.Table, k.ID), fieldName(k.Field), also, own)
	}
	f := layerField{table: config.Table(first)}
	items, _ := tree[first].(map[string]any)
	for n := len(rest) - 1; n > 0 && f.id == ""; n-- {
		id := fieldName(rest[:n])
		below := doc.Below(k.Table, f.table, id)
		change, changes := items[id].(map[string]any)
		if below == nil && !changes && !isSettings(f.table, rest[:n]) {
			continue
		}
		f.id, f.path = id, append([]string{first, id}, rest[n:]...)
		f.item, _ = config.Overlay(config.CloneTree(below), config.CloneTree(change)).(map[string]any)
	}
	if f.id == "" {
		id := strings.Join(rest[:min(len(rest), 1)], "")
		return f, Key{Table: f.table, ID: id}.missing(slices.AppendSeq(doc.IDs(f.table), maps.Keys(items)))
	}
	return f, nil
}

// isSettings reports whether the steps name a group of settings, which needs no item below.
func isSettings(t config.Table, steps []string) bool {
	key, err := settingKey(fieldName(steps))
	return t == config.Settings && err == nil && key.Field == nil
}

// assignLayer returns doc with a field of a group or a gateway changed.
func (k Key) assignLayer(doc *config.Document, tree map[string]any, text string) (*config.Document, error) {
	f, err := k.layerField(doc, tree)
	if err != nil {
		return nil, err
	}
	var value any = text
	switch {
	case f.id != "":
		below := Key{Table: f.table, ID: f.id, Field: f.path[2:]}
		if err := below.checkField(f.item); err != nil {
			return nil, err
		}
		if value, err = below.parseValue(f.item, text); err != nil {
			return nil, err
		}
	case text == "null" || text == "~":
		value = nil
	case f.path[0] == config.LayerSuspended:
		value = config.ParseText(&config.Field{Types: []string{"boolean"}}, text)
	}
	if value == nil {
		removeWhole(tree, f.path)
	} else if !config.SetAt(tree, f.path, value) {
		return nil, usagef("%s: %s is not a group of fields", k, fieldName(k.Field[:len(k.Field)-1]))
	}
	return replaceItem(doc, k.Table, k.ID, tree)
}

// removeWhole takes the value at path out of a tree, and the mappings that are empty then.
func removeWhole(tree map[string]any, path []string) {
	for n := len(path); n > 0; n-- {
		if m, isMap := config.ValueAt(tree, path[:n]).(map[string]any); n == len(path) || isMap && len(m) == 0 {
			remove(tree, path[:n])
		}
	}
}
