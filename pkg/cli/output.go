package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"gopkg.in/yaml.v3"
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
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return strings.Split(v.list(), "|"), cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // the flag was added above
	}
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
	w      io.Writer
	color  bool
	width  int // of the terminal; 0: unlimited

	terminal bool // a person looks at it
}

// NewOutput returns the output of cmd as its flags, the environment and the
// terminal want it. A command without -o prints tables.
func NewOutput(cmd *cobra.Command) *Output {
	o := &Output{Format: FormatTable, w: cmd.OutOrStdout()}
	if f := cmd.Flags().Lookup("output"); f != nil {
		o.Format = Format(f.Value.String())
	}
	if f, ok := o.w.(*os.File); ok && IsTerminal(f) {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			o.width, o.terminal = w, w > 0
		}
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

// Interactive reports whether a person looks at a table on a terminal, so that
// it may be refreshed in place.
func (o *Output) Interactive() bool { return o.terminal && o.Format == FormatTable }

// Print prints v: as JSON or YAML where that was asked for, else as what table
// fills in. The order of v's struct fields is the order in both.
func (o *Output) Print(v any, table func(*Table)) error {
	switch o.Format {
	case FormatJSON:
		return writeJSON(o.w, v, "  ")
	case FormatYAML:
		return WriteYAML(o.w, v)
	}
	t := &Table{color: o.color, width: o.width}
	table(t)
	return t.print(o.w)
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
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// WriteYAML writes v as -o yaml does. It goes through JSON, so that names, order and omissions are the same
// in both.
func WriteYAML(w io.Writer, v any) error {
	var buf bytes.Buffer
	if err := writeJSON(&buf, v, ""); err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(buf.Bytes(), &doc); err != nil {
		return fmt.Errorf("convert to YAML: %w", err)
	}
	blockStyle(&doc)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return err
	}
	return enc.Close()
}

// blockStyle takes the JSON look off a YAML document.
func blockStyle(n *yaml.Node) {
	if n.Kind != yaml.MappingNode && n.Kind != yaml.SequenceNode || len(n.Content) > 0 {
		n.Style = 0
	}
	for _, c := range n.Content {
		blockStyle(c)
	}
}
