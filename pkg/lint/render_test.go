package lint

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

func TestWriteTextWithSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "drivers.yml")
	if err := os.WriteFile(path, []byte("m1:\n  unit: °C \x1b[2J, zzz\r\n"+strings.Repeat("x", 400)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := config.Findings{
		{File: path, Line: 2, Column: 9, Severity: config.SeverityError, Rule: "r", Message: "bad \x1b[31m"},
		{File: path, Line: 3, Column: 300, Severity: config.SeverityWarning, Rule: "r", Message: "far"},
		{File: path, Line: 9, Column: 1, Severity: config.SeverityWarning, Rule: "r", Message: "gone"},
		{File: path + "x", Line: 1, Column: 1, Severity: config.SeverityWarning, Rule: "r", Message: "no file"},
		{Key: "drivers/m1", Severity: config.SeverityWarning, Rule: "r", Message: "from the center"},
	}
	var buf bytes.Buffer
	if err := WriteText(&buf, fs, Style{Source: true}); err != nil {
		t.Fatal(err)
	}
	want := path + ":2:9: error: bad \ufffd[31m (r)\n" +
		"    2 |   unit: °C \ufffd[2J, zzz\n" +
		"      |         ^\n" +
		path + ":3:300: warning: far (r)\n" +
		path + ":9:1: warning: gone (r)\n" +
		path + "x:1:1: warning: no file (r)\n" +
		"drivers/m1: warning: from the center (r)\n"
	if buf.String() != want {
		t.Errorf("got\n%s\nwant\n%s", buf.String(), want)
	}
	buf.Reset()
	if err := WriteText(&buf, fs[:1], Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	if want := path + ":2:9: \x1b[1;31merror:\x1b[0m bad \ufffd[31m (r)\n"; buf.String() != want {
		t.Errorf("got %q, want %q", buf.String(), want)
	}
}

func TestWriteSARIF(t *testing.T) {
	fs := config.Findings{
		{File: "a b/drivers.yml", Line: 2, Column: 9, Severity: config.SeverityError, Rule: "value", Message: "x < y"},
		{File: "/etc/ü/variables.yml", Severity: config.SeverityWarning, Rule: "no-file", Message: "cannot be read"},
		{Key: "drivers/m1", Severity: config.SeverityWarning, Rule: "value", Message: "from the center"},
	}
	var buf bytes.Buffer
	if err := WriteSARIF(&buf, fs, "1.2"); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Compact(&got, buf.Bytes()); err != nil {
		t.Fatal(err)
	}
	want := `{"$schema":"https://json.schemastore.org/sarif-2.1.0.json","version":"2.1.0","runs":[{` +
		`"tool":{"driver":{"name":"edge-cfg","version":"1.2","rules":[{"id":"value"},{"id":"no-file"}]}},"columnKind":"unicodeCodePoints","results":[` +
		`{"ruleId":"value","level":"error","message":{"text":"x < y"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a%20b/drivers.yml"},"region":{"startLine":2,"startColumn":9}}}]},` +
		`{"ruleId":"no-file","level":"warning","message":{"text":"cannot be read"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"file:///etc/%C3%BC/variables.yml"}}}]},` +
		`{"ruleId":"value","level":"warning","message":{"text":"from the center"}}]}]}`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
}
