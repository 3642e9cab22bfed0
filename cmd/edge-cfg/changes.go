package main

import (
	"fmt"
	"io"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// showChanges prints a difference for a person; limit as in [tables.Difference.Lines].
func showChanges(w io.Writer, colored bool, d *tables.Difference, limit int) error {
	colors := map[tables.LineKind]cli.Color{
		tables.LineTable: cli.Bold, tables.LineAdded: cli.Green, tables.LineRemoved: cli.Red, tables.LineChanged: cli.Yellow, tables.LineMore: cli.Faint,
	}
	return d.Lines(limit, func(kind tables.LineKind, text string) error {
		text = cli.Printable(text)
		if color, ok := colors[kind]; ok && colored {
			text = string(color) + text + "\x1b[0m"
		}
		_, err := fmt.Fprintln(w, text)
		return err
	})
}
