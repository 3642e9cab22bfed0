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
	var rev, gateway string
	var origin bool
	cmd := &cobra.Command{
		Use:   "show [TABLE[/ID]] | DIR [TABLE[/ID]] --gateway ID",
		Short: "Print tables, or one item, as they are or were in the config center",
		Long: `show prints the tables as YAML. Literal secrets are not shown; references to secrets
are.

With --gateway it reads the directory of a fleet, and prints what one gateway runs.
--origin shows which layer each field comes from, and its place there. It needs no
config center.`,
		Example: `  edge-cfg show
  edge-cfg show drivers -o json
  edge-cfg show variables/plant.flow --rev 120
  edge-cfg show fleet/ drivers/press --gateway lyon-01 --origin`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: completeKey(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := optionalRev("rev", rev)
			if err != nil {
				return err
			}
			dir := ""
			switch {
			case gateway != "" && (len(args) == 0 || rev != ""):
				return cli.Usagef("--gateway goes with the DIR of a fleet, not with a revision")
			case gateway != "":
				dir, args = args[0], args[1:]
			case len(args) > 1 || origin:
				return cli.Usagef("a DIR and --origin go with --gateway ID")
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
			if gateway != "" {
				return showGateway(cmd, dir, gateway, key, origin)
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				var v center.Version
				err := cli.During(cmd, "reading the tables", func() (err error) {
					v, err = loadRev(ctx, s, n)
					return err
				})
				if err != nil {
					return err
				}
				return printTables(cmd, v.Document(), key)
			})
		},
	}
	cmd.Flags().StringVar(&rev, "rev", "", "as it was at this revision (`N`)")
	cmd.Flags().StringVar(&gateway, "gateway", "", "what the gateway of this `ID` in a fleet's directory runs")
	cmd.Flags().BoolVar(&origin, "origin", false, "with --gateway: where every field comes from")
	completeRev(cmd, "rev")
	completeFleet(cmd)
	cli.AddOutputFlag(cmd, cli.FormatYAML, cli.FormatJSON)
	return cmd
}

// printTables prints what key names in doc.
func printTables(cmd *cobra.Command, doc *config.Document, key tables.Key) error {
	out := cli.NewOutput(cmd)
	write := tables.WriteYAML
	if out.Format == cli.FormatJSON {
		write = tables.WriteJSON
	}
	var silent *cli.Progress
	err := write(silent.Writer(cmd.Context(), out.Writer()), doc, key)
	return cli.Interrupted(cmd, err, "not everything was printed")
}
