package config

import (
	"encoding/json"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]struct {
		d     time.Duration
		short string
	}{
		"500ms":              {500 * time.Millisecond, "500ms"},
		"1000ms":             {time.Second, "1s"},
		"1d":                 {24 * time.Hour, "1d"},
		"1h30m":              {90 * time.Minute, "90m"},
		"1.5s":               {1500 * time.Millisecond, "1500ms"},
		"2us":                {2 * time.Microsecond, "2us"},
		"2µs":                {2 * time.Microsecond, "2us"},
		"7ns":                {7, "7ns"},
		"0s":                 {0, "0s"},
		"106751d":            {106751 * 24 * time.Hour, "106751d"},
		"9007199254740993ns": {9007199254740993, "9007199254740993ns"}, // more than a float64 holds
	} {
		d, err := ParseDuration(text)
		if err != nil || d.Std() != want.d || d.String() != want.short {
			t.Errorf("ParseDuration(%q) = %v (%s), %v; want %v (%s)", text, d.Std(), d, err, want.d, want.short)
		}
		var fromJSON, fromYAML Duration
		if err := json.Unmarshal([]byte(`"`+text+`"`), &fromJSON); err != nil || fromJSON != d {
			t.Errorf("JSON %q: %v, %v", text, fromJSON, err)
		}
		if err := yaml.Unmarshal([]byte(text), &fromYAML); err != nil || fromYAML != d {
			t.Errorf("YAML %q: %v, %v", text, fromYAML, err)
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%q does not survive: %v, %v", text, again, err)
		}
	}
	for _, text := range []string{"", "1", "s", "1x", "-1s", "1 s", "1.s", ".5s", "1s ", "1e3s", "106752d", "99999999999999999999s", "1m30"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v; want an error", text, d)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]struct {
		s     Size
		short string
	}{
		"0": {0, "0"}, "1": {1, "1"}, "1024": {KiB, "1K"}, "512M": {512 * MiB, "512M"}, "4G": {4 * GiB, "4G"},
		"1000K": {1000 * KiB, "1000K"}, "1048577": {MiB + 1, "1048577"},
	} {
		s, err := ParseSize(text)
		if err != nil || s != want.s || s.String() != want.short {
			t.Errorf("ParseSize(%q) = %d (%s), %v; want %d (%s)", text, s, s, err, want.s, want.short)
		}
		for _, doc := range []string{`"` + text + `"`, `"` + s.String() + `"`} {
			var got Size
			if err := json.Unmarshal([]byte(doc), &got); err != nil || got != s {
				t.Errorf("JSON %s: %d, %v", doc, got, err)
			}
			if err := yaml.Unmarshal([]byte(doc), &got); err != nil || got != s {
				t.Errorf("YAML %s: %d, %v", doc, got, err)
			}
		}
	}
	var n Size
	if err := json.Unmarshal([]byte("4096"), &n); err != nil || n != 4*KiB {
		t.Errorf("JSON number: %d, %v", n, err)
	}
	for _, text := range []string{"", "K", "-1", "1k", "1KB", "1.5M", "9223372036854775807G", "1T"} {
		if s, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d; want an error", text, s)
		}
	}
}
