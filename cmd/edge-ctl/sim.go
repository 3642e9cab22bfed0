package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/options"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

func newSim() *cobra.Command {
	sim := &cobra.Command{
		Use:   "sim",
		Short: "Simulate a device",
	}
	for _, p := range protocols.Builtin() {
		if p.Simulate == nil {
			continue
		}
		if sim.Example == "" {
			sim.Example = "  edge-ctl sim " + p.Name
		}
		sim.AddCommand(simCommand(p.Name, p.Simulate))
	}
	return sim
}

func simCommand(name string, s *driver.Simulation) *cobra.Command {
	var tables string
	cmd := &cobra.Command{
		Use:   name,
		Short: s.Short,
		Long: s.Help + `

--tables DIR writes endpoints.yml, drivers.yml and variables.yml, with which a
gateway reads the device, to DIR; -o yaml prints the same.`,
		Example: s.Example,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := s.Start(options.Given(cmd.Flags(), s.Options, ""))
			if err != nil {
				return usage(err)
			}
			if tables != "" {
				err = writeTables(d, tables)
			}
			if err == nil {
				err = printSim(cmd, s, d)
			}
			if err != nil {
				_ = d.Close() // the first error counts
				return err
			}
			return d.Run(cmd.Context())
		},
	}
	options.Add(cmd.Flags(), s.Options)
	cmd.Flags().StringVar(&tables, "tables", "", "write the three tables for a gateway to this directory")
	cli.AddOutputFlag(cmd)
	return cmd
}

// writeTables makes the three files of d in dir; what is there is not overwritten.
func writeTables(d *driver.Simulated, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, table := range []struct {
		name  string
		items any
	}{{"endpoints.yml", d.Endpoints}, {"drivers.yml", d.Drivers}, {"variables.yml", d.Variables}} {
		write := func(w io.Writer) error { return cli.WriteYAML(w, table.items) }
		if err := cli.WriteNew(filepath.Join(dir, table.name), cli.ForOwner, write); err != nil {
			return err
		}
	}
	return nil
}

// printSim prints at the start of d where it listens, and the tables with which a
// gateway reads it.
func printSim(cmd *cobra.Command, s *driver.Simulation, d *driver.Simulated) error {
	for _, line := range d.Say {
		cmd.PrintErrln(line)
	}
	doc, err := join(
		struct {
			Listen string `json:"listen"`
		}{d.Listen},
		d.Document,
		struct {
			Endpoints map[string]config.Endpoint `json:"endpoints"`
			Drivers   map[string]config.Driver   `json:"drivers"`
			Variables []config.Variable          `json:"variables"`
		}{d.Endpoints, d.Drivers, d.Variables})
	if err != nil {
		return err
	}
	return cli.NewOutput(cmd).Print(doc, func(t *cli.Table) {
		const most = 20
		fillTable(t, s.Columns, d.Cells[:min(len(d.Cells), most)])
		if more := len(d.Cells) - most; more > 0 {
			t.Row(fmt.Sprintf("… and %d more; -o yaml lists all", more))
		}
	})
}
