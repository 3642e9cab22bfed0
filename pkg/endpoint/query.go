package endpoint

import (
	"fmt"
	"strings"
)

// splitQuery reads "a=1&b=2".
func splitQuery(raw string) ([]Param, error) { return appendQuery(nil, raw) }

func appendQuery(params []Param, raw string) ([]Param, error) {
	for rest := raw; rest != ""; {
		var item string
		item, rest, _ = strings.Cut(rest, "&")
		if item == "" {
			continue
		}
		name, rawValue, ok := strings.Cut(item, "=")
		if !isOptionName(name) { // and may be part of a password, so it isn't shown
			return nil, fieldError("opts", "an option's name has other characters than a-z, 0-9 and _")
		}
		if !ok {
			return nil, fieldError("opts."+name, "has no value: write %s=VALUE", name)
		}
		value, err := unescape(rawValue)
		if err != nil {
			return nil, fieldError("opts."+name, "%v", err)
		}
		params = append(params, Param{name, value})
	}
	return params, nil
}

func isOptionName(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return name != ""
}

// joinQuery writes what splitQuery reads.
func joinQuery(params []Param) string {
	if len(params) == 0 {
		return ""
	}
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.Name)
		b.WriteByte('=')
		b.WriteString(escape(p.Value))
	}
	return b.String()
}

// plain reports whether c needs no escape anywhere in a URL of ours.
func plain(c byte) bool {
	switch c {
	case '-', '.', '_', '~', '/', ':', ',', ';', '!', '*', '(', ')':
		return true
	}
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isCanonical reports whether raw is surely what joinQuery would write: one or
// more options without escapes.
func isCanonical(raw string) bool {
	names := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '=' && !names:
			names = true
		case c == '&' && names:
			names = false
		case !plain(c):
			return false
		}
	}
	return names
}

// escape writes text so that unescape gives it back, wherever in a URL it stands
// but in a user name, which must not hold a ":".
func escape(text string) string {
	i := 0
	for i < len(text) && plain(text[i]) {
		i++
	}
	if i == len(text) {
		return text
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(text)+16)
	for j := 0; j < len(text); j++ {
		if c := text[j]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// unescape decodes %XX.
func unescape(text string) (string, error) {
	i := strings.IndexByte(text, '%')
	if i < 0 {
		return text, nil
	}
	b := append(make([]byte, 0, len(text)), text[:i]...)
	for ; i < len(text); i++ {
		if text[i] != '%' {
			b = append(b, text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", fmt.Errorf("has an unfinished %% escape")
		}
		hi, ok1 := unhex(text[i+1])
		lo, ok2 := unhex(text[i+2])
		if !ok1 || !ok2 {
			return "", fmt.Errorf("has a bad %% escape: write %%25 for a %% that is meant")
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), nil
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
