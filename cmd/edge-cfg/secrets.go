package main

import (
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
	var out [][]string
	for _, f := range config.Fields(string(t), map[string]any{id: item}) {
		if f.Secret && !f.LiteralOK && len(f.Path) > 1 && f.Path[0] == id {
			out = append(out, f.Path[1:])
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

// hideSecrets returns the changed fields of an item, literal secrets replaced.
func hideSecrets(t config.Table, c config.Change) []config.FieldChange {
	if t == config.Variables {
		return c.Fields
	}
	out := make([]config.FieldChange, len(c.Fields))
	for i, f := range c.Fields {
		f.Old, f.New = hideSecret(t, c.ID, f.Path, f.Old), hideSecret(t, c.ID, f.Path, f.New)
		out[i] = f
	}
	return out
}

func hideSecret(t config.Table, id, field string, v any) any {
	if v == nil {
		return nil
	}
	path := strings.Split(field, ".")
	item := map[string]any{}
	config.SetAt(item, path, config.CloneTree(v))
	return config.ValueAt(withoutSecrets(t, id, item), path)
}
