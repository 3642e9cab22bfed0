package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHiddenCharacters: tables with text that steers what shows it are refused, from
// files and from the store; text of any script is not.
func TestHiddenCharacters(t *testing.T) {
	for unit, ok := range map[string]bool{
		"\u001b[2J": false, "\r": false, "\u009b1m": false, "\u202e": false, "\u2066a": false, "\u200b": false, "\ufeff": false,
		"°C": true, "m³/h": true, "温度": true, "": true,
	} {
		variables := `[{"tag":"a","driver_id":"m","address":{"type":"holding","addr":1},"datatype":"int16","access":"R","unit":` + quoteJSON(unit) + `}]`
		dir := t.TempDir()
		path := filepath.Join(dir, "variables.yml")
		if err := os.WriteFile(path, []byte(variables), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, found := ReadFiles(path)
		if refused := tells(found); refused == ok {
			t.Errorf("file with unit %q: %v", unit, found)
		}
		doc := `{"endpoints":{"p":{"scheme":"tcp","host":"h","port":1}},"drivers":{"m":{"kind":"static","proto":"modbus","endpoint_id":"p","cfg":{}}},` +
			`"variables":{"a":{"tag":"a","driver_id":"m","address":{"type":"holding","addr":1},"datatype":"int16","access":"R","unit":` + quoteJSON(unit) + `}},"settings":{}}`
		_, err := ParseDocument([]byte(doc))
		var fs Findings
		if errors.As(err, &fs); tells(fs) == ok {
			t.Errorf("document with unit %q: %v", unit, err)
		}
	}
}

func tells(fs Findings) bool {
	for _, f := range fs {
		if f.Rule == "hidden-character" {
			return true
		}
	}
	return false
}

// quoteJSON writes s with escapes only.
func quoteJSON(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		b.WriteString(`\u`)
		const hex = "0123456789abcdef"
		for shift := 12; shift >= 0; shift -= 4 {
			b.WriteByte(hex[r>>shift&15])
		}
	}
	return b.String() + `"`
}
