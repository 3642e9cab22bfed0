package main

import (
	"context"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// side is one of the two that are compared.
type side struct {
	Rev    int64  `json:"rev"` // 0: files
	SHA256 string `json:"sha256"`
}

// compared is the result of diff.
type compared struct {
	From      side             `json:"from"`
	To        side             `json:"to"`
	Changed   int              `json:"changed"`
	Endpoints config.TableDiff `json:"endpoints"`
	Drivers   config.TableDiff `json:"drivers"`
	Variables config.TableDiff `json:"variables"`
	Settings  config.TableDiff `json:"settings"`
	Groups    config.TableDiff `json:"groups,omitzero"`
	Gateways  config.TableDiff `json:"gateways,omitzero"`
}

func newDiff() *cobra.Command {
	var from, to, gateway string
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "diff [DIR]",
		Short: "Compare tables with the config center, or two revisions",
		Long: `diff shows what a push of DIR (or of one table's file) would change: added items
with +, removed ones with -, changed ones with Δ and their fields. Without DIR, and
without revisions, it is the current directory.

--from compares with an older revision. Without DIR, --from and --to compare two
revisions; the one that is left out is the one in force.

--gateway takes the directory of a fleet, and shows how one gateway differs from the
base. It needs no config center.`,
		Example: `  edge-cfg diff ./config
  edge-cfg diff --from rev=120 --to rev=125
  edge-cfg diff ./config --exit-code || echo "not pushed yet"
  edge-cfg diff fleet/ --gateway lyon-01`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fromRev, err := optionalRev("from", from)
			if err != nil {
				return err
			}
			toRev, err := optionalRev("to", to)
			if err != nil {
				return err
			}
			if gateway != "" {
				if len(args) == 0 || from != "" || to != "" {
					return cli.Usagef("--gateway goes with the DIR of a fleet, not with revisions")
				}
				differs, err := diffGateway(cmd, args[0], gateway)
				if err == nil && differs && exitCode {
					return cli.Exit(exitDiffers, nil)
				}
				return err
			}
			if len(args) == 0 && from == "" && to == "" {
				args = []string{"."}
			}
			if len(args) > 0 && to != "" {
				return cli.Usagef("--from is compared with DIR or with --to: give one of them")
			}
			var files *tables.Files
			if len(args) > 0 {
				if files, err = readTables(cmd, args[0], true); err != nil {
					return err
				}
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				differs, err := showDiff(ctx, cmd, s, files, fromRev, toRev)
				if err == nil && differs && exitCode {
					return cli.Exit(exitDiffers, nil)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "compare with this revision instead of the one in force (`rev=N`)")
	cmd.Flags().StringVar(&to, "to", "", "compare this revision (`rev=N`)")
	cmd.Flags().StringVar(&gateway, "gateway", "", "compare the base of a fleet with what the gateway of this `ID` runs")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 5 if something differs")
	completeRev(cmd, "from")
	completeRev(cmd, "to")
	completeFleet(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}

// optionalRev reads a flag that may be left out.
func optionalRev(name, value string) (int64, error) {
	if value == "" {
		return 0, nil
	}
	return revFlag(name, value)
}

// loadRev returns the version of a revision; 0 is the one in force.
func loadRev(ctx context.Context, s *center.Store, rev int64) (center.Version, error) {
	if rev == 0 {
		return s.Load(ctx)
	}
	return s.LoadRev(ctx, rev)
}

func showDiff(ctx context.Context, cmd *cobra.Command, s *center.Store, files *tables.Files, fromRev, toRev int64) (differs bool, err error) {
	from, err := loadRev(ctx, s, fromRev)
	if err != nil {
		return false, err
	}
	var to center.Version
	if files != nil {
		to.Doc = files.Onto(from.Document())
	} else {
		to, err = loadRev(ctx, s, toRev)
	}
	if err != nil {
		return false, err
	}
	d, err := cli.Reading(cmd, "comparing", func() *tables.Difference { return tables.Compare(from.Document(), to.Document()) })
	if err != nil {
		return false, err
	}
	return printDiff(cmd, side{from.Commit.Rev, from.Document().SHA256()}, side{to.Commit.Rev, to.Document().SHA256()}, d)
}

// printDiff prints what differs.
func printDiff(cmd *cobra.Command, from, to side, d *tables.Difference) (differs bool, err error) {
	out := cli.NewOutput(cmd)
	if out.Format == cli.FormatTable {
		return !d.Empty(), showChanges(cmd, out.Writer(), d, 0)
	}
	d.HideSecrets()
	return !d.Empty(), out.Print(compared{
		From: from, To: to, Changed: d.Len(),
		Endpoints: d.Endpoints, Drivers: d.Drivers, Variables: d.Variables, Settings: d.Settings, Groups: d.Groups, Gateways: d.Gateways,
	}, nil)
}

// revFlag reads what --base, --from and --to take.
func revFlag(name, value string) (int64, error) {
	text, _ := strings.CutPrefix(value, "rev=")
	rev, err := number.Int(text, 1, math.MaxInt64)
	if err != nil {
		return 0, cli.Usagef("--%s %s: expected rev=N, a revision that 'edge-cfg log' lists", name, value)
	}
	return rev, nil
}
