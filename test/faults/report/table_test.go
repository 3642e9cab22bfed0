package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/test/faults"
)

// TestTable: rows become lines in the order of the list, the last of a scenario's rows
// counts, and one that is missing or failed is told.
func TestTable(t *testing.T) {
	rows, err := read(strings.NewReader(`{"scenario":"kill-log","seed":7,"faults":3,"accepted":9,"held":true}
{"scenario":"stopped","faults":1,"accepted":12,"lost":2,"recovery":1500000000,"peak":61.7}
{"scenario":"kill-log","seed":8,"faults":200,"accepted":123456,"repeated":1,"held":true}
`))
	if err != nil {
		t.Fatal(err)
	}
	text, bad := table(rows)
	for _, want := range []string{
		"| kill-log | kill -9 of log and bus at any moment | 200 | 123.5k frames | 0 | 1 | – | – | 8 | held |\n",
		"| stopped | SIGSTOP for a minute | 1 | 12 frames | 2 | 0 | 1.50 s | 62 MiB | – | **failed** |\n",
		"| memory |", "| not run |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if n := len(faults.Scenarios()); len(bad) != n-1 || strings.Count(text, "\n") != n+2 {
		t.Errorf("%d of %d scenarios are told as bad: %v\n%s", len(bad), n, bad, text)
	}
	if _, err := read(strings.NewReader("{\n")); err == nil {
		t.Error("half a row is taken")
	}
	page, err := into("a\n"+begin+"old\n"+end+"\nb\n", text)
	if err != nil || page != "a\n"+begin+text+end+"\nb\n" {
		t.Errorf("%v\n%s", err, page)
	}
	if _, err := into("no place", text); err == nil {
		t.Error("a page without a place is taken")
	}
}

// TestScenariosHaveTests: the list names each scenario once, with a test that opens its row,
// and the page has a place for the table.
func TestScenariosHaveTests(t *testing.T) {
	page, err := os.ReadFile("../../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := into(string(page), ""); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for _, s := range faults.Scenarios() {
		if seen[s.Name] {
			t.Errorf("%s is there twice", s.Name)
		}
		seen[s.Name] = true
		dir, test, _ := strings.Cut(s.Test, " ")
		files, err := filepath.Glob(filepath.Join("../../..", dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(content)
		}
		for _, want := range []string{"func " + test + "(", `"` + s.Name + `"`} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: %s has no %s", s.Name, dir, want)
			}
		}
	}
}
