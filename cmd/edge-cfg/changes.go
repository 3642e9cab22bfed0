package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// showChanges prints a difference on w for a person; limit as in [tables.Difference.Lines].
func showChanges(cmd *cobra.Command, w io.Writer, d *tables.Difference, limit int) error {
	c := changes{w: w, colored: cli.ColorEnabled(cmd, w), width: cli.NewOutput(cmd).Width()}
	if c.width == 0 {
		c.width = 80
	}
	err := d.Lines(limit, c.line)
	if err != nil {
		return err
	}
	return c.flush()
}

const fieldIndent = "      "

// changes lays the lines of a difference out.
type changes struct {
	w       io.Writer
	colored bool
	width   int
	fields  string // of an item that is added or removed: the line that is being filled
}

func (c *changes) line(kind tables.LineKind, text string) error {
	text = cli.Printable(text)
	if kind == tables.LineHas {
		return c.has(text)
	}
	if err := c.flush(); err != nil {
		return err
	}
	color := map[tables.LineKind]cli.Color{
		tables.LineTable: cli.Bold, tables.LineAdded: cli.Green, tables.LineRemoved: cli.Red, tables.LineChanged: cli.Yellow, tables.LineMore: cli.Faint,
	}[kind]
	if kind == tables.LineField {
		if old, now, ok := strings.Cut(text, " → "); ok && len(fieldIndent)+cli.Width(text) > c.width {
			text = old + "\n" + fieldIndent + "  → " + now
		}
		text = fieldIndent + text
	}
	if c.colored && color != cli.Plain {
		text = string(color) + text + "\x1b[0m"
	}
	_, err := fmt.Fprintln(c.w, text)
	return err
}

// has adds a field to the line that is being filled, or begins the next.
func (c *changes) has(text string) error {
	if c.fields != "" {
		if both := c.fields + ", " + text; cli.Width(both) < c.width { // with room for a comma
			c.fields = both
			return nil
		}
		c.fields += ","
	}
	err := c.flush()
	c.fields = fieldIndent + text
	return err
}

func (c *changes) flush() error {
	if c.fields == "" {
		return nil
	}
	_, err := fmt.Fprintln(c.w, c.fields)
	c.fields = ""
	return err
}
