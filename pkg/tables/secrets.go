package tables

import (
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// hidden is shown in place of a secret that stands literally in a table.
const hidden = "(secret)"

// isReference reports whether a value only says where the secret is.
func isReference(v any) bool {
	s, ok := v.(string)
	return v == nil || ok && strings.HasPrefix(s, "${")
}

// secretPaths lists the fields of an item that hold secrets.
func secretPaths(t config.Table, id string, item map[string]any) [][]string {
	if t == config.Variables {
		return nil // they have none
	}
	if t.IsLayer() {
		return layerSecrets(nil, item)
	}
	var out [][]string
	for _, f := range config.Fields(string(t), map[string]any{id: item}) {
		if f.Secret && !f.LiteralOK && len(f.Path) > 1 && f.Path[0] == id {
			out = append(out, f.Path[1:])
		}
	}
	return out
}

// layerSecrets lists the fields of a layer's item that may hold secrets: those that are
// called like one, since only the item below says what it is.
func layerSecrets(path []string, item map[string]any) [][]string {
	var out [][]string
	for name, v := range item {
		at := append(slices.Clone(path), name)
		if fields, isMap := v.(map[string]any); isMap {
			out = append(out, layerSecrets(at, fields)...)
		} else if slices.Contains(config.SecretNames(), name) {
			out = append(out, at)
		}
	}
	return out
}

// withoutSecrets replaces the literal secrets of an item, which it takes over.
func withoutSecrets(t config.Table, id string, item map[string]any) map[string]any {
	for _, path := range secretPaths(t, id, item) {
		if v := config.ValueAt(item, path); !isReference(v) {
			config.SetAt(item, path, hidden)
		}
	}
	return item
}

// hideSecrets returns the changed fields of an item, literal secrets replaced. The
// item's schema is told by the whole of it, before and after.
func hideSecrets(t config.Table, c config.Change, old, new map[string]any) []config.FieldChange {
	secret := append(secretPaths(t, c.ID, old), secretPaths(t, c.ID, new)...)
	if len(secret) == 0 {
		return c.Fields
	}
	out := slices.Clone(c.Fields)
	for i, f := range out {
		for _, path := range secret {
			if f.Path != fieldName(path) {
				continue
			}
			if !isReference(f.Old) {
				out[i].Old = hidden
			}
			if !isReference(f.New) {
				out[i].New = hidden
			}
		}
	}
	return out
}

// itemTree returns an item as plain values; nil if there is none.
func itemTree(doc *config.Document, t config.Table, id string) map[string]any {
	raw, ok := doc.Get(t, id)
	if !ok {
		return nil
	}
	tree, err := config.Item{ID: id, JSON: raw}.Tree()
	if err != nil {
		return nil // an item that is no mapping has no fields
	}
	return tree
}
