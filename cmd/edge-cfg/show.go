package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
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
			var key tables.Key
			if len(args) > 0 {
				if key, err = tables.ParseKey(args[0]); err != nil {
					return err
				}
				if key.Field != nil {
					return cli.Usagef("%s: expected TABLE or TABLE/ID; 'edge-cfg get' prints a field", args[0])
				}
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				v, err := loadRev(ctx, s, n)
				if err != nil {
					return err
				}
				return printTables(cmd, v.Document(), key)
			})
		},
	}
	cmd.Flags().StringVar(&rev, "rev", "", "as it was at this revision (`N`)")
	cli.AddOutputFlag(cmd, cli.FormatYAML, cli.FormatJSON)
	return cmd
}

// printTables prints what key names in doc.
func printTables(cmd *cobra.Command, doc *config.Document, key tables.Key) error {
	out := cli.NewOutput(cmd)
	if out.Format == cli.FormatJSON {
		return tables.WriteJSON(out.Writer(), doc, key)
	}
	return tables.WriteYAML(out.Writer(), doc, key)
}
