package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// testsNamed finds the tests that a cell names: a directory, then its tests.
var testsNamed = regexp.MustCompile("`((?:pkg|cmd|test)[\\w/-]*)` ((?:Test|Fuzz)\\w+(?:, (?:Test|Fuzz)\\w+)*)")

// TestSecurityHasTests: each line of docs/security.md that says what somebody can't do, or
// what has a limit, names tests that exist, and nothing that looks like one is passed over.
// Each person of the threat model is in the table of attacks.
func TestSecurityHasTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	attackers := map[string]bool{}
	for _, section := range []string{"Attacks", "Budgets"} {
		rows := tableUnder(string(page), section)
		if len(rows) < 10 {
			t.Fatalf("%s has %d rows", section, len(rows))
		}
		for _, row := range rows {
			attackers[row[0]] = true
			checkTests(t, strings.Join(row, " | "), row[len(row)-1])
		}
	}
	people := tableUnder(string(page), "Who is trusted with what")
	for _, row := range people {
		if !attackers[row[0]] {
			t.Errorf("%q is in the threat model, and in no row of the attacks", row[0])
		}
	}
	if len(people) < 8 {
		t.Errorf("the threat model has %d rows", len(people))
	}
}

// checkTests checks the tests of a row.
func checkTests(t *testing.T, row, cell string) {
	t.Helper()
	left := cell
	for _, m := range testsNamed.FindAllStringSubmatch(cell, -1) {
		left = strings.Replace(left, m[0], "", 1)
		for name := range strings.SplitSeq(m[2], ", ") {
			if !hasTest(t, m[1], name) {
				t.Errorf("%s\nthere is no test %s in %s", row, name, m[1])
			}
		}
	}
	if left == cell || strings.Trim(left, ", ") != "" {
		t.Errorf("%s\nexpected tests as `pkg/x` TestA, TestB, `pkg/y` TestC; not understood: %q", row, left)
	}
}

// hasTest reports whether a package of the repository has a test of this name.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "\nfunc "+name+"(")
	})
}

// tableUnder returns the rows of the first table below a heading.
func tableUnder(page, heading string) (rows [][]string) {
	_, page, _ = strings.Cut(page, "\n## "+heading+"\n")
	page, _, _ = strings.Cut(page, "\n## ")
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, cellsOf(line))
		} else if len(rows) > 0 {
			break
		}
	}
	return rows[min(2, len(rows)):] // below the head
}
