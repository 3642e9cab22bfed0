package tables

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// commented is a table as people keep one: comments everywhere, every style.
const commented = `# yaml-language-server: $schema=x
# Line 1, since 2019.

# The flow meter
#   (two lines about it)
- tag: plant.flow       # m3/h
  # what it hangs on
  driver_id: m1
  access: R   # never write!
  address: {type: holding, addr: 0x9C41}   # °C is next to it
  datatype: uint16      # two words?
  scale: "value / 10"  # 'quoted' # twice
  unit: 'm3''h'
  # the end of it

- {tag: plant.level, driver_id: m1, access: R, address: {type: holding, addr: 40002}, datatype: uint16, unit: °C}   # the tank

  # indented, about nothing
- tag: plant.temp
  driver_id: m1   # here
  access: RW
  address:        # nested
    # its type
    type: holding # one of four
    addr: 40003   # see the manual
  datatype: float32
  deadband: 0.50  # half
# The end.
`

// TestEditsKeepEverythingElse changes, adds and removes fields at random, round after
// round: each line that has no changed field stays as it is, byte for byte and in order.
func TestEditsKeepEverythingElse(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	text := []byte(commented)
	values := map[string]func() any{
		"unit":     func() any { return []string{"bar", "°C", "m3 # h", "'x'", "1", "yes"}[rnd.IntN(6)] },
		"scale":    func() any { return fmt.Sprintf("value / %d", rnd.IntN(90)+2) },
		"deadband": func() any { return float64(rnd.IntN(40)+1) / 4 },
		"polling":  func() any { return fmt.Sprintf("%dms", rnd.IntN(900)+100) },
		"addr":     func() any { return rnd.IntN(9000) + 40001 },
	}
	fields := []string{"unit", "scale", "deadband", "polling", "addr"}
	for round := range 400 {
		if round%20 == 0 {
			text = []byte(commented)
		}
		f := parseFile("variables.yml", text, config.Variables)
		if !f.readable() {
			t.Fatal(f.findings)
		}
		doc := f.doc()
		id := doc.IDs(config.Variables)[rnd.IntN(3)]
		raw, _ := doc.Get(config.Variables, id)
		item, err := config.Item{ID: id, JSON: raw}.Tree()
		if err != nil {
			t.Fatal(err)
		}
		field := fields[rnd.IntN(len(fields))]
		path := []string{field}
		if field == "addr" {
			path = []string{"address", "addr"}
		}
		if rnd.IntN(4) == 0 && field != "addr" {
			delete(item, field)
		} else {
			config.SetAt(item, path, values[field]())
		}
		next, err := replaceItem(doc, config.Variables, id, item)
		if err != nil {
			t.Fatal(err)
		}
		before := string(text)
		if text, err = mergeTable(f, config.Variables, next); err != nil {
			t.Fatal(err)
		}
		if !meansTable(text, config.Variables, next) {
			t.Fatalf("round %d: it says something else:\n%s", round, text)
		}
		rest := string(text)
		for line := range strings.Lines(before) {
			if strings.Contains(line, field+":") || strings.HasPrefix(line, "- {") && id == "plant.level" {
				continue // it may have changed
			}
			_, after, found := strings.Cut(rest, line)
			if !found {
				t.Fatalf("round %d, %s of %s: the line %q is lost, or in another place:\n%s", round, field, id, line, text)
			}
			rest = after
		}
		for _, comment := range []string{"# m3/h", "# never write!", "# °C is next to it", "# the tank", "# see the manual", "# one of four"} {
			if n := strings.Count(string(text), comment); n != 1 {
				t.Fatalf("round %d: the comment %q is there %d times:\n%s", round, comment, n, text)
			}
		}
	}
}

// TestEditChangesOneValue: the value alone, wherever it stands.
func TestEditChangesOneValue(t *testing.T) {
	for _, tt := range []struct{ text, field, value, want string }{
		{"- {tag: a, driver_id: m, access: R, address: {type: holding, addr: 1}, datatype: uint16}  # x\n", "addr", "2",
			"- {tag: a, driver_id: m, access: R, address: {type: holding, addr: 2}, datatype: uint16}  # x\n"},
		{"- tag: a\n  driver_id: m\n  access: R\n  address: {type: holding, addr: 0x1}  # x\n  datatype: uint16\n", "unit", `"b"`,
			"- tag: a\n  driver_id: m\n  access: R\n  address: {type: holding, addr: 0x1}  # x\n  datatype: uint16\n  unit: b\n"},
		{"- &x\n  tag: a\n  driver_id: m\n  access: R\n  address: {type: holding, addr: 1}   # x\n  datatype: uint16\n", "addr", "2",
			"- &x\n  tag: a\n  driver_id: m\n  access: R\n  address: {type: holding, addr: 2}   # x\n  datatype: uint16\n"},
	} {
		f := parseFile("variables.yml", []byte(tt.text), config.Variables)
		raw, _ := f.doc().Get(config.Variables, "a")
		item, err := config.Item{ID: "a", JSON: raw}.Tree()
		if err != nil {
			t.Fatal(err)
		}
		path := []string{tt.field}
		if tt.field == "addr" {
			path = []string{"address", "addr"}
		}
		config.SetAt(item, path, json.RawMessage(tt.value))
		next, err := replaceItem(f.doc(), config.Variables, "a", item)
		if err != nil {
			t.Fatal(err)
		}
		got, err := mergeTable(f, config.Variables, next)
		if err != nil || !bytes.Equal(got, []byte(tt.want)) {
			t.Errorf("got\n%s(%v), expected\n%s", got, err, tt.want)
		}
	}
}
