package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/visible"
)

// Format is how a command prints its result.
type Format string

// The formats that most commands offer. A command may have others ("csv").
const (
	FormatTable Format = "table" // for people
	FormatJSON  Format = "json"  // one document; fields in snake_case, in a fixed order
	FormatYAML  Format = "yaml"  // the same as YAML

	formatWide Format = "wide" // a table of any width, for a pager: offered wherever a table is
)

// Formats are the formats of a listing.
func Formats() []Format { return []Format{FormatTable, FormatJSON, FormatYAML} }

// AddColorFlag gives cmd and all commands below it the flag --no-color.
func AddColorFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().Bool("no-color", false, "plain text, without colours (also: NO_COLOR)")
}

// AddOutputFlag gives cmd the flag -o for the formats given, the first being the
// default; without any, [Formats].
func AddOutputFlag(cmd *cobra.Command, formats ...Format) {
	if len(formats) == 0 {
		formats = Formats()
	}
	if slices.Contains(formats, FormatTable) {
		formats = append(slices.Clip(formats), formatWide)
	}
	v := &formatValue{value: formats[0], allowed: formats}
	cmd.Flags().VarP(v, "output", "o", "output format: "+v.list())
	CompleteFlag(cmd, "output", cobra.FixedCompletions(strings.Split(v.list(), "|"), cobra.ShellCompDirectiveNoFileComp))
}

// formatValue is a pflag.Value that takes one of a list.
type formatValue struct {
	value   Format
	allowed []Format
}

func (v *formatValue) list() string {
	names := make([]string, len(v.allowed))
	for i, f := range v.allowed {
		names[i] = string(f)
	}
	return strings.Join(names, "|")
}

func (v *formatValue) String() string { return string(v.value) }
func (v *formatValue) Type() string   { return "format" }

func (v *formatValue) Set(s string) error {
	if !slices.Contains(v.allowed, Format(s)) {
		return fmt.Errorf("expected %s", v.list())
	}
	v.value = Format(s)
	return nil
}

// Output prints a command's result on its standard output.
type Output struct {
	Format Format
	ctx    context.Context // of the command; nil: none
	w      io.Writer
	color  bool
	width  int // of the terminal; 0: unlimited
	height int // of the terminal; 0: unlimited

	terminal bool // a person looks at it
}

// NewOutput returns the output of cmd as its flags, the environment and the
// terminal want it. A command without -o prints tables.
func NewOutput(cmd *cobra.Command) *Output {
	o := &Output{Format: FormatTable, ctx: cmd.Context(), w: cmd.OutOrStdout()}
	if f := cmd.Flags().Lookup("output"); f != nil {
		o.Format = Format(f.Value.String())
	}
	if w := terminalWidth(o.w); w > 0 {
		o.width, o.terminal = w, true
	}
	if w, err := strconv.Atoi(os.Getenv("EDGE_COLUMNS")); err == nil && w > 0 && o.width == 0 {
		o.width = w // as on a terminal of that width
	}
	if o.Format == formatWide {
		o.Format, o.width, o.terminal = FormatTable, 0, false
	}
	o.color = ColorEnabled(cmd, o.w)
	return o
}

// ColorEnabled reports whether text for stream may have colours: it is a
// terminal that knows them, and neither --no-color nor NO_COLOR says otherwise.
func ColorEnabled(cmd *cobra.Command, stream any) bool {
	if f := cmd.Flags().Lookup("no-color"); f != nil && f.Value.String() == "true" {
		return false
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(stream)
}

// Writer is where the result goes.
func (o *Output) Writer() io.Writer { return o.w }

// Width is how many columns a line may have; 0: any number.
func (o *Output) Width() int { return o.width }

// Height is how many lines a picture may have; 0: any number.
func (o *Output) Height() int { return o.height }

// Interactive reports whether a person looks at a table on a terminal, so that
// it may be refreshed in place.
func (o *Output) Interactive() bool { return o.terminal && o.Format == FormatTable }

// Print prints v: as JSON or YAML where that was asked for, else as what table
// fills in. The order of v's struct fields is the order in both.
func (o *Output) Print(v any, table func(*Table)) error {
	switch o.Format {
	case FormatJSON:
		return writeJSON(parts{o}, v, "  ")
	case FormatYAML:
		return WriteYAML(parts{o}, v)
	}
	t := &Table{color: o.color, width: o.width}
	table(t)
	return t.print(parts{o})
}

// parts writes what is long part by part, so that a signal ends it: a terminal is slow.
// What is written after a signal, such as what was found until then, is written whole.
type parts struct{ *Output }

// Write implements [io.Writer].
func (p parts) Write(b []byte) (n int, err error) {
	const part = 16 << 10
	late := p.ctx != nil && p.ctx.Err() != nil
	for n < len(b) && err == nil {
		if n > 0 && p.ctx != nil && !late && p.ctx.Err() != nil {
			return n, p.ctx.Err()
		}
		var more int
		more, err = p.w.Write(b[n:min(len(b), n+part)])
		n += more
	}
	return n, err
}

// Lines returns the lines of a table, as Print would write them.
func (o *Output) Lines(table func(*Table)) []string {
	t := &Table{color: o.color, width: o.width}
	table(t)
	var b bytes.Buffer
	_ = t.print(&b) // a buffer takes everything
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// PrintLine prints v as one item of a stream that has no end: a line of JSON, or
// a YAML document, or the line of text.
func (o *Output) PrintLine(v any, line func() string) error {
	switch o.Format {
	case FormatJSON:
		return writeJSON(o.w, v, "")
	case FormatYAML:
		if _, err := io.WriteString(o.w, "---\n"); err != nil {
			return err
		}
		return WriteYAML(o.w, v)
	}
	_, err := fmt.Fprintln(o.w, Printable(line()))
	return err
}

func writeJSON(w io.Writer, v any, indent string) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(visible.AppendEscaped(nil, buf.Bytes()))
	return err
}

// WriteYAML writes v as -o yaml does. It goes through JSON, so that names, order and omissions are the same
// in both.
func WriteYAML(w io.Writer, v any) error {
	var buf bytes.Buffer
	if err := writeJSON(&buf, v, ""); err != nil {
		return err
	}
	dec := json.NewDecoder(&buf)
	dec.UseNumber()
	doc, err := yamlNode(dec)
	if err != nil {
		return fmt.Errorf("convert to YAML: %w", err)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(doc), enc.Close()); err != nil {
		return err
	}
	_, err = w.Write(visible.AppendEscapedYAML(nil, out.Bytes()))
	return err
}

// yamlNode reads the next JSON value as a node. A parser of YAML would refuse, or take
// for something else, what strings may hold.
func yamlNode(dec *json.Decoder) (*yaml.Node, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	scalar := func(tag, text string) (*yaml.Node, error) {
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
		if tag == "!!str" && !visible.IsText(text) {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n, nil
	}
	switch t := t.(type) {
	case nil:
		return scalar("!!null", "null")
	case bool:
		return scalar("!!bool", strconv.FormatBool(t))
	case json.Number:
		if strings.ContainsAny(t.String(), ".eE") {
			return scalar("!!float", t.String())
		}
		return scalar("!!int", t.String())
	case string:
		return scalar("!!str", t)
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	if t == json.Delim('{') {
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
	}
	for dec.More() { // of a mapping, keys and values in turn
		item, err := yamlNode(dec)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, item)
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	_, err = dec.Token() // the end
	return n, err
}
