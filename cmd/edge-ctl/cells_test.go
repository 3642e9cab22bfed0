package main

import (
	"slices"
	"testing"
)

// TestTextsOfADeviceInCSV: neither a terminal nor a spreadsheet obeys the names that a
// server's nodes have.
func TestTextsOfADeviceInCSV(t *testing.T) {
	got := cells([]string{"line.temp", "R", "\x1b[2Jns=2;s=x", "=cmd|' /C calc'!A0", "-5"})
	if want := []string{"line.temp", "R", "\ufffd[2Jns=2;s=x", "'=cmd|' /C calc'!A0", "-5"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
