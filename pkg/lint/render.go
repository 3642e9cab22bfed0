package lint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/visible"
)

// Style is how [WriteText] writes.
type Style struct {
	Source bool // below each finding, the line it is about and a caret
	Color  bool
}

// WriteText writes one line per finding: "file:line:col: severity: message
// (rule)".
func WriteText(w io.Writer, fs config.Findings, style Style) error {
	var out bytes.Buffer
	lines := sourceLines{}
	type place struct {
		file string
		line int
	}
	hidden := map[place]bool{}
	for _, f := range fs {
		hidden[place{f.File, f.Line}] = hidden[place{f.File, f.Line}] || f.Secret
	}
	for _, f := range fs {
		s := visible.Text(f.String())
		if style.Color {
			s = colored(f, s)
		}
		out.WriteString(s + "\n")
		if style.Source && f.Line > 0 {
			if line, secret, ok := lines.get(f.File, f.Line); ok && !secret && !hidden[place{f.File, f.Line}] {
				out.WriteString(sourceLine(f, line))
			}
		}
		if out.Len() > 64<<10 {
			if _, err := out.WriteTo(w); err != nil {
				return err
			}
		}
	}
	_, err := out.WriteTo(w)
	return err
}

func colored(f config.Finding, s string) string {
	code := "33" // yellow
	if f.Severity == config.SeverityError {
		code = "31" // red
	}
	sev := string(f.Severity) + ":"
	return strings.Replace(s, " "+sev, " \x1b[1;"+code+"m"+sev+"\x1b[0m", 1)
}

// sourceLine shows the line of a finding with a caret below its column.
func sourceLine(f config.Finding, line string) string {
	const widest = 160
	// A line may be as long as its file, and have as many findings.
	runes := []rune(strings.ReplaceAll(line[:min(len(line), utf8.UTFMax*(widest+1))], "\t", " "))
	column := f.Column
	if len(runes) > widest {
		if column > widest {
			return "" // a caret far out helps nobody
		}
		runes = append(runes[:widest:widest], '…')
	}
	column = min(column, len(runes)+1)
	number := fmt.Sprintf("%5d | ", f.Line)
	return fmt.Sprintf("%s%s\n%s| %s^\n", number, visible.Text(string(runes)), strings.Repeat(" ", len(number)-2), strings.Repeat(" ", max(column-1, 0)))
}

// sourceLines keeps the lines of the files that findings are in.
type sourceLines map[string]*sourceText

type sourceText struct {
	lines  []string
	secret []bool // whether a line may hold a secret
}

func (s sourceLines) get(file string, n int) (line string, secret, ok bool) {
	text, known := s[file]
	if !known {
		text = &sourceText{}
		// A file that can't be read shows no lines; the finding itself says more.
		if b, err := regular.ReadFile(file, maxShown); err == nil {
			text.lines = strings.Split(string(b), "\n")
			text.secret = secretLines(text.lines)
		}
		s[file] = text
	}
	if n < 1 || n > len(text.lines) {
		return "", false, false
	}
	return strings.TrimSuffix(text.lines[n-1], "\r"), text.secret[n-1], true
}

// maxShown is the largest file whose lines are shown, in bytes.
const maxShown = 256 << 20

// secretLines tells of each line whether it may hold a secret: a field for one or user
// info of a URL stands in it, or it is part of a value that is indented below such a
// field.
func secretLines(lines []string) []bool {
	type above struct {
		indent int
		secret bool
	}
	var open []above // the lines that the next one may be part of
	out := make([]bool, len(lines))
	for i, line := range lines {
		line = strings.TrimRight(line, "\r ")
		text := strings.TrimLeft(line, " \t-")
		if text == "" {
			out[i] = i > 0 && out[i-1]
			continue
		}
		indent := len(line) - len(text)
		for len(open) > 0 && open[len(open)-1].indent >= indent {
			open = open[:len(open)-1]
		}
		secret := holdsSecretKey(text) || len(open) > 0 && open[len(open)-1].secret
		open = append(open, above{indent, secret})
		out[i] = secret || strings.Contains(text, "@")
	}
	return out
}

// holdsSecretKey reports whether a field for a secret begins in a line.
func holdsSecretKey(line string) bool {
	for _, name := range config.SecretNames() {
		for rest := line; ; {
			_, after, found := strings.Cut(rest, name)
			if !found {
				break
			}
			if after = strings.TrimLeft(after, "\"' "); strings.HasPrefix(after, ":") {
				return true
			}
			rest = after
		}
	}
	return false
}

// WriteJSON writes the findings as one array.
func WriteJSON(w io.Writer, fs config.Findings) error {
	if fs == nil {
		fs = config.Findings{}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(fs)
}

// The part of SARIF 2.1.0 that code review tools read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Columns string        `json:"columnKind"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID string `json:"id"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
)

// WriteSARIF writes the findings in the form that code review tools import.
func WriteSARIF(w io.Writer, fs config.Findings, version string) error {
	run := sarifRun{Columns: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "edge-cfg", Version: version, Rules: []sarifRule{}}
	seen := make(map[string]bool)
	for _, f := range fs {
		if !seen[f.Rule] {
			seen[f.Rule] = true
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{f.Rule})
		}
		run.Results = append(run.Results, sarifResult{f.Rule, string(f.Severity), sarifMessage{f.Message}, sarifLocations(f)})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(sarifLog{
		Schema:  "https://json.schemastore.org/sarif-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

// sarifLocations returns where a finding is: nowhere if it is in no file.
func sarifLocations(f config.Finding) []sarifLocation {
	if f.File == "" {
		return nil
	}
	uri := url.URL{Path: filepath.ToSlash(f.File)}
	if filepath.IsAbs(f.File) {
		uri.Scheme = "file"
	}
	p := sarifPhysical{Artifact: sarifArtifact{uri.String()}}
	if f.Line > 0 {
		p.Region = &sarifRegion{f.Line, f.Column}
	}
	return []sarifLocation{{p}}
}
