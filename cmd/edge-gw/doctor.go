package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/gateway"
)

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor --config FILE",
		Short: "Examine an installation, running or not, and say what to do about what is wrong",
		Long: `doctor looks at gateway.yml as 'config check' does, and at what is around it: owners
and modes of data_dir, sockets and secrets, the systemd unit, certificates that end, the
clock, the disk. It changes nothing. Each line has an id that scripts can go by. Errors
end it with 1; warnings don't. Run it as root, or as the gateway's user.`,
		Example: `  sudo edge-gw doctor --config /etc/edge-gw/gateway.yml
  edge-gw doctor --config gateway.yml -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := cmd.Flags().GetString("config")
			if err != nil || path == "" {
				_, err := loadConfig(cmd) // says how to use it
				return err
			}
			cfg, err := loadConfig(cmd)
			var found []center.Diagnosis
			if err != nil {
				found = []center.Diagnosis{{Check: "config", Health: center.Sick, Message: err.Error()}}
			} else {
				found = gateway.Doctor(cmd.Context(), cfg, gateway.DoctorOptions{Config: path, Units: gateway.SystemUnits()})
			}
			if err := printDiagnoses(cmd, found); err != nil {
				return err
			}
			if slices.ContainsFunc(found, func(d center.Diagnosis) bool { return d.Health == center.Sick }) {
				return cli.Exit(cli.Failed, nil)
			}
			return nil
		},
	}
	addConfigFlags(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}

func printDiagnoses(cmd *cobra.Command, found []center.Diagnosis) error {
	colors := map[center.Health]cli.Color{center.Healthy: cli.Green, center.Doubt: cli.Yellow, center.Sick: cli.Red}
	return cli.NewOutput(cmd).Print(found, func(t *cli.Table) {
		t.Header("CHECK", "HEALTH", "MESSAGE")
		t.Keep("MESSAGE")
		for _, d := range found {
			t.Cells(cli.Cell{Text: d.Check}, cli.Cell{Text: string(d.Health), Color: colors[d.Health]}, cli.Cell{Text: d.Message})
		}
	})
}
