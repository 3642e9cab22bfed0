package cli

import (
	"slices"
	"testing"
)

// TestParseKeys reads what terminals send for keys, also pasted and broken off.
func TestParseKeys(t *testing.T) {
	for s, want := range map[string][]string{
		"q": {"q"}, "é/": {"é", "/"}, "\x1b": {"esc"}, "\x1b[A\x1b[B": {"up", "down"}, "\x1bOHx": {"home", "x"}, "\x1b[5~\x1b[6~": {"pgup", "pgdown"},
		"\x03": {"\x03"}, "\r\x7f": {"enter", "backspace"}, "\x1b[1;5A": nil, "\x1b[": nil, "\x1ba": {"esc", "a"}, "\x01\x1a": nil, "": nil, "\xff": {"\xff"},
	} {
		if got := parseKeys(s); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
