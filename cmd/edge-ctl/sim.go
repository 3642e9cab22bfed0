package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
)

func newSim() *cobra.Command {
	sim := &cobra.Command{
		Use:     "sim",
		Short:   "Simulate a device",
		Example: `  edge-ctl sim modbus`,
	}
	sim.AddCommand(newSimModbus())
	return sim
}

// simTable is what sim prints at its start: what is where, ready for a table.
type simTable struct {
	Listen    string            `json:"listen"`
	Units     []uint8           `json:"units"`
	Variables []config.Variable `json:"variables"`
}

func newSimModbus() *cobra.Command {
	var listen, units string
	var points int
	cmd := &cobra.Command{
		Use:   "modbus",
		Short: "Simulate a Modbus TCP device with moving values, until Ctrl-C",
		Long: `sim modbus answers as a Modbus TCP device would. Counters, sines and random walks
move in its registers and coils; the table says which is where.`,
		Example: `  edge-ctl sim modbus
  edge-ctl sim modbus --listen 0.0.0.0:502 --units 1-3 --points 500
  edge-ctl sim modbus -o yaml | tee sim.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ids, err := parseUnits(units)
			if err != nil {
				return err
			}
			if points < 1 || points > 50_000 {
				return cli.Usagef("--points %d: expected 1 to 50000", points)
			}
			layout := plcsim.NewLayout(points)
			s, err := plcsim.New(plcsim.Config{Listen: listen, Units: ids, Layout: layout})
			if err != nil {
				return err
			}
			v := simTable{Listen: s.Addr(), Units: ids, Variables: layout.Variables("sim", "sim.")}
			if err := printSim(cmd, v); err != nil {
				_ = s.Close() // the first error counts
				return err
			}
			return s.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:5020", "HOST:PORT; port 0 takes a free one")
	cmd.Flags().StringVar(&units, "units", "1", "unit ids that answer: a list such as 1,2,10-20")
	cmd.Flags().IntVar(&points, "points", 10, "number of moving values in each unit (1–50000)")
	cli.AddOutputFlag(cmd)
	return cmd
}

func printSim(cmd *cobra.Command, v simTable) error {
	cmd.PrintErrf("simulated device at tcp://%s, unit %s; Ctrl-C ends it\n", v.Listen, unitList(v.Units))
	cmd.PrintErrf("try: edge-ctl probe tcp://%s --unit %d --read 40001:4\n", v.Listen, v.Units[0])
	return cli.NewOutput(cmd).Print(v, func(t *cli.Table) {
		t.Header("TABLE", "ADDR", "TYPE", "MOVES", "SCALE", "UNIT")
		const most = 20
		for i, x := range v.Variables {
			if i == most {
				t.Row(fmt.Sprintf("… and %d more; -o yaml lists all", len(v.Variables)-most))
				break
			}
			t.Cells(text(string(x.Address.Type)), number(uint64(x.Address.Addr)), text(string(x.Datatype)), text(x.Tag), text(x.Scale), text(x.Unit))
		}
	})
}
