package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

func newGet() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get [KEY]",
		Short: "Print a setting, an item or one of its fields; without KEY, all settings",
		Long: `get prints the value of KEY: a setting (bus.wal_flush_ms), a group of them (bus,
connectors.mqtt), an item (variables/TAG) or a field of one (drivers/ID/cfg.polling).

A setting that isn't set has the value that the gateway's gateway.yml gives it.`,
		Example: `  edge-cfg get
  edge-cfg get bus.wal_flush_ms
  edge-cfg get variables/plant.flow/scale`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key := itemKey{table: config.Settings}
			if len(args) > 0 {
				var err error
				if key, err = parseKey(args[0]); err != nil {
					return err
				}
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				head, err := s.Load(ctx)
				if err != nil {
					return err
				}
				value, err := getValue(head.Document(), key)
				if err != nil {
					return err
				}
				return printValue(cmd, value)
			})
		},
	}
	cli.AddOutputFlag(cmd, cli.FormatYAML, cli.FormatJSON)
	return cmd
}

// getValue returns what key names, without literal secrets.
func getValue(doc *config.Document, key itemKey) (json.RawMessage, error) {
	raw, err := shownValue(doc, key)
	if err != nil || key.field == nil {
		return raw, err
	}
	tree, err := plainTree(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	value := config.ValueAt(tree, key.field)
	if value != nil {
		return json.Marshal(value)
	}
	if err := key.checkField(tree); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s is not set", key)
}

// checkField refuses a field that the item's schema doesn't know.
func (k itemKey) checkField(item map[string]any) error {
	known := k.knownFields(item)
	name := fieldName(k.field)
	if len(known) == 0 || slices.Contains(known, name) {
		return nil
	}
	text := fmt.Sprintf("%s: there is no field %s", config.Key(k.table, k.id), name)
	if near := config.Nearest(name, known); near != "" {
		text += "; did you mean " + near + "?"
	}
	return cli.Usagef("%s", text)
}

// knownFields lists the fields of an item's schema, dotted.
func (k itemKey) knownFields(item map[string]any) []string {
	if k.table == config.Variables {
		return nil // decoding tells what is wrong
	}
	var out []string
	for _, f := range k.fields(item) {
		out = append(out, fieldName(f.Path))
	}
	return out
}

// fields describes the fields of an item.
func (k itemKey) fields(item map[string]any) []config.Field {
	return config.ItemFields(k.table, k.id, item)
}
