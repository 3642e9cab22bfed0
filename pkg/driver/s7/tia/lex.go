package tia

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a piece of a source.
type token struct {
	line   int
	text   string // of a name in quotes without them
	quoted bool   // it is a name, whatever it says
	end    bool
}

// is reports whether the token is a word or sign, in capital or small letters.
func (t token) is(word string) bool { return !t.quoted && !t.end && strings.EqualFold(t.text, word) }

// lexer takes a source apart. Comments are left out.
type lexer struct {
	rest string
	line int
}

func newLexer(text string) *lexer { return &lexer{text, 1} }

// skip drops n bytes.
func (l *lexer) skip(n int) {
	l.line += strings.Count(l.rest[:n], "\n")
	l.rest = l.rest[n:]
}

// skipPast drops everything up to and with mark; without one, everything.
func (l *lexer) skipPast(from int, mark string) {
	if i := strings.Index(l.rest[from:], mark); i >= 0 {
		l.skip(from + i + len(mark))
		return
	}
	l.skip(len(l.rest))
}

// skipLine drops the rest of the line.
func (l *lexer) skipLine() { l.skipPast(0, "\n") }

// blank drops blanks and comments.
func (l *lexer) blank() {
	for {
		trimmed := strings.TrimLeftFunc(l.rest, unicode.IsSpace)
		l.skip(len(l.rest) - len(trimmed))
		switch {
		case strings.HasPrefix(l.rest, "//"):
			l.skipLine()
		case strings.HasPrefix(l.rest, "(*"):
			l.skipPast(2, "*)")
		case strings.HasPrefix(l.rest, "/*"):
			l.skipPast(2, "*/")
		default:
			return
		}
	}
}

// next returns the next token.
func (l *lexer) next() token {
	l.blank()
	t := token{line: l.line}
	if l.rest == "" {
		t.end = true
		return t
	}
	switch c := l.rest[0]; {
	case c == '"':
		n := strings.IndexAny(l.rest[1:], "\"\n")
		if n < 0 || l.rest[1+n] == '\n' {
			break // a quote without an end is a sign like another
		}
		t.text, t.quoted = l.rest[1:1+n], true
		l.skip(n + 2)
		return t
	case c == '\'':
		t.text = l.literal()
		return t
	case strings.HasPrefix(l.rest, ".."), strings.HasPrefix(l.rest, ":="):
		t.text = l.rest[:2]
		l.skip(2)
		return t
	}
	n := strings.IndexFunc(l.rest, func(r rune) bool { return r != '_' && r != '#' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if n < 0 {
		n = len(l.rest)
	}
	if n == 0 {
		_, n = utf8.DecodeRuneInString(l.rest)
	}
	t.text = l.rest[:n]
	l.skip(n)
	return t
}

// literal takes a text in single quotes, in which $' is a quote.
func (l *lexer) literal() string {
	for i := 1; i < len(l.rest) && l.rest[i] != '\n'; i++ {
		switch l.rest[i] {
		case '$':
			i++
		case '\'':
			text := l.rest[:i+1]
			l.skip(i + 1)
			return text
		}
	}
	l.skip(1)
	return "'"
}
