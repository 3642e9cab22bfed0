package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

type item struct {
	Name  string   `json:"name"`
	Ack   uint64   `json:"ack_seq"`
	Note  string   `json:"note,omitempty"`
	Tags  []string `json:"tags"`
	Value any      `json:"value"`
}

func sample() []item {
	return []item{
		{Name: "mqtt", Ack: 18446744073709551615, Tags: []string{"a", "b"}, Value: 1.5},
		{Name: "123", Note: "<down>", Tags: []string{}, Value: nil},
	}
}

func TestPrint(t *testing.T) {
	table := func(t *Table) {
		t.Header("NAME", "ACK")
		for _, it := range sample() {
			t.Cells(Cell{Text: it.Name}, Cell{Text: Count(it.Ack), Right: true})
		}
	}
	for _, tc := range []struct {
		format Format
		want   string
	}{
		{FormatTable, "NAME    ACK\nmqtt  18.4E\n123       0\n"},
		{FormatJSON, `[
  {
    "name": "mqtt",
    "ack_seq": 18446744073709551615,
    "tags": [
      "a",
      "b"
    ],
    "value": 1.5
  },
  {
    "name": "123",
    "ack_seq": 0,
    "note": "<down>",
    "tags": [],
    "value": null
  }
]
`},
		{FormatYAML, `- name: mqtt
  ack_seq: 18446744073709551615
  tags:
    - a
    - b
  value: 1.5
- name: "123"
  ack_seq: 0
  note: <down>
  tags: []
  value: null
`},
	} {
		var b bytes.Buffer
		o := &Output{Format: tc.format, w: &b}
		if err := o.Print(sample(), table); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.format, diff)
		}
	}
}

func TestPrintLine(t *testing.T) {
	for format, want := range map[Format]string{
		FormatTable: "mqtt \uFFFD[31mup\n",
		FormatJSON:  `{"name":"mqtt","ack_seq":7,"tags":[],"value":null}` + "\n",
		FormatYAML:  "---\nname: mqtt\nack_seq: 7\ntags: []\nvalue: null\n",
	} {
		var b bytes.Buffer
		o := &Output{Format: format, w: &b}
		it := item{Name: "mqtt", Ack: 7, Tags: []string{}}
		if err := o.PrintLine(it, func() string { return it.Name + " \x1b[31mup" }); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%s: %q, want %q", format, b.String(), want)
		}
	}
}

func TestTableFitsTheTerminal(t *testing.T) {
	tb := &Table{width: 30, color: true}
	tb.Header("TAG", "ERROR")
	tb.Cells(Cell{Text: "温度"}, Cell{Text: "dial tcp 10.0.0.1:502: connection refused", Color: Red})
	var b bytes.Buffer
	if err := tb.print(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	want := "温度  \x1b[31mdial tcp 10.0.0.1:502: …\x1b[0m"
	if lines[1] != want {
		t.Errorf("%q, want %q", lines[1], want)
	}
	for _, l := range lines {
		plain := strings.NewReplacer("\x1b[31m", "", "\x1b[1m", "", resetColor, "").Replace(l)
		if Width(plain) > 30 {
			t.Errorf("%q is wider than the terminal", l)
		}
	}
}

func TestNarrowTableDropsTheLastColumns(t *testing.T) {
	tb := &Table{width: 30}
	tb.Header("TAG", "VALUE", "UNIT", "ADDRESS")
	tb.Row("plant.line1.flow", "123.4", "m3_h", "holding 40001")
	tb.Row("… and 480 more")
	var b bytes.Buffer
	if err := tb.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "TAG               VALUE  UNIT\nplant.line1.flow  123.4  m3_h\n… and 480 more\n" +
		"no room for ADDRESS: see them\nwith -o wide\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestNarrowListGoesOnBelow(t *testing.T) {
	tb := &Table{width: 30}
	tb.Row("state", "running")
	tb.Row("problems", "driver oven: endpoint plc2 is down: connection refused")
	tb.Row("path", "/a/word/that/has/no/place/to/break")
	var b bytes.Buffer
	if err := tb.print(&b); err != nil {
		t.Fatal(err)
	}
	want := `state     running
problems  driver oven:
          endpoint plc2 is
          down: connection
          refused
path      /a/word/that/has/no…
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

func TestColorNeedsATerminal(t *testing.T) {
	cmd := &cobra.Command{}
	AddColorFlag(cmd)
	if ColorEnabled(cmd, &bytes.Buffer{}) {
		t.Error("a buffer is no terminal")
	}
}

func TestHuman(t *testing.T) {
	for got, want := range map[string]string{
		Bytes(0):                     "0 B",
		Bytes(1023):                  "1023 B",
		Bytes(12_897_484):            "12.3 MiB",
		Bytes(1<<20 - 1):             "1.0 MiB",
		Count(9999):                  "9999",
		Count(1_250_000):             "1.2M",
		Span(-time.Second):           "0s",
		Span(350 * time.Millisecond): "350ms",
		Span(200 * time.Second):      "3m20s",
		Span(52 * time.Hour):         "2d4h",
		Ago(time.Time{}, time.Now()): "-",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("plain", 3)
	f.Add("\x1b]0;title\x07温度", 2)
	f.Add("e\u0301e\u0301", 1)
	f.Fuzz(func(t *testing.T, s string, n int) {
		clean := Printable(s)
		for _, r := range clean {
			if r < 0x20 || r == 0x7f {
				t.Fatalf("%q holds a control character", clean)
			}
		}
		if n = n & 0xff; n > 0 && Width(truncate(clean, n)) > n {
			t.Fatalf("%q cut to %d is too wide", clean, n)
		}
	})
}

func TestOneLine(t *testing.T) {
	if got := OneLine("a: wrong\nb: missing"); got != "a: wrong; b: missing" {
		t.Errorf("got %q", got)
	}
}

// TestSignalEndsOutput: a terminal is slow, and a signal ends what is written to it. What
// is written after the signal is there whole.
func TestSignalEndsOutput(t *testing.T) {
	list := make([]string, 100_000)
	for _, format := range []Format{FormatTable, FormatJSON, FormatYAML} {
		ctx, cancel := context.WithCancel(t.Context())
		w := &slow{signal: cancel}
		o := &Output{Format: format, ctx: ctx, w: w}
		table := func(t *Table) {
			for range list {
				t.Row("a long row of a long table")
			}
		}
		if err := o.Print(list, table); !errors.Is(err, context.Canceled) || w.n > 1<<16 {
			t.Errorf("%s: %d bytes written, %v", format, w.n, err)
		}
		if err := o.Print(list, table); err != nil || w.n < len(list) {
			t.Errorf("%s after the signal: %d bytes written, %v", format, w.n, err)
		}
	}
}

// slow is a terminal at which somebody types Ctrl-C when it begins.
type slow struct {
	signal func()
	n      int
}

func (s *slow) Write(p []byte) (int, error) {
	s.signal()
	s.n += len(p)
	return len(p), nil
}
