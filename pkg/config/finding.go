package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/address"
)

// Severity says whether a [Finding] makes a configuration unusable.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Pos is a place in a file. Line and Column count from 1, columns in characters;
// 0 means that the place is the file as a whole, or not in a file at all.
type Pos struct {
	File         string
	Line, Column int
}

// Finding is one thing that is wrong, or doubtful, in a configuration.
type Finding struct {
	File     string   `json:"file"` // "" when it came from the config center
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`          // stable id: "unknown-key", "duplicate", …
	Message  string   `json:"message"`       // what is wrong and what was expected
	Key      string   `json:"key,omitempty"` // "variables/plant.flow/address.addr", "bus.wal_flush_ms"

	// Secret means that a secret may stand at the place, so that the file's line must
	// not be shown.
	Secret bool `json:"-"`
}

// String returns "file:line:column: severity: message (rule)".
func (f Finding) String() string {
	var b strings.Builder
	switch {
	case f.File != "" && f.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Column)
	case f.File != "":
		b.WriteString(f.File + ": ")
	case f.Key != "":
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(string(f.Severity) + ": " + f.Message + " (" + f.Rule + ")")
	return b.String()
}

// At returns f with its place set.
func (f Finding) At(p Pos) Finding {
	f.File, f.Line, f.Column = p.File, p.Line, p.Column
	return f
}

// Findings are all that was found, sorted by place. As an error they tell
// everything at once; get at the items with errors.As.
type Findings []Finding

// Error returns the findings, one per line.
func (fs Findings) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Sort orders fs by file, place, severity and rule, and drops repeats.
func (fs *Findings) Sort() {
	slices.SortStableFunc(*fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Key, b.Key),
			cmp.Compare(a.Message, b.Message))
	})
	*fs = slices.Compact(*fs)
}

// Count returns the number of errors and of warnings.
func (fs Findings) Count() (errors, warnings int) {
	for _, f := range fs {
		if f.Severity == SeverityError {
			errors++
		}
	}
	return errors, len(fs) - errors
}

// Err returns fs as an error if one of them is of that severity, nil otherwise. Warnings
// stay in it, because they may explain the errors.
func (fs Findings) Err() error {
	if n, _ := fs.Count(); n == 0 {
		return nil
	}
	return fs
}

// Key names an item's field in a [Finding]: "drivers/modbus1/cfg.polling".
func Key(t Table, id string, path ...string) string {
	return keyOf(t, append([]string{id}, path...))
}

// keyOf names the field at path of a table, whose first step is the item's id,
// or, without a table, of gateway.yml.
func keyOf(table Table, path []string) string {
	for i, step := range path {
		if shown := shownKey(step); shown != step {
			path = slices.Clone(path)
			path[i] = shown
		}
	}
	switch {
	case table == "":
		return strings.Join(path, ".")
	case len(path) == 0:
		return string(table)
	case len(path) == 1:
		return string(table) + "/" + path[0]
	}
	return string(table) + "/" + path[0] + "/" + strings.Join(path[1:], ".")
}

// describe shows a decoded value in a message.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		v = MaskUser(v)
		if len(v) > 64 {
			v = v[:64] + "…"
		}
		return strconv.Quote(v)
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	default:
		return scalarText(v)
	}
}

// MaskUser is [address.Mask].
func MaskUser(s string) string { return address.Mask(s) }

// shownKey is a key as messages show it: where the blank behind a colon is missing,
// the value is part of it.
func shownKey(k string) string {
	if name, _, ok := strings.Cut(k, ":"); ok {
		return name + ":…"
	}
	return MaskUser(k)
}

// kindOf says what a value is, and not which.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "another text"
	case bool:
		return "true or false"
	case int64, uint64, float64:
		return "a number"
	}
	return describe(v)
}

// scalarText writes a number or boolean as it stands in a table.
func scalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}
