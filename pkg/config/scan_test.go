package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
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
			if want := library(t, d.src); !reflect.DeepEqual(d.tree, want) {
				t.Errorf("got  %#v\nwant %#v", d.tree, want)
			}
		})
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
		if len(r.variables) != 100_000 || len(r.findings) > 0 {
			b.Fatal(len(r.variables), r.findings)
		}
	}
}
