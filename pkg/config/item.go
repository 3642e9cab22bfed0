package config

import (
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"
)

// itemRoot returns the schema of one item of a table.
func itemRoot(t Table, id string, item any) []schemaAt {
	if t == Variables {
		return namedSchema(itemSchema).expand(item)
	}
	table := namedSchema(t.Schema()).expand(map[string]any{id: item})
	return property(table, id, item)
}

// ItemFields lists the fields of one item as [Fields] does; their paths begin below
// the item.
func ItemFields(t Table, id string, item map[string]any) []Field {
	var out []Field
	walkFields(itemRoot(t, id, item), nil, item, &out)
	return out
}

// ItemTree reads one item of a table's file as the tables are read: every scalar is
// what its field wants. Nothing else is checked.
func ItemTree(t Table, id string, n *yaml.Node) (map[string]any, error) {
	b := newTreeBuilder("")
	tree := b.build(n, 0, false)
	if m, ok := tree.(map[string]any); ok && t == Variables && len(b.findings) == 0 && typedFast(m, "") {
		return m, nil
	}
	var types typer
	m, ok := types.value(itemRoot(t, id, tree), tree, nil).(map[string]any)
	for _, v := range types.violations {
		b.findings = append(b.findings, v.finding(t, append([]string{id}, v.path...)))
	}
	if err := b.findings.Err(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%s: expected a mapping", keyOf(t, []string{id}))
	}
	return m, nil
}

// RawItems reads the items of a table's file by their ids, with every scalar as
// its field wants it and nothing else checked: for those who push what is wrong on
// purpose.
func RawItems(t Table, path string) (map[string]map[string]any, error) {
	src, err := ReadTable(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if found := conflictMarks(path, src); found != nil {
		return nil, found // nobody can tell which side is meant
	}
	root, err := parseYAML(path, src)
	if err != nil || root == nil {
		return nil, err
	}
	items := make(map[string]map[string]any)
	add := func(id string, n *yaml.Node) error {
		if _, taken := items[id]; taken || id == "" {
			return errors.New("it has no name, or another item's name; --force does not help")
		}
		items[id], err = ItemTree(t, id, n)
		return err
	}
	switch {
	case t == Variables && root.Kind == yaml.SequenceNode:
		for i, n := range root.Content {
			id := ""
			if _, tag := child(n, "tag"); tag != nil && tag.Kind == yaml.ScalarNode {
				id = tag.Value
			}
			if err := add(id, n); err != nil {
				return nil, fmt.Errorf("%s: variable %d: %w", path, i+1, err)
			}
		}
	case t != Variables && root.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(root.Content); i += 2 {
			if err := add(root.Content[i].Value, root.Content[i+1]); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
	default:
		return nil, fmt.Errorf("%s: expected the items of %s", path, t)
	}
	return items, nil
}

// ParseValue reads a value without a schema, as YAML has it in a file: a number, true
// or false, a list, a mapping, text. Nothing is nil.
func ParseValue(text string) (any, error) {
	root, err := parseYAML("", []byte(text))
	if err != nil || root == nil {
		return nil, err
	}
	b := newTreeBuilder("")
	var types typer
	tree := types.typed(schemaAt{}, b.build(root, 0, false))
	for _, v := range types.violations {
		b.findings = append(b.findings, v.finding("", v.path))
	}
	return tree, b.findings.Err()
}
