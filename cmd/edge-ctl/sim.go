package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

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

// simTables is what sim prints at its start: where it listens, and the three
// tables with which a gateway reads it.
type simTables struct {
	Listen    string                     `json:"listen"`
	Units     []int                      `json:"units"`
	Endpoints map[string]config.Endpoint `json:"endpoints"`
	Drivers   map[string]config.Driver   `json:"drivers"`
	Variables []config.Variable          `json:"variables"`
}

// tablesFor makes the tables of a device at addr: one driver for each unit, named
// sim, or sim and the unit's number if there are several.
func tablesFor(addr string, units []uint8, layout plcsim.Layout) (simTables, error) {
	v := simTables{Listen: addr, Drivers: map[string]config.Driver{}}
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return v, err
	}
	host := at.Addr().Unmap()
	if host.IsUnspecified() {
		host = netip.MustParseAddr("127.0.0.1")
	}
	const endpoint = "sim"
	v.Endpoints = map[string]config.Endpoint{
		endpoint: {Scheme: "tcp", Host: host.String(), Port: at.Port(), Opts: map[string]string{"timeout": "1s"}},
	}
	for _, u := range units {
		id := "sim"
		if len(units) > 1 {
			id = fmt.Sprintf("sim%d", u)
		}
		v.Units = append(v.Units, int(u))
		v.Drivers[id] = config.Driver{
			Kind: config.KindStatic, EndpointID: endpoint, Proto: "modbus",
			Cfg: map[string]any{"unit_id": int64(u), "polling": "1s"},
		}
		v.Variables = append(v.Variables, layout.Variables(id, id+".")...)
	}
	return v, nil
}

// write makes the three files of v in dir; what is there is not overwritten.
func (v simTables) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, table := range []struct {
		name  string
		items any
	}{{"endpoints.yml", v.Endpoints}, {"drivers.yml", v.Drivers}, {"variables.yml", v.Variables}} {
		write := func(w io.Writer) error { return cli.WriteYAML(w, table.items) }
		if err := writeNew(filepath.Join(dir, table.name), write); err != nil {
			return err
		}
	}
	return nil
}

func newSimModbus() *cobra.Command {
	var listen, units, tables string
	var points int
	cmd := &cobra.Command{
		Use:   "modbus",
		Short: "Simulate a Modbus TCP device with moving values, until Ctrl-C",
		Long: `sim modbus answers as a Modbus TCP device would. Counters, sines and random walks
move in its registers and coils; the table says which is where.

--tables DIR writes endpoints.yml, drivers.yml and variables.yml, with which a
gateway reads the device, to DIR; -o yaml prints the same.`,
		Example: `  edge-ctl sim modbus
  edge-ctl sim modbus --listen 0.0.0.0:502 --units 1-3 --points 500
  edge-ctl sim modbus --tables ./config`,
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
			v, err := tablesFor(s.Addr(), ids, layout)
			if err == nil && tables != "" {
				err = v.write(tables)
			}
			if err == nil {
				err = printSim(cmd, v, ids)
			}
			if err != nil {
				_ = s.Close() // the first error counts
				return err
			}
			return s.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:5020", "HOST:PORT; port 0 takes a free one")
	cmd.Flags().StringVar(&units, "units", "1", "unit ids that answer: a list such as 1,2,10-20")
	cmd.Flags().StringVar(&tables, "tables", "", "write the three tables for a gateway to this directory")
	cmd.Flags().IntVar(&points, "points", 10, "number of moving values in each unit (1–50000)")
	cli.AddOutputFlag(cmd)
	return cmd
}

func printSim(cmd *cobra.Command, v simTables, units []uint8) error {
	cmd.PrintErrf("simulated device at tcp://%s, unit %s; Ctrl-C ends it\n", v.Listen, unitList(units))
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
