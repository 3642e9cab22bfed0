package config

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// library reads src as the YAML library does.
func library(t *testing.T, src []byte) any {
	t.Helper()
	root, err := parseYAML("variables.yml", src)
	if err != nil {
		t.Fatalf("scanItems reads what the library refuses: %v\n%q", err, src)
	}
	if root == nil {
		return nil
	}
	b := newTreeBuilder("variables.yml")
	tree := b.build(root, 0, false)
	if len(b.findings) > 0 {
		t.Fatalf("scanItems reads what the tree builder refuses: %v\n%q", b.findings, src)
	}
	return tree
}

// TestScanItems holds the scanner to the library on the forms that it should
// read itself.
func TestScanItems(t *testing.T) {
	for name, src := range map[string]string{
		"braces":        "- tag: a.b\n  address: { type: holding, addr: 40001, len: 2 }\n  scale: \"value / 10\"\n  unit: °C\n",
		"indented":      "- tag: a\n  address:\n    type: holding\n    addr: 7\n  unit: m3/h\n",
		"comments":      "# head\n---\n# more\n- tag: a # the tag\n\n  # between\n  unit: 'it is' # quoted\n\n- tag: b\n# tail\n",
		"indented list": "  - tag: a\n    unit: x\n  - tag: b\n",
		"wide dash":     "-   tag: a\n    unit: x\n",
		"windows lines": "- tag: a\r\n  address: {type: coil, addr: 0}\r\n\r\n- tag: b\r\n",
		"no line end":   "- tag: a\n- tag: b",
		"all in braces": "- {tag: a, address: {type: coil, addr: 3}, unit: °C} # x\n# y\n- {tag: b}\n",
		"other script":  "- tag: 温度.一号\n  unit: °C\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := &document{src: []byte(src)}
			if !d.scanItems() {
				t.Fatal("left to the library")
			}
			for i, s := range d.items {
				if _, ok := scanItem(d.src[s.start:s.end]); !ok {
					t.Errorf("item %d is left to the library", i)
				}
			}
			checkPlaces(t, d)
			if want := library(t, d.src); !reflect.DeepEqual(d.tree, want) {
				t.Errorf("got  %#v\nwant %#v", d.tree, want)
			}
		})
	}
}

// checkPlaces holds the places of everything in a scanned table to those of the
// library's nodes.
func checkPlaces(t *testing.T, d *document) {
	t.Helper()
	root, err := parseYAML("", d.src)
	if err != nil {
		t.Fatal(err)
	}
	items, _ := d.tree.([]any)
	for i, item := range items {
		m, _ := item.(map[string]any)
		paths := [][]string{{}, {"nothing"}}
		for k, v := range m {
			paths = append(paths, []string{k})
			nested, _ := v.(map[string]any)
			for sub := range nested {
				paths = append(paths, []string{k, sub})
			}
		}
		for _, path := range paths {
			for _, onKey := range []bool{false, true} {
				n := place(root, append([]string{strconv.Itoa(i)}, path...), onKey && len(path) > 0)
				if got, want := d.itemPos(i, path, onKey), (Pos{d.name, n.Line, n.Column}); got != want {
					t.Fatalf("item %d %v (key: %t) of %q stands at %v, want %v", i, path, onKey, d.src, got, want)
				}
			}
		}
	}
}

// TestScanItemsLeaves lists forms that only the library reads rightly: an item
// with one goes to it alone, a file with one as a whole.
func TestScanItemsLeaves(t *testing.T) {
	for _, src := range []string{
		"- tag: a\n  unit: |\n    text\n",
		"- tag: a\n  scale: value\n    / 10\n",
		"- tag: \"a\\u0062\"\n",
		"- {tag: a, unit: b}\n",
		"- tag: a\n  address: {type: holding,\n    addr: 1}\n",
		"- tag: 0x10\n- tag: 1.5\n- tag: true\n- tag: ~\n- tag: 010\n- tag: 2024-01-02\n",
		"- tag: a\n  unit:\n- tag: b\n",
		"- tag: a\n  address: [1, 2]\n",
		"- &x\n  tag: a\n- <<: *x\n",
		"- tag: a\n  Unit: b\n",
		"[]", "", "# nothing\n", "- a\n- b\n", "-\n  tag: a\n",
	} {
		d := &document{src: []byte(src)}
		if d.scanItems() && !reflect.DeepEqual(d.tree, library(t, d.src)) {
			t.Errorf("%q: read as %#v", src, d.tree)
		}
	}
}

// FuzzScanItems: whatever the scanner reads, the library reads the same.
func FuzzScanItems(f *testing.F) {
	example, err := os.ReadFile("../../examples/spec/variables.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add(manyVariables(3))
	f.Add([]byte("- tag: a\n  address:\n    addr: 1 # c\n  unit: \"x\"\r\n- tag: b\n"))
	f.Add([]byte("---\n  - a: 'b' #\n    c: {d: e, f: 1}\n"))
	f.Add([]byte("- a: b\n   c: d\n- \"a\n- b\"\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		d := &document{src: bytes.TrimPrefix(src, []byte("\ufeff"))}
		if !d.scanItems() {
			return
		}
		checkPlaces(t, d)
		if want := library(t, d.src); !reflect.DeepEqual(d.tree, want) {
			t.Fatalf("%q\ngot  %#v\nwant %#v", src, d.tree, want)
		}
	})
}

// manyVariables makes a table of n variables over n/1000 drivers.
func manyVariables(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "- tag: plant.area%d.flow_%06d\n  driver_id: modbus_%d\n  access: R\n"+
			"  address: { type: holding, addr: %d, len: 1 }\n  datatype: uint16\n  scale: \"value / 10\"\n  unit: m3_h\n\n",
			i%100, i, i/1000, 40001+i%1000)
	}
	return b.Bytes()
}

func BenchmarkReadVariables100k(b *testing.B) {
	src := manyVariables(100_000)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		r := newReader()
		r.table(Variables, "variables.yml", src)
		if len(r.snap.Variables) != 100_000 || len(r.findings) > 0 {
			b.Fatal(len(r.snap.Variables), r.findings)
		}
	}
}

// TestScanItemsRandom puts tables together from pieces that are easy to misread.
func TestScanItemsRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	scalar := func() string {
		return pick("a", "value / 10", `"x y"`, `'it'`, "0", "40001", "007", "1.5", "1e3", "true", "No", "null", "~", "yes", "°C", "m3/h", "a#b", "a #b",
			"a: b", "a:b", `"a\tb"`, "''", `""`, "'a''b'", "-1", "- a", "[1]", "{}", "{ a: b }", "*x", "&x a", "!t a", "|", ">", "a, b", "a}", "@a", "0x10",
			"2024-01-02", "? a", "a ?", "a - b", "\"a\n    b\"", "a\n    b", "a  ", "_a", "ä", "é b", ".5", "+1", "1_000", "<<", "%", "a'b", "a\\b", "a|b")
	}
	flow := func() string {
		var parts []string
		for range rng.IntN(4) {
			parts = append(parts, pick("addr", "len", "type", "<<", "A")+pick(": ", ": ", ": ", ":", " : ")+scalar())
		}
		return "{" + pick("", " ") + strings.Join(parts, pick(", ", ",", " , ")) + pick("", " ", ", ") + "}"
	}
	read := 0
	for range 20_000 {
		var b strings.Builder
		b.WriteString(pick("", "", "", "---\n", "# c\n", "\n", " # c\n", "--- # c\n", "\ufeff"))
		base := pick("", "", "", "  ")
		for range 1 + rng.IntN(3) {
			dash := pick("- ", "- ", "- ", "-  ", "-   ")
			if rng.IntN(10) == 0 {
				b.WriteString(base + dash + flow() + "\n")
				continue
			}
			indent := base + strings.Repeat(" ", len(dash))
			for i := range 1 + rng.IntN(4) {
				lead := indent
				if i == 0 {
					lead = base + dash
				}
				key := string(rune('a'+rng.IntN(20))) + pick("", "b", "_c", "D")
				value := scalar()
				switch rng.IntN(6) {
				case 0:
					value = flow()
				case 1:
					sub := indent + pick("  ", "    ", " ")
					value = pick("", " # c") + "\n" + sub + "x: " + scalar() + "\n" + sub + pick("y", "x") + ": " + scalar()
				}
				b.WriteString(lead + key + pick(": ", ": ", ": ", ":  ", ":", " : ") + value + pick("", "", " # c", "# d", " ") + pick("\n", "\n", "\n", "\r\n", "\n\n", "\n# c\n", "\n   # c\n", "\n\t# c\n"))
			}
		}
		d := &document{src: []byte(strings.TrimPrefix(b.String(), "\ufeff"))}
		if !d.scanItems() {
			continue
		}
		read++
		if want := library(t, d.src); !reflect.DeepEqual(d.tree, want) {
			t.Fatalf("%q\ngot  %#v\nwant %#v", d.src, d.tree, want)
		}
		checkPlaces(t, d)
	}
	if read < 1000 {
		t.Errorf("only %d of the tables were read; the test tests little", read)
	}
}
