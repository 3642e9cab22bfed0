package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEndlessImport: a file that doesn't end fills no memory, and the error says what to do.
func TestEndlessImport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(file, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := readImport(file, 10); err != nil || string(data) != "0123456789" {
		t.Errorf("%q, %v", data, err)
	}
	for name, limit := range map[string]int64{file: 9, "/dev/zero": 1 << 20} {
		if _, err := readImport(name, limit); err == nil || !strings.Contains(err.Error(), name+": one import takes 256 MiB") || !strings.Contains(err.Error(), "in parts") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
