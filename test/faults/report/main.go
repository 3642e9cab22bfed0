// Command report puts the rows of the scenarios of faults into their table:
//
//	report ROWS docs/reliability.md
//	report -tests [SCENARIO…]
//
// It fails when a scenario has no row, or did not hold. With -tests it lists the packages
// that have the scenarios, each with a pattern of their tests.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/test/faults"
)

func main() {
	err := fmt.Errorf("usage: report ROWS PAGE | report -tests [SCENARIO…]")
	switch args := os.Args[1:]; {
	case len(args) > 0 && args[0] == "-tests":
		err = tests(args[1:])
	case len(args) == 2:
		err = report(args[0], args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// tests lists where the named scenarios are, or all.
func tests(names []string) error {
	var packages []string
	patterns := map[string][]string{}
	found := 0
	for _, s := range faults.Scenarios() {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		found++
		dir, test, _ := strings.Cut(s.Test, " ")
		if !slices.Contains(packages, dir) {
			packages = append(packages, dir)
		}
		if !slices.Contains(patterns[dir], test) {
			patterns[dir] = append(patterns[dir], test)
		}
	}
	if found < len(names) {
		return fmt.Errorf("%v: not all of them are scenarios", names)
	}
	for _, dir := range packages {
		fmt.Printf("./%s ^(%s)$\n", dir, strings.Join(patterns[dir], "|"))
	}
	return nil
}

// report writes the table into the page at path, and prints it.
func report(rowsPath, path string) error {
	f, err := os.Open(rowsPath)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	rows, err := read(f)
	if err != nil {
		return err
	}
	text, bad := table(rows)
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole, err := into(string(page), text)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(whole), 0o644); err != nil {
		return err
	}
	fmt.Print(text)
	if len(bad) > 0 {
		return fmt.Errorf("%d of %d scenarios: %s", len(bad), len(faults.Scenarios()), strings.Join(bad, "; "))
	}
	return nil
}
