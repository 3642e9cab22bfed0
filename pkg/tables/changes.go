package tables

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// LineKind says what a line of a difference is about.
type LineKind int

// The kinds of lines.
const (
	LineTable   LineKind = iota // the summary of a table
	LineAdded                   // +
	LineRemoved                 // -
	LineChanged                 // Δ
	LineField                   // a field of what changed: path: old → new
	LineHas                     // a field of what is added or removed: path: value
	LineMore                    // the list was cut
)

// Lines tells a difference to a person: what is added (+), removed (-) and changed
// (Δ), table by table, secrets hidden. Fields come without indentation, for whoever
// prints them to lay out. It lists so many items of a kind; 0: all. It
// stops when line returns an error.
func (d *Difference) Lines(limit int, line func(LineKind, string) error) error {
	d.HideSecrets()
	v := &teller{line: line, limit: limit}
	for _, t := range config.AllTables() {
		td := d.Table(t)
		if td.Empty() {
			continue
		}
		v.tell(LineTable, "%s: %s", t, CountsText(config.Counts{Added: len(td.Added), Removed: len(td.Removed), Changed: len(td.Changed)}))
		v.items(LineAdded, "+", t, d.new, td.Added)
		v.items(LineRemoved, "-", t, d.old, td.Removed)
		for i, c := range td.Changed {
			if v.cut(i, len(td.Changed)) {
				break
			}
			v.tell(LineChanged, "  Δ %s", c.ID)
			for _, f := range c.Fields {
				v.tell(LineField, "%s: %s → %s", f.Path, fieldText(f.Old), fieldText(f.New))
			}
		}
	}
	return v.err
}

type teller struct {
	line  func(LineKind, string) error
	limit int
	err   error // the first
}

func (v *teller) tell(kind LineKind, format string, args ...any) {
	if v.err == nil {
		v.err = v.line(kind, fmt.Sprintf(format, args...))
	}
}

// items lists whole items, and what is in them field by field.
func (v *teller) items(kind LineKind, sign string, t config.Table, doc *config.Document, ids []string) {
	for i, id := range ids {
		if v.cut(i, len(ids)) {
			return
		}
		item := itemTree(doc, t, id)
		delete(item, t.IDField())
		v.tell(kind, "  %s %s", sign, id)
		leaves(nil, withoutSecrets(t, id, item), func(path []string, value any) {
			v.tell(LineHas, "%s: %s", strings.Join(path, "."), fieldText(value))
		})
	}
}

// cut ends a list that is too long to be read before it scrolls away.
func (v *teller) cut(i, of int) bool {
	if v.limit == 0 || i < v.limit {
		return false
	}
	v.tell(LineMore, "  … and %d more ('edge-cfg diff' lists them)", of-i)
	return true
}

// CountsText is a summary: "+2 -1 Δ3".
func CountsText(c config.Counts) string {
	var parts []string
	for _, p := range []struct {
		sign string
		n    int
	}{{"+", c.Added}, {"-", c.Removed}, {"Δ", c.Changed}} {
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
