package tables

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// Generator makes variables from a range of addresses.
type Generator struct {
	Tag                      string // template: {n}, {n:03} and {addr} are filled in
	Driver, Access, Datatype string
	Kind                     string // of the addresses: holding, input, coil, discrete
	Scale, Unit              string
	Addr                     uint32 // of the first one
	Count                    int
	Step                     int // distance of the addresses; 0: as the datatype needs
	First                    int // number of the first one
}

// Check refuses ranges that can't be meant.
func (g *Generator) Check() error {
	if g.Count < 1 || g.Step < 0 {
		return usagef("--count must be 1 or more, --step 0 or more")
	}
	if rest := placeholder.ReplaceAllString(g.Tag, ""); strings.ContainsAny(rest, "{}") {
		return usagef("--tag %s: known are {n}, {n:03} and {addr}", g.Tag)
	} else if rest == g.Tag && g.Count > 1 {
		return usagef("--tag %s: %d variables need different tags; put {n} or {addr} in it", g.Tag, g.Count)
	}
	if g.Step == 0 {
		g.Step = words(g.Datatype)
	}
	if last := uint64(g.Addr) + uint64(g.Count-1)*uint64(g.Step); last > 465536 {
		return usagef("the last address would be %d", last)
	}
	return nil
}

// words returns how many registers a datatype takes; 1 where the variable says it.
func words(datatype string) int {
	if datatype == "float" {
		datatype = string(config.TypeFloat32)
	}
	return max(protocols.Builtin().Span(config.DataType(datatype)), 1)
}

// placeholder matches what the template may have.
var placeholder = regexp.MustCompile(`\{(n|addr)(?::0?(\d))?\}`)

// variable makes the i-th one.
func (g *Generator) variable(i int) (string, map[string]any) {
	addr := int(g.Addr) + i*g.Step
	tag := placeholder.ReplaceAllStringFunc(g.Tag, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		n := g.First + i
		if m[1] == "addr" {
			n = addr
		}
		width, _ := strconv.Atoi(m[2]) // a digit, or nothing: no width
		return fmt.Sprintf("%0*d", width, n)
	})
	item := map[string]any{"tag": tag, "driver_id": g.Driver, "access": g.Access, "datatype": g.Datatype,
		"address": map[string]any{"type": g.Kind, "addr": json.Number(strconv.Itoa(addr))}}
	if g.Scale != "" {
		item["scale"] = g.Scale
	}
	if g.Unit != "" {
		item["unit"] = g.Unit
	}
	return tag, item
}

// Put adds the generated variables to v, or changes those that have the tags.
func (g *Generator) Put(v *Variables) error {
	for i := range g.Count {
		tag, item := g.variable(i)
		if err := v.Put(tag, item); err != nil {
			return err
		}
	}
	return nil
}
