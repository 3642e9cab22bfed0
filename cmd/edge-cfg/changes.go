package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// changesView shows a difference to a person.
type changesView struct {
	w     io.Writer
	color bool
	limit int // so many items of a kind are listed; 0: all
	err   error
}

// show prints what is added (+), removed (-) and changed (Δ), table by table.
func (v *changesView) show(d *difference) error {
	d.hideSecrets()
	for _, t := range config.Tables() {
		td := d.Table(t)
		if td.Empty() {
			continue
		}
		v.line(cli.Bold, "%s: %s", t, countsText(len(td.Added), len(td.Removed), len(td.Changed)))
		v.items(cli.Green, "+", t, d.new, td.Added)
		v.items(cli.Red, "-", t, d.old, td.Removed)
		for i, c := range td.Changed {
			if v.cut(i, len(td.Changed)) {
				break
			}
			v.line(cli.Yellow, "  Δ %s", c.ID)
			for _, f := range c.Fields {
				v.line(cli.Plain, "      %s: %s → %s", f.Path, fieldText(f.Old), fieldText(f.New))
			}
		}
	}
	return v.err
}

// items lists whole items with what is in them, a line each.
func (v *changesView) items(color cli.Color, sign string, t config.Table, doc *config.Document, ids []string) {
	for i, id := range ids {
		if v.cut(i, len(ids)) {
			return
		}
		item := itemTree(doc, t, id)
		if t == config.Variables {
			delete(item, "tag") // it is the id
		}
		v.line(color, "  %s %s  %s", sign, id, fieldText(withoutSecrets(t, id, item)))
	}
}

// cut ends a list that is too long to be read before it scrolls away.
func (v *changesView) cut(i, of int) bool {
	if v.limit == 0 || i < v.limit {
		return false
	}
	v.line(cli.Faint, "  … and %d more ('edge-cfg diff' lists them)", of-i)
	return true
}

func (v *changesView) line(color cli.Color, format string, args ...any) {
	text := cli.Printable(fmt.Sprintf(format, args...))
	if v.color && color != cli.Plain {
		text = string(color) + text + "\x1b[0m"
	}
	if _, err := fmt.Fprintln(v.w, text); err != nil && v.err == nil {
		v.err = err
	}
}

// countsText is a summary: "+2 -1 Δ3".
func countsText(added, removed, changed int) string {
	var parts []string
	for _, p := range []struct {
		sign string
		n    int
	}{{"+", added}, {"-", removed}, {"Δ", changed}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%s%d", p.sign, p.n))
		}
	}
	return strings.Join(parts, " ")
}

// fieldText shows a value as JSON; what isn't there is "–".
func fieldText(v any) string {
	if v == nil {
		return "–"
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a scale may have < and >
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
