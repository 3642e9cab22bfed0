package arrows

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityDocs: every line of the tables of docs/security.md names the package and
// the tests that hold it, and they exist.
func TestSecurityDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	where := regexp.MustCompile("`((?:pkg|cmd|test)/[a-z0-9/-]+)` ((?:Test[A-Za-z0-9]+(?:, )?)+)")
	rows, held := 0, false // held: the table's last column names tests
	for n, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		last := cells[len(cells)-1]
		switch {
		case !strings.HasPrefix(line, "|"):
			held = false
			continue
		case last == "test":
			held = true
			continue
		case !held || strings.HasPrefix(line, "|--"):
			continue
		}
		rows++
		found := where.FindAllStringSubmatch(last, -1)
		if len(found) == 0 {
			t.Errorf("line %d names no test: %s", n+1, line)
		}
		for _, m := range found {
			for name := range strings.SplitSeq(m[2], ", ") {
				if name != "" && !declares(t, m[1], name) {
					t.Errorf("line %d: there is no %s in %s", n+1, name, m[1])
				}
			}
		}
	}
	if rows < 10 {
		t.Errorf("%d rows were found", rows)
	}
}

// declares reports whether a test stands in a package.
func declares(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob("../../" + pkg + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
