// Package visible keeps text that others chose from steering what shows it: a terminal
// obeys escape sequences, and some characters hide, or reverse, what stands beside
// them.
//
// A character is hidden if it is a control character of ASCII or Latin-1 (Cc), a format
// character (Cf: directions, joiners, tags, the byte order mark), or a line or
// paragraph separator. A byte that is no UTF-8 is hidden too.
package visible

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Hidden reports whether a character must not be shown as it is.
func Hidden(r rune) bool {
	if r < utf8.RuneSelf {
		return r < 0x20 || r == 0x7F
	}
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// IsText reports whether nothing in s is hidden.
func IsText(s string) bool {
	for i := 0; i < len(s); i++ { // most texts are ASCII
		if c := s[i]; c < 0x20 || c >= 0x7F {
			return strings.IndexFunc(s, Hidden) < 0
		}
	}
	return true
}

// Text returns s with U+FFFD for each hidden character.
func Text(s string) string {
	if IsText(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if Hidden(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// AppendEscaped appends JSON text with \u escapes for the hidden characters in its
// strings: it means the same. Other hidden characters than line ends stand nowhere else
// in JSON.
func AppendEscaped(dst, json []byte) []byte {
	return escaped(dst, json, func(dst []byte, r rune) []byte {
		if r > 0xFFFF {
			hi, lo := utf16.EncodeRune(r)
			return fmt.Appendf(dst, `\u%04x\u%04x`, hi, lo)
		}
		return fmt.Appendf(dst, `\u%04x`, r)
	})
}

// AppendEscapedYAML does the same for YAML whose strings with hidden characters are in
// double quotes.
func AppendEscapedYAML(dst, yaml []byte) []byte {
	return escaped(dst, yaml, func(dst []byte, r rune) []byte { return fmt.Appendf(dst, `\U%08x`, r) })
}

func escaped(dst, text []byte, escape func([]byte, rune) []byte) []byte {
	if !slices.ContainsFunc(text, func(c byte) bool { return c >= 0x7F }) {
		return append(dst, text...) // what JSON leaves of ASCII as it is
	}
	for len(text) > 0 {
		n := bytes.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && r != '\r' && r != utf8.RuneError && Hidden(r) })
		if n < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:n]...)
		r, size := utf8.DecodeRune(text[n:])
		dst = escape(dst, r)
		text = text[n+size:]
	}
	return dst
}
