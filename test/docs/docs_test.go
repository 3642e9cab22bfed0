// Package docs holds the tables of settings in docs/ to the schemas. A table stands
// between two comments:
//
//	<!-- settings: connectors/mqtt5 -->
//	| key | value | default | meaning |
//	…
//	<!-- end of settings -->
//
// The keys, what they may hold and their defaults follow from the schema. The meaning is
// written by hand; a new setting gets what its schema says of it. "make docs" rewrites
// the tables, the test fails where that would change something.
package docs

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

var update = flag.Bool("update", false, "rewrite the tables")

// tableOf finds a table of settings: its schema, its head, its rows.
var tableOf = regexp.MustCompile(`(?s)<!-- settings: ([\w/]+) -->\n(.*?\n\|[-|]+\|\n)(.*?)<!-- end of settings -->`)

func TestTablesFollowTheSchemas(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		want := tableOf.ReplaceAllStringFunc(string(text), func(table string) string {
			m := tableOf.FindStringSubmatch(table)
			found = append(found, m[1])
			return "<!-- settings: " + m[1] + " -->\n" + m[2] + rows(m[1], m[3]) + "<!-- end of settings -->"
		})
		if want == string(text) {
			continue
		}
		if !*update {
			t.Errorf("%s: its tables are not what the schemas say: run make docs, look at git diff, and write what a new key means", page)
			continue
		}
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(found)
	if want := []string{"connectors/mqtt5", "drivers/modbus", "drivers/opcua", "drivers/plugin", "drivers/s7", "gateway"}; !slices.Equal(found, want) {
		t.Errorf("tables of %v, want %v", found, want)
	}
}

// rows returns the rows of a schema's table. What they are now gives the order and all
// that no schema says.
func rows(schema, now string) string {
	fields := map[string]config.Field{}
	var keys []string
	for _, f := range config.Fields(schema, map[string]any{}) {
		if f.Description == "" { // the kind of a connector
			continue
		}
		fields[f.Key()] = f
		keys = append(keys, f.Key())
	}
	var out strings.Builder
	seen := map[string]bool{}
	row := func(f config.Field, old []string) {
		seen[f.Key()] = true
		row := fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.Key(), value(f, old[1]), defaultOf(f, old[2]), old[3])
		out.WriteString(strings.ReplaceAll(row, "|  |", "| |"))
	}
	for line := range strings.Lines(now) {
		cells := cellsOf(line)
		key := strings.Trim(cells[0], "`")
		f, ok := fields[key]
		switch {
		case strings.Contains(key, "NAME"): // it stands for keys that people choose
			out.WriteString(line)
		case ok && len(cells) == 4:
			row(f, cells)
		}
	}
	for _, key := range keys {
		if !seen[key] {
			row(fields[key], []string{"", "", "", strings.ReplaceAll(fields[key].Description, "|", `\|`)})
		}
	}
	return out.String()
}

// cellsOf splits a row; a pipe in a cell has a backslash before it.
func cellsOf(line string) []string {
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
	for i := range cells {
		cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", `\|`)
	}
	return cells
}

// value says what a key may hold: by the schema if it has bounds or a choice, else as
// old does.
func value(f config.Field, old string) string {
	switch {
	case len(f.Enum) > 0:
		return "`" + strings.Join(slices.Compact(slices.Clone(f.Enum)), "` · `") + "`" // 5 and "5" are one
	case slices.Equal(f.Types, []string{"boolean"}):
		return "boolean"
	case f.Min != nil && text(f.Min) != "0" || f.Max != nil:
		return strings.TrimSpace(unit(f) + " " + bounds(f))
	case old != "":
		return old
	case unit(f) != "":
		return unit(f)
	case f.IsPath:
		return "path"
	case slices.Contains(f.Types, "array"):
		return "list"
	case slices.Contains(f.Types, "string"):
		return "text"
	}
	return strings.Join(f.Types, " or ")
}

// unit says whether the key holds a duration or a size.
func unit(f config.Field) string {
	for _, v := range []any{f.Default, f.Min, f.Max} {
		s, ok := v.(string)
		if !ok || !slices.Contains(f.Types, "string") {
			continue
		}
		if _, err := config.ParseDuration(s); err == nil {
			return "duration"
		}
		if _, err := config.ParseSize(s); err == nil {
			return "size"
		}
	}
	if slices.Contains(f.Types, "string") && slices.Contains(f.Types, "integer") {
		return "size"
	}
	return ""
}

func bounds(f config.Field) string {
	low, high := text(f.Min), text(f.Max)
	switch {
	case f.MinOut && low == "0" && high != "":
		return "above 0, up to " + high
	case f.Max == nil:
		return "from " + low
	case f.Min == nil:
		return "up to " + high
	}
	return low + "–" + high
}

func defaultOf(f config.Field, old string) string {
	if f.Default == nil || f.Default == "" || text(f.Default) == "[]" || text(f.Default) == strings.Trim(old, "`\"") {
		return old
	}
	return "`" + text(f.Default) + "`"
}

// text returns a value of a schema as people write it.
func text(v any) string {
	if s, ok := v.(string); ok || v == nil {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	return string(b)
}
