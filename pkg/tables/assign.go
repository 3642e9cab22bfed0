package tables

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// ParseAssignment reads "bus.wal_flush_ms 20" and "variables/TAG scale=…".
func ParseAssignment(keyText, text string) (Key, string, error) {
	key, err := ParseKey(keyText)
	if err != nil {
		return key, "", err
	}
	if key.ID == "" {
		return key, "", usagef("key %q: expected TABLE/ID FIELD=VALUE, or a setting and its value", keyText)
	}
	if key.Field != nil {
		return key, text, nil
	}
	field, value, ok := strings.Cut(text, "=")
	if !ok || field == "" {
		return key, "", usagef("%s: expected FIELD=VALUE for an item of %s", keyText, key.Table) // text may be a password
	}
	key.Field = strings.Split(field, ".")
	return key, value, nil
}

// Assign returns doc with the field changed. The error may be a config.Findings.
func (k Key) Assign(doc *config.Document, text string) (*config.Document, error) {
	tree := map[string]any{}
	raw, ok := doc.Get(k.Table, k.ID)
	switch {
	case ok:
		var err error
		if tree, err = (config.Item{ID: k.ID, JSON: raw}).Tree(); err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
	case k.Table != config.Settings:
		return nil, k.missing(doc.IDs(k.Table))
	}
	if k.Table.IsLayer() {
		return k.assignLayer(doc, tree, text)
	}
	if err := k.checkField(tree); err != nil {
		return nil, err
	}
	value, err := k.parseValue(tree, text)
	if err != nil {
		return nil, err
	}
	if value == nil {
		remove(tree, k.Field)
	} else if !config.SetAt(tree, k.Field, value) {
		return nil, usagef("%s: %s is not a group of fields", k, fieldName(k.Field[:len(k.Field)-1]))
	}
	return replaceItem(doc, k.Table, k.ID, tree)
}

// parseValue reads a value as the tables are read: text as it stands where the field
// wants text, otherwise a number, true or false. null is nothing.
func (k Key) parseValue(item map[string]any, text string) (any, error) {
	switch text {
	case "null", "~":
		return nil, nil
	case "":
		return "", nil
	}
	structured := text[0] == '[' || text[0] == '{'
	for _, f := range k.fields(item) {
		if fieldName(f.Path) == fieldName(k.Field) && !(structured && slices.Contains(f.Types, "array")) {
			return config.ParseText(&f, text), nil
		}
	}
	value, err := config.ParseValue(text)
	if _, isText := value.(string); isText || err != nil && !structured && strings.ContainsAny(text, ":#&*!|>%@`\"'") {
		return text, nil // "value: 10" and such, as it stands: quotes are the shell's matter
	}
	return value, err
}

// remove takes the value at path out of a tree.
func remove(tree map[string]any, path []string) {
	parent := tree
	if len(path) > 1 {
		parent, _ = config.ValueAt(tree, path[:len(path)-1]).(map[string]any)
	}
	delete(parent, path[len(path)-1])
}

// replaceItem returns doc with an item replaced, or removed if nothing is left of
// a group of settings.
func replaceItem(doc *config.Document, t config.Table, id string, tree map[string]any) (*config.Document, error) {
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", config.Key(t, id), err)
	}
	if raw, err = t.Canonical(id, raw); err != nil {
		return nil, err
	}
	delta := &config.Delta{Put: map[config.Table]map[string]json.RawMessage{t: {id: raw}}}
	if _, there := doc.Get(t, id); t == config.Settings && len(tree) == 0 {
		if !there {
			return doc, nil
		}
		delta = &config.Delta{Remove: map[config.Table][]string{t: {id}}}
	}
	return delta.Apply(doc)
}

// fieldName is a field as it is written: "cfg.polling".
func fieldName(path []string) string { return strings.Join(path, ".") }
