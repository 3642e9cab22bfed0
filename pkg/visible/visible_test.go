package visible

import (
	"encoding/json"
	"testing"
)

// TestHidden: what steers a terminal or hides text is recognised, in all its forms.
func TestHidden(t *testing.T) {
	for _, s := range []string{"\x1b[2J", "a\rb", "a\nb", "a\tb", "\x00", "\x7f", "\u0085", "\u009b31m", "\u202e", "\u2066x\u2069", "\u200b", "\u200f", "\u061c", "\ufeff", "\u2028", "\u2029", "\U000e0041", "\xff", "\u00ad"} {
		got := Text(s)
		if IsText(s) || !json.Valid([]byte(`"`+got+`"`)) && got == s || Text(got) != got {
			t.Errorf("%q becomes %q", s, got)
		}
		for _, r := range got {
			if r != '\ufffd' && Hidden(r) {
				t.Errorf("%q becomes %q", s, got)
			}
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back, want string
		safe := AppendEscaped(nil, raw)
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &back); err != nil || back != want {
			t.Errorf("%q as JSON is %s, which reads %q (%v)", s, safe, back, err)
		}
		for _, r := range string(safe) {
			if r != '\ufffd' && Hidden(r) {
				t.Errorf("%q as JSON is %q", s, safe)
			}
		}
	}
	for _, s := range []string{"", "plain", "m³/h", "°C", "温度", "مرحبا", "é", "👍", "~ \\\""} {
		if !IsText(s) || Text(s) != s {
			t.Errorf("%q is changed to %q", s, Text(s))
		}
	}
}
