package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/gateway"
)

func newMigrate() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "migrate --config FILE",
		Short: "Bring a stopped gateway's data into the newest formats",
		Long: `migrate shows the format of each part of a stopped gateway's data, and converts older
formats to the newest. Until then a new release keeps writing the old format, so that
you can go back to the release before it. Afterwards you can't.

Format 2 of the log holds the device's own reason (status) of a value that isn't good;
format 1 leaves it out.`,
		Example: `  edge-gw migrate --config /etc/edge-gw/gateway.yml --check
  edge-gw migrate --config /etc/edge-gw/gateway.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			look := gateway.Migrate
			if check {
				look = gateway.Formats
			}
			var list []gateway.Format
			if err := cli.During(cmd, "looking at the data", func() (err error) {
				list, err = look(cmd.Context(), cfg, toolLog(cmd))
				return cli.Interrupted(cmd, err, "each part is in its old format or in the new one: run it again")
			}); err != nil {
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
			cmd.PrintErrln(migrated(list, check))
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only show the formats")
	addConfigFlags(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}

// migrated says what was done, or is to do.
func migrated(list []gateway.Format, check bool) string {
	var old []string
	for _, f := range list {
		if f.Format < f.Newest {
			old = append(old, f.Part)
		}
	}
	switch parts := strings.Join(old, ", "); {
	case len(old) == 0:
		return "✓ Everything is in the newest format; there is nothing to migrate."
	case check:
		return "In an older format: " + parts + ". Without --check it is brought into the newest."
	default:
		return "✓ Now in the newest format: " + parts + ". The release before this one can't read it any more."
	}
}
