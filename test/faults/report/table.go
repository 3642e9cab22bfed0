package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// What stands around the table in docs/reliability.md.
const begin, end = "<!-- faults -->\n", "<!-- end of faults -->"

// read returns the rows that scenarios have written, by scenario: the last of each.
func read(r io.Reader) (map[string]*faults.Row, error) {
	rows := map[string]*faults.Row{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		row := new(faults.Row)
		if err := json.Unmarshal(lines.Bytes(), row); err != nil {
			return nil, fmt.Errorf("row %q: %w", lines.Text(), err)
		}
		rows[row.Scenario] = row
	}
	return rows, lines.Err()
}

// table returns the rows as Markdown, and the scenarios that have none or did not hold.
func table(rows map[string]*faults.Row) (text string, bad []string) {
	var b strings.Builder
	b.WriteString("| scenario | what is done | faults | accepted | lost | repeated | time to recover | peak memory | seed | verdict |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range faults.Scenarios() {
		r := rows[s.Name]
		if r == nil {
			bad = append(bad, s.Name+" has not run ("+s.Test+")")
			fmt.Fprintf(&b, "| %s | %s | | | | | | | | not run |\n", s.Name, s.Done)
			continue
		}
		verdict := "held"
		if !r.Held {
			verdict = "**failed**"
			bad = append(bad, s.Name+" failed ("+s.Test+")")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s %s | %s | %s | %s | %s | %s | %s |\n", s.Name, s.Done, cli.Count(uint64(r.Faults)), cli.Count(r.Accepted), s.Of,
			cli.Count(r.Lost), cli.Count(r.Repeated), since(r.Recovery), memory(r.Peak), seed(r.Seed), verdict)
	}
	return b.String(), bad
}

// into puts a table between its marks in a page.
func into(page, table string) (string, error) {
	before, rest, ok := strings.Cut(page, begin)
	_, after, okEnd := strings.Cut(rest, end)
	if !ok || !okEnd {
		return "", fmt.Errorf("the page has no place for the table (%q … %q)", strings.TrimSpace(begin), end)
	}
	return before + begin + table + end + after, nil
}

func since(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

func memory(mib float64) string {
	if mib == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f MiB", mib)
}

func seed(n uint64) string {
	if n == 0 {
		return "–"
	}
	return strconv.FormatUint(n, 10)
}
