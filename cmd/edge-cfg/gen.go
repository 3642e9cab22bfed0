package main

import (
	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

func newGen() *cobra.Command {
	var g tables.Generator
	var into string
	cmd := &cobra.Command{
		Use:   "gen --into DIR --driver ID --tag TEMPLATE --addr N --count N",
		Short: "Make variables from a range of addresses and a template of names",
		Long: `gen adds variables on consecutive addresses to DIR's variables.yml. A variable whose
tag exists already is changed, in the file that holds it.

In the template, {n} is the variable's number, {n:03} the same with leading zeros,
{addr} its address. --step is the distance between addresses; the default is the
length of the datatype.`,
		Example: `  edge-cfg gen --into ./config --driver press-4 \
    --tag 'press4.zone{n:02}.temp' --addr 40001 --count 24 --datatype float`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.Check(); err != nil {
				return err
			}
			return editVariables(cmd, into, nil, g.Put)
		},
	}
	f := cmd.Flags()
	f.StringVar(&into, "into", "", "the `directory` of the tables")
	f.StringVar(&g.Tag, "tag", "", "`template` of the tags")
	f.StringVar(&g.Driver, "driver", "", "driver_id (`ID`)")
	f.StringVar(&g.Access, "access", "R", "R, W or RW")
	f.StringVar(&g.Kind, "type", "holding", "holding, input, coil or discrete")
	f.StringVar(&g.Datatype, "datatype", "uint16", "how the registers are read")
	f.StringVar(&g.Scale, "scale", "", "expression in value")
	f.StringVar(&g.Unit, "unit", "", "unit of the values")
	f.Uint32Var(&g.Addr, "addr", 0, "address of the first one")
	f.IntVar(&g.Count, "count", 1, "how many")
	f.IntVar(&g.Step, "step", 0, "distance of the addresses; 0: as the datatype needs")
	f.IntVar(&g.First, "first", 1, "number of the first one")
	for _, name := range []string{"into", "tag", "driver", "addr"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was added above
		}
	}
	cli.AddOutputFlag(cmd)
	return cmd
}
