package endpoint

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocs holds the page for users to the table of options.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/endpoints.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, line := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(line, "| `") && strings.Count(line, " | ") == 5 {
			rows++
		}
	}
	for _, o := range KnownOptions() {
		if !strings.Contains(string(page), docRow(o)) {
			t.Errorf("docs/endpoints.md lacks the row\n%s", docRow(o))
		}
	}
	if want := len(KnownOptions()); rows != want {
		t.Errorf("docs/endpoints.md has %d rows of options, want %d", rows, want)
	}
	for s := Serial; s <= ASCII; s++ {
		if !strings.Contains(string(page), "`"+s.String()+"`") {
			t.Errorf("docs/endpoints.md doesn't mention the scheme %s", s)
		}
	}
}

func docRow(o Option) string {
	cell := func(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
	def := o.Default
	if def == "" {
		def = "none"
	}
	return fmt.Sprintf("| `%s` | %s | %s | `%s` | %s | %s |", o.Name, cell(o.Type), cell(def), o.Example, o.For, cell(o.Doc))
}
