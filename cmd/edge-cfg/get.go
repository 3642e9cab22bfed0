package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
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
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeKey(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			key := tables.Key{Table: config.Settings}
			if len(args) > 0 {
				var err error
				if key, err = tables.ParseKey(args[0]); err != nil {
					return err
				}
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				head, err := s.Load(ctx)
				if err != nil {
					return err
				}
				return printTables(cmd, head.Document(), key)
			})
		},
	}
	cli.AddOutputFlag(cmd, cli.FormatYAML, cli.FormatJSON)
	return cmd
}
