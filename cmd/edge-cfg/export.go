package main

import (
	"bytes"
	"context"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

func newExport() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print all tables as one document, or write the variables as a spreadsheet",
		Long: `export prints the tables in force as one document, without literal secrets. With --csv it writes the variables with the columns that import
reads; "-" is standard output.`,
		Example: `  edge-cfg export -o json > plant.json
  edge-cfg export --csv points.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				var head center.Version
				if err := cli.During(cmd, "reading the tables", func() (err error) {
					head, err = s.Load(ctx)
					return err
				}); err != nil {
					return err
				}
				if file != "" {
					return exportCSV(cmd, head.Document(), file)
				}
				return printTables(cmd, head.Document(), tables.Key{})
			})
		},
	}
	cmd.Flags().StringVar(&file, "csv", "", "write the variables to this `file`")
	cli.AddOutputFlag(cmd, cli.FormatYAML, cli.FormatJSON)
	return cmd
}

func exportCSV(cmd *cobra.Command, doc *config.Document, file string) error {
	if file == "-" {
		return tables.WriteSheet(cmd.OutOrStdout(), doc)
	}
	var b bytes.Buffer
	if err := tables.WriteSheet(&b, doc); err != nil {
		return err
	}
	return tables.WriteFile(file, b.Bytes(), 0o644)
}
