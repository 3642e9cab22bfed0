package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/gateway"
)

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate --config FILE",
		Short: "Bring a stopped gateway's data into the newest formats",
		Long: `migrate shows the format of each part of a stopped gateway's data, and brings what is
in an older one into the newest. Until then a new release goes on writing the old
format, so that the release before it can still be put back; afterwards it can't.

Every format has had one version so far: this release finds nothing to bring over.`,
		Example: `  edge-gw migrate --config /etc/edge-gw/gateway.yml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			list, err := gateway.Formats(cmd.Context(), cfg, toolLog(cmd))
			if err != nil {
				return err
			}
			if err := cli.NewOutput(cmd).Print(list, func(t *cli.Table) {
				t.Header("PART", "FORMAT", "NEWEST", "PATH")
				for _, f := range list {
					t.Row(f.Part, strconv.Itoa(f.Format), strconv.Itoa(f.Newest), f.Path)
				}
			}); err != nil {
				return err
			}
			cmd.PrintErrln("✓ Everything is in the newest format; there is nothing to migrate.")
			return nil
		},
	}
	addConfigFlags(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}
