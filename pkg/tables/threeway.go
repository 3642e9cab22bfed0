package tables

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// merged is what two changes of one table make together. Its documents are the same but
// for what conflicts, which each has as its own side wants it.
type merged struct {
	local, theirs *config.Document
	conflicts     map[string][]string // fields, by item; none: the item as a whole
}

// mergeDocuments merges the changes that lead from base to local and to theirs: by item,
// and by field where both changed one.
func mergeDocuments(t config.Table, base, local, theirs *config.Document) (*merged, error) {
	ours := map[string]config.ItemChange{}
	for _, c := range config.CompareItems(t, base.Items(t), local.Items(t)) {
		ours[c.ID] = c
	}
	m := &merged{conflicts: map[string][]string{}}
	mine, others := map[string][]byte{}, map[string][]byte{} // instead of what theirs has; nil: it is removed
	for id, c := range ours {
		mine[id], others[id] = c.New, c.New
	}
	for _, c := range config.CompareItems(t, base.Items(t), theirs.Items(t)) {
		our, both := ours[c.ID]
		if !both {
			continue
		}
		var fields []string
		mine[c.ID], others[c.ID], fields = mergeItem(t, c.ID, c.Old, our.New, c.New)
		if string(mine[c.ID]) != string(others[c.ID]) {
			m.conflicts[c.ID] = fields
		}
	}
	var err error
	if m.local, err = override(t, theirs, mine); err != nil {
		return nil, err
	}
	if m.theirs = m.local; len(m.conflicts) > 0 {
		m.theirs, err = override(t, theirs, others)
	}
	return m, err
}

// override returns the table of doc with other items; nil removes one.
func override(t config.Table, doc *config.Document, with map[string][]byte) (*config.Document, error) {
	items := make([]config.Item, 0, len(doc.Items(t))+len(with))
	for _, it := range doc.Items(t) {
		if _, replaced := with[it.ID]; !replaced {
			items = append(items, it)
		}
	}
	for id, raw := range with {
		if raw != nil {
			items = append(items, config.Item{ID: id, JSON: raw})
		}
	}
	return config.NewDocument(map[config.Table][]config.Item{t: items})
}

// mergeItem merges two changes of one item. Where they can't be, the results differ, and
// fields are those in which they do.
func mergeItem(t config.Table, id string, base, local, theirs []byte) (mine, others []byte, fields []string) {
	if string(local) == string(theirs) || local == nil || theirs == nil {
		return local, theirs, nil
	}
	trees := [3]map[string]any{{}, {}, {}}
	for i, raw := range [][]byte{base, local, theirs} {
		if raw == nil {
			continue
		}
		var err error
		if trees[i], err = (config.Item{ID: id, JSON: raw}).Tree(); err != nil {
			return local, theirs, nil
		}
	}
	var m fieldMerge
	mineTree, othersTree := m.mapping("", trees[0], trees[1], trees[2])
	mine, err := canonicalTree(t, id, mineTree)
	if err == nil {
		others, err = canonicalTree(t, id, othersTree)
	}
	if err != nil {
		return local, theirs, nil // each is right by itself, and together they are not
	}
	return mine, others, m.conflicts
}

func canonicalTree(t config.Table, id string, tree map[string]any) ([]byte, error) {
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", config.Key(t, id), err)
	}
	return t.Canonical(id, raw)
}

// fieldMerge merges trees, and notes the fields in which both sides changed.
type fieldMerge struct{ conflicts []string }

// mapping merges two changes of one mapping. The results differ in what conflicts.
func (m *fieldMerge) mapping(path string, base, local, theirs map[string]any) (mine, others map[string]any) {
	mine, others = map[string]any{}, map[string]any{}
	keys := slices.Sorted(maps.Keys(local))
	for k := range theirs {
		if _, both := local[k]; !both {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		a, b := m.value(join(path, k), base[k], local[k], theirs[k])
		if a != nil {
			mine[k] = a
		}
		if b != nil {
			others[k] = b
		}
	}
	return mine, others
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// value merges two changes of one value; nil: there is none.
func (m *fieldMerge) value(path string, base, local, theirs any) (mine, others any) {
	switch {
	case reflect.DeepEqual(local, theirs), reflect.DeepEqual(base, theirs):
		return local, local
	case reflect.DeepEqual(base, local):
		return theirs, theirs
	}
	was, _ := base.(map[string]any)
	a, aMap := local.(map[string]any)
	b, bMap := theirs.(map[string]any)
	if aMap && bMap && !isOneThing(path) {
		return m.mapping(path, was, a, b)
	}
	m.conflicts = append(m.conflicts, path)
	return local, theirs
}

// isOneThing reports whether a mapping is one value: half of an address from here and half
// from there is a third place in the device.
func isOneThing(path string) bool {
	return path == "address" || path == "verify_address" || path == "block"
}
