package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

func newSet() *cobra.Command {
	var flags pushFlags
	cmd := &cobra.Command{
		Use:   "set KEY [FIELD=]VALUE",
		Short: "Change one setting, or one field of one item",
		Long: `set changes a setting (bus.wal_flush_ms 20), or a field of an item
(variables/TAG scale="value / 10"), and pushes that at once, without a question.
The result is linted as a whole first.

The value null takes a field away: a setting then has the value of gateway.yml again.

The files that the tables were pushed from don't change; 'edge-cfg pull' brings it
to them.`,
		Example: `  edge-cfg set bus.wal_flush_ms 20
  edge-cfg set variables/plant.flow scale="value / 10" -m "new flow meter"
  edge-cfg set drivers/press-4 cfg.polling=500ms --wait`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, value, err := parseSet(args[0], args[1])
			if err != nil {
				return err
			}
			flags.yes, flags.allow = true, "all"
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				head, err := s.Load(ctx)
				if err != nil {
					return err
				}
				doc, err := key.assign(head.Document(), value)
				var findings config.Findings
				if errors.As(err, &findings) {
					return reportFindings(cmd, findings)
				}
				if err != nil {
					return err
				}
				if err := checkDocument(cmd, doc); err != nil {
					return err
				}
				if flags.message == "" {
					flags.message = fmt.Sprintf("set %s", key)
				}
				_, err = commitDocument(ctx, cmd, s, change{head: head, doc: doc}, &flags)
				return err
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// parseSet reads "bus.wal_flush_ms 20" and "variables/TAG scale=…".
func parseSet(keyText, text string) (itemKey, string, error) {
	key, err := parseKey(keyText)
	if err != nil {
		return key, "", err
	}
	if key.id == "" {
		return key, "", cli.Usagef("key %q: expected TABLE/ID FIELD=VALUE, or a setting and its value", keyText)
	}
	if key.field != nil {
		return key, text, nil
	}
	field, value, ok := strings.Cut(text, "=")
	if !ok || field == "" {
		return key, "", cli.Usagef("%s: expected FIELD=VALUE for an item of %s", keyText, key.table) // text may be a password
	}
	key.field = strings.Split(field, ".")
	return key, value, nil
}

// assign returns doc with the field changed. The error may be a config.Findings.
func (k itemKey) assign(doc *config.Document, text string) (*config.Document, error) {
	tree := map[string]any{}
	raw, ok := doc.Get(k.table, k.id)
	switch {
	case ok:
		var err error
		if tree, err = plainTree(raw); err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
	case k.table != config.Settings:
		_, err := shownItem(doc, k.table, k.id)
		return nil, err
	}
	if err := k.checkField(tree); err != nil {
		return nil, err
	}
	value, err := k.parseValue(tree, text)
	if err != nil {
		return nil, err
	}
	if value == nil {
		remove(tree, k.field)
	} else if !config.SetAt(tree, k.field, value) {
		return nil, cli.Usagef("%s: %s is no group of fields", k, fieldName(k.field[:len(k.field)-1]))
	}
	return replaceItem(doc, k.table, k.id, tree)
}

// parseValue reads a value as the tables are read: text as it stands where the field
// wants text, otherwise a number, true or false. null is nothing.
func (k itemKey) parseValue(item map[string]any, text string) (any, error) {
	switch text {
	case "null", "~":
		return nil, nil
	case "":
		return "", nil
	}
	structured := text[0] == '[' || text[0] == '{'
	for _, f := range k.fields(item) {
		if fieldName(f.Path) == fieldName(k.field) && !(structured && slices.Contains(f.Types, "array")) {
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
	items := slices.DeleteFunc(slices.Clone(doc.Items(t)), func(it config.Item) bool { return it.ID == id })
	if t != config.Settings || len(tree) > 0 {
		items = append(items, config.Item{ID: id, JSON: raw})
	}
	changed, err := config.NewDocument(map[config.Table][]config.Item{t: items})
	if err != nil {
		return nil, err
	}
	return doc.WithTable(t, changed), nil
}

// fieldName is a field as it is written: "cfg.polling".
func fieldName(path []string) string { return strings.Join(path, ".") }
