package cli

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/visible"
)

// TestWhatOthersWroteIsShown: text of others reaches no terminal as it is, in no
// format; what a program reads is what was written, and one bad text does not take a
// listing away.
func TestWhatOthersWroteIsShown(t *testing.T) {
	type row struct {
		Tag  string            `json:"tag"`
		Unit string            `json:"unit"`
		N    any               `json:"n"`
		More []any             `json:"more"`
		Map  map[string]string `json:"map"`
	}
	var rows []row
	for _, s := range []string{
		"\x1b[2J\x1b]0;owned\a", "a\rb", "\u009b31m", "\u0085", "\u202etxt.exe", "\u2066x", "\u200b", "\ufeff", "\u2028", "\U000e0041", "\xff", "\x00\x7f",
		"null", "1", "1e3", "0x10", "yes", "~", "2026-01-01", "- a: b", "#", "&a", "*a", "!tag", "'", "\"", "", " x ", "a: b", "|", "line\nline", "tab\t", "é", "°C", "[", "{",
	} {
		rows = append(rows, row{s, s, 1.5, []any{s, nil, true, []any{}, map[string]any{}, 12, -0.25, 1e300, uint64(1<<64 - 1)}, map[string]string{"k": s}})
	}
	want, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []Format{FormatJSON, FormatYAML, FormatTable} {
		var b bytes.Buffer
		o := &Output{Format: format, w: &b}
		if err := o.Print(rows, func(t *Table) {
			t.Header("TAG", "UNIT")
			for _, r := range rows {
				t.Row(r.Tag, r.Unit)
			}
		}); err != nil {
			t.Fatal(format, err)
		}
		for _, r := range b.String() {
			if r != '\n' && r != '\ufffd' && visible.Hidden(r) {
				t.Errorf("%s shows %U", format, r)
			}
		}
		var got, back any
		switch format {
		case FormatJSON:
			err = json.Unmarshal(b.Bytes(), &got)
		case FormatYAML:
			err = yaml.Unmarshal(b.Bytes(), &got)
		default:
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", format, err, b.String())
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var again any
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(want, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again, back) {
			t.Errorf("%s reads otherwise:\n%s\n%s", format, text, want)
		}
	}
}
