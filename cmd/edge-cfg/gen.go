package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
)

// generator makes variables from a range of addresses.
type generator struct {
	tag, driver, access, kind, datatype, scale, unit string
	addr                                             uint32
	count, step, first                               int
}

func newGen() *cobra.Command {
	var g generator
	var into string
	cmd := &cobra.Command{
		Use:   "gen --into DIR --driver ID --tag TEMPLATE --addr N --count N",
		Short: "Make variables from a range of addresses and a template of names",
		Long: `gen adds variables on consecutive addresses to DIR's variables.yml, or changes those
that have the tags already.

In the template {n} is the variable's number, {n:03} with leading zeros, {addr} its
address. --step is the distance of addresses; without it they are as far apart as
the datatype is long.`,
		Example: `  edge-cfg gen --into ./config --driver press-4 --tag 'press4.zone{n:02}.temp' --addr 40001 --count 24 --datatype float`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.check(); err != nil {
				return err
			}
			return mergeVariables(cmd, into, func(v *variables) error {
				for i := range g.count {
					tag, item := g.variable(i)
					if err := v.put(tag, item); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&into, "into", "", "the `directory` of the tables")
	f.StringVar(&g.tag, "tag", "", "`template` of the tags")
	f.StringVar(&g.driver, "driver", "", "driver_id (`ID`)")
	f.StringVar(&g.access, "access", "R", "R, W or RW")
	f.StringVar(&g.kind, "type", "holding", "holding, input, coil or discrete")
	f.StringVar(&g.datatype, "datatype", "uint16", "how the registers are read")
	f.StringVar(&g.scale, "scale", "", "expression in value")
	f.StringVar(&g.unit, "unit", "", "unit of the values")
	f.Uint32Var(&g.addr, "addr", 0, "address of the first one")
	f.IntVar(&g.count, "count", 1, "how many")
	f.IntVar(&g.step, "step", 0, "distance of the addresses; 0: as the datatype needs")
	f.IntVar(&g.first, "first", 1, "number of the first one")
	for _, name := range []string{"into", "tag", "driver", "addr"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was added above
		}
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

// check refuses ranges that can't be meant.
func (g *generator) check() error {
	if g.count < 1 || g.step < 0 {
		return cli.Usagef("--count must be 1 or more, --step 0 or more")
	}
	if rest := placeholder.ReplaceAllString(g.tag, ""); strings.ContainsAny(rest, "{}") {
		return cli.Usagef("--tag %s: known are {n}, {n:03} and {addr}", g.tag)
	} else if rest == g.tag && g.count > 1 {
		return cli.Usagef("--tag %s: %d variables need different tags; put {n} or {addr} in it", g.tag, g.count)
	}
	if g.step == 0 {
		g.step = words(g.datatype)
	}
	if last := uint64(g.addr) + uint64(g.count-1)*uint64(g.step); last > 465536 {
		return cli.Usagef("the last address would be %d", last)
	}
	return nil
}

// words returns how many registers a datatype takes; 1 where the variable says it.
func words(datatype string) int {
	if datatype == "float" {
		datatype = string(config.TypeFloat32)
	}
	return max(modbus.Registers(config.DataType(datatype)), 1)
}

// placeholder matches what the template may have.
var placeholder = regexp.MustCompile(`\{(n|addr)(?::0?(\d))?\}`)

// variable makes the i-th one.
func (g *generator) variable(i int) (string, map[string]any) {
	addr := int(g.addr) + i*g.step
	tag := placeholder.ReplaceAllStringFunc(g.tag, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		n := g.first + i
		if m[1] == "addr" {
			n = addr
		}
		width, _ := strconv.Atoi(m[2]) // a digit, or nothing: no width
		return fmt.Sprintf("%0*d", width, n)
	})
	item := map[string]any{"tag": tag, "driver_id": g.driver, "access": g.access, "datatype": g.datatype,
		"address": map[string]any{"type": g.kind, "addr": json.Number(strconv.Itoa(addr))}}
	if g.scale != "" {
		item["scale"] = g.scale
	}
	if g.unit != "" {
		item["unit"] = g.unit
	}
	return tag, item
}
