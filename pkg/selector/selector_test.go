package selector

import (
	"strings"
	"testing"
)

func TestMatches(t *testing.T) {
	lyon := map[string]string{"site": "lyon", "line": "press", "ring": "pilot", "acme.com/spare": ""}
	for text, want := range map[string]bool{
		"site=lyon":                    true,
		"site==lyon":                   true,
		" site = lyon , line = press ": true,
		"site=ulm":                     false,
		"site=lyon,line=saw":           false,
		"site!=ulm":                    true,
		"site!=lyon":                   false,
		"owner!=ulm":                   true, // isn't there
		"site in (ulm,lyon)":           true,
		"site in ( ulm , lyon ),ring":  true,
		"site in(lyon)":                true,
		"site notin (ulm)":             true,
		"site notin (ulm, lyon)":       false,
		"owner notin (ulm)":            true,
		"owner in (ulm)":               false,
		"ring":                         true,
		"!ring":                        false,
		"! owner":                      true,
		"acme.com/spare":               true,
		"acme.com/spare=":              true,
		"site=":                        false,
		"site=lyon,line!=saw,ring in(pilot,early),!owner": true,
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := s.Matches(lyon); got != want {
			t.Errorf("%q matches: %v, want %v", text, got, want)
		}
	}
	if (Selector{}).Matches(lyon) {
		t.Error("the zero selector matches")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "at least one label",
		" ":                              "at least one label",
		",":                              "a comma too many",
		"site=lyon,":                     "a comma too many",
		"site=lyon,,ring":                "a comma too many",
		"=lyon":                          "not a label's name",
		"!=lyon":                         "not a label's name",
		"site!lyon":                      "expected != behind",
		"site=ly on":                     "not a label's value",
		"site=a=b":                       "not a label's value",
		"site===b":                       "not a label's value",
		"site in (ulm":                   "expected k=v",
		"site in ulm":                    "expected k=v",
		"site in (a)(b)":                 "not a label's value",
		"site in ()":                     "a value of the list is empty",
		"site in (a,)":                   "a value of the list is empty",
		"site within (a)":                "expected k=v",
		"site > 5":                       "expected k=v",
		"-site":                          "not a label's name",
		"site=lyon-":                     "not a label's value",
		"prés":                           "not a label's name",
		strings.Repeat("a", 64):          "not a label's name",
		strings.Repeat("a=1,", 65) + "b": "more than 64 parts",
		"a in (" + strings.Repeat("b,", 3000) + "b)": "at most 4096",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// FuzzParse: whatever is read matches, or doesn't, for good; and reads again as itself.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"site=lyon", "a!=b,c in (d,e),!f,g notin (h)", "!a=b", "a(,)", "in in (in)", "a\x00=b"} {
		f.Add(s, "site", "lyon")
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		labels := map[string]string{name: value}
		if err != nil || again.Matches(labels) != s.Matches(labels) {
			t.Errorf("%q reads as %q, and that differently: %v", text, s, err)
		}
		for _, r := range s.requirements {
			if !ValidName(r.name) {
				t.Errorf("%q: the name %q got through", text, r.name)
			}
			for _, v := range r.values {
				if !ValidValue(v) {
					t.Errorf("%q: the value %q got through", text, v)
				}
			}
		}
	})
}
