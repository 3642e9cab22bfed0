package config

import (
	"errors"
	"testing"
)

// TestSyntaxErrors: a broken file is told by the line that breaks it.
func TestSyntaxErrors(t *testing.T) {
	for src, want := range map[string]Pos{
		"a:\n  b: 1\n c: 2\n":                   {"", 3, 2},
		"a:\n\tb: 1\n":                          {"", 2, 1},
		"a: [1, 2\nb: 3\n":                      {"", 1, 1},
		"a: b: c\n":                             {"", 1, 1},
		"x: 1\na: @b\n":                         {"", 2, 1},
		"x: 1\ny: *foo\n":                       {"", 2, 1},
		"- a\nb: 1\n":                           {"", 2, 1},
		"a: 1\n- b\n":                           {"", 2, 1},
		"x: 1\ny:\n  - a: 1\n    b: 2\n   c: 3": {"", 5, 4},
		"- a: 1\n  b 2\n- c: 3\n":               {"", 2, 3},
		"a: 1\n---\nb: [\n":                     {"", 3, 1},
	} {
		_, err := parseYAML("", []byte(src))
		var fs Findings
		if !errors.As(err, &fs) || len(fs) != 1 || fs[0].Rule != "syntax" {
			t.Errorf("%q: got %v; want a finding", src, err)
			continue
		}
		if got := (Pos{fs[0].File, fs[0].Line, fs[0].Column}); got != want {
			t.Errorf("%q: at %v, want %v: %v", src, got, want, err)
		}
	}
}
