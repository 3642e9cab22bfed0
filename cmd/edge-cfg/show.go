package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

func newShow() *cobra.Command {
	var rev string
	cmd := &cobra.Command{
		Use:   "show [TABLE[/ID]]",
		Short: "Print tables, or one item, as they are or were in the config center",
		Long: `show prints the tables as YAML. Secrets that stand in them literally are not shown;
references to secrets are.`,
		Example: `  edge-cfg show
  edge-cfg show drivers -o json
  edge-cfg show variables/plant.flow --rev 120`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := optionalRev("rev", rev)
			if err != nil {
				return err
			}
			var key itemKey
			if len(args) > 0 {
				if key, err = parseKey(args[0]); err != nil {
					return err
				}
				if key.field != nil {
					return cli.Usagef("%s: expected TABLE or TABLE/ID; 'edge-cfg get' prints a field", args[0])
				}
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				v, err := loadRev(ctx, s, n)
				if err != nil {
					return err
				}
				shown, err := shownValue(v.Document(), key)
				if err != nil {
					return err
				}
				return printValue(cmd, shown)
			})
		},
	}
	cmd.Flags().StringVar(&rev, "rev", "", "as it was at this revision (`N`)")
	cli.AddOutputFlag(cmd, cli.FormatYAML, cli.FormatJSON)
	return cmd
}

// shownValue returns what key names in doc, as JSON without literal secrets.
func shownValue(doc *config.Document, key itemKey) (json.RawMessage, error) {
	switch {
	case key.table == "":
		var parts []object
		for _, t := range config.Tables() {
			raw, err := shownTable(doc, t)
			if err != nil {
				return nil, err
			}
			parts = append(parts, object{string(t), raw})
		}
		return joinObject(parts), nil
	case key.id == "":
		return shownTable(doc, key.table)
	}
	return shownItem(doc, key.table, key.id)
}

func shownItem(doc *config.Document, t config.Table, id string) (json.RawMessage, error) {
	raw, ok := doc.Get(t, id)
	if !ok {
		var ids []string
		for _, it := range doc.Items(t) {
			ids = append(ids, it.ID)
		}
		return nil, itemKey{table: t, id: id}.missing(ids)
	}
	if t == config.Variables {
		return raw, nil // no secrets there
	}
	tree, err := plainTree(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", config.Key(t, id), err)
	}
	return json.Marshal(withoutSecrets(t, id, tree))
}

// shownTable is a list of variables, and an object of anything else, as in files.
func shownTable(doc *config.Document, t config.Table) (json.RawMessage, error) {
	parts := make([]object, 0, len(doc.Items(t)))
	for _, it := range doc.Items(t) {
		raw, err := shownItem(doc, t, it.ID)
		if err != nil {
			return nil, err
		}
		parts = append(parts, object{it.ID, raw})
	}
	if t == config.Variables {
		return joinList(parts), nil
	}
	return joinObject(parts), nil
}

// object is a member of a JSON object.
type object struct {
	name  string
	value json.RawMessage
}

func joinObject(parts []object) json.RawMessage {
	b := []byte{'{'}
	for i, p := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		name, _ := json.Marshal(p.name) // a string can always be encoded
		b = append(append(append(b, name...), ':'), p.value...)
	}
	return append(b, '}')
}

func joinList(parts []object) json.RawMessage {
	b := []byte{'['}
	for i, p := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, p.value...)
	}
	return append(b, ']')
}

// printValue prints JSON as it is, or as the YAML that people write.
func printValue(cmd *cobra.Command, raw json.RawMessage) error {
	out := cli.NewOutput(cmd)
	if out.Format == cli.FormatJSON {
		return out.Print(raw, nil)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("convert to YAML: %w", err)
	}
	arrange(doc.Content[0])
	return writeYAML(out.Writer(), doc.Content[0])
}
