package number

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// The plain scalars that YAML 1.1 takes for something else than text
// (yaml.org/type: bool, int, float, timestamp, null). y and n alone are not among
// them: no reader in use takes them for booleans.
var yaml11 = sync.OnceValue(func() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, text := range [...]string{
		`^(0|[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?[1-9][0-9_]*|[-+]?0|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+)$`,
		`^[-+]?(([0-9][0-9_]*)?\.[0-9.]*([eE][-+][0-9]+)?|[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$`,
		`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ]|$)`,
	} {
		out = append(out, regexp.MustCompile(text))
	}
	return out
})

// Old returns what YAML 1.1 reads a plain scalar as where that isn't what it
// stands there as: "true" for yes, "64" for 0100, "90" for 1:30. It returns "" for
// what 1.1 reads as it stands, or as 1.2 does.
func Old(text string) string {
	if text == "" || len(text) > 64 {
		return ""
	}
	switch text {
	case "yes", "Yes", "YES", "on", "On", "ON":
		return "true"
	case "no", "No", "NO", "off", "Off", "OFF":
		return "false"
	}
	if c := text[0]; (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
		return ""
	}
	if isDigits(text) && text[0] != '0' {
		return "" // most are
	}
	patterns := yaml11()
	switch {
	case patterns[0].MatchString(text):
		return oldInteger(text)
	case patterns[1].MatchString(text):
		return oldFloat(text)
	case patterns[2].MatchString(text):
		return "a date"
	}
	if v, err := Parse(text); err == nil {
		if _, isFloat := v.(float64); isFloat && strings.ContainsAny(text, "eE") {
			return "text" // an exponent without a point or without a sign
		}
	}
	return ""
}

// oldInteger returns what 1.1 makes of one of its integers, if it is another than
// ours.
func oldInteger(text string) string {
	sign := ""
	digits := strings.TrimLeft(text, "+-")
	if text[0] == '-' {
		sign = "-"
	}
	plain := strings.ReplaceAll(digits, "_", "")
	base := 10
	switch {
	case strings.Contains(plain, ":"):
		if n, ok := sexagesimal(plain); ok {
			return sign + n
		}
		return "a number counted in sixties"
	case strings.HasPrefix(plain, "0x"):
		base, plain = 16, plain[2:]
	case strings.HasPrefix(plain, "0b"):
		base, plain = 2, plain[2:]
	case len(plain) > 1 && plain[0] == '0':
		base = 8
	}
	n, ok := inBase(plain, base)
	if !ok {
		return ""
	}
	if _, err := Parse(text); err == nil {
		return "" // both read it, and the same
	}
	return sign + n
}

func oldFloat(text string) string {
	plain := strings.ReplaceAll(text, "_", "")
	f, err := strconv.ParseFloat(plain, 64)
	if _, own := Parse(text); own == nil || err != nil {
		if err != nil && own != nil && text != plain {
			return "a number"
		}
		return ""
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
