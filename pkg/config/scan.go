package config

import (
	"bytes"
	"unicode/utf8"
)

// The YAML library reads 9 MB a second and needs 5 kB for a variable; a table of
// 100,000 would take two seconds and half a gigabyte. scanItems therefore reads
// the plain form that tables are written in itself,
//
//	- tag: plant.flow
//	  address: { type: holding, addr: 40001 }   # one level of mapping, in
//	  datatype: uint16                          # braces or indented
//	  scale: "value / 10"
//
// and leaves every item that has anything else in it to the library, and the
// whole file if the items can't even be told apart. What it does read it reads
// as the library would: a fuzz test holds the two to each other.

// scanItems cuts the variables table into items and reads them into d.tree. It
// returns false if the file has a form that only the library understands.
func (d *document) scanItems() bool {
	if !plainFile(d.src) {
		return false
	}
	spans, ok := splitItems(d.src)
	if !ok {
		return false
	}
	tree := make([]any, len(spans))
	left := 0 // items before i that are left to the library
	for i, s := range spans {
		item, ok := scanItem(d.src[s.start:s.end])
		if ok {
			tree[i] = item
			spans[i].plain = true
		} else if left++; left < libraryBatch && i+1 < len(spans) {
			continue
		}
		from := i - left
		if !ok {
			from++
		}
		if left > 0 && !d.libraryItems(spans[from:from+left], tree[from:]) {
			return false
		}
		left = 0
	}
	d.items, d.tree = spans, tree
	return true
}

// libraryBatch is how many items in a row go to the library at once: starting it
// costs more than reading an item, and its nodes need 5 kB for each.
const libraryBatch = 256

// libraryItems reads items with the YAML library. It refuses what may depend on,
// or be meant for, other items, and what is wrong: the library then gets the
// file as a whole, and its errors the right places.
func (d *document) libraryItems(spans []span, into []any) bool {
	text := d.src[spans[0].start:spans[len(spans)-1].end]
	if bytes.ContainsAny(text, "&*") && mayAlias(text) {
		return false
	}
	root, err := parseYAML(d.name, text)
	if err != nil || root == nil || len(root.Content) != len(spans) {
		return false
	}
	for i, n := range root.Content {
		if n.Line != spans[i].line-spans[0].line+1 {
			return false // an item in our eyes only
		}
	}
	b := newTreeBuilder(d.name)
	list, _ := b.build(root, 0, false).([]any)
	return len(b.findings) == 0 && copy(into, list) == len(spans)
}

// mayAlias reports whether an anchor or alias could be in text: & or * at the
// beginning of a word.
func mayAlias(text []byte) bool {
	for i, c := range text {
		if (c == '&' || c == '*') && i+1 < len(text) && !isBlank(text[i+1]) && (i == 0 || bytes.IndexByte([]byte(" \n[{,:-"), text[i-1]) >= 0) {
			return true
		}
	}
	return false
}

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// splitItems finds the items of a sequence whose dashes stand in one column.
func splitItems(src []byte) ([]span, bool) {
	spans := make([]span, 0, bytes.Count(src, []byte("\n"))/8+1)
	indent, begun := -1, false
	for offset, line := 0, 1; offset < len(src); line++ {
		end := lineEnd(src, offset)
		text := src[offset:end]
		blanks := leading(text)
		switch rest := text[blanks:]; {
		case len(rest) == 0 || rest[0] == '#' || isLineEnd(rest):
			// a comment or nothing
		case !begun && indent < 0 && blanks == 0 && bytes.HasPrefix(rest, []byte("---")) && isLineEnd(rest[3:]):
			begun = true // the beginning of the document
		case rest[0] == '-' && len(rest) > 1 && rest[1] == ' ' && (blanks == indent || indent < 0):
			indent = blanks
			if len(spans) > 0 {
				spans[len(spans)-1].end = offset
			}
			spans = append(spans, span{start: offset, end: len(src), line: line})
		case indent < 0 || blanks <= indent:
			return nil, false
		}
		offset = end
	}
	return spans, indent >= 0
}

// lineEnd returns where the line at offset ends, its line feed included.
func lineEnd(src []byte, offset int) int {
	if i := bytes.IndexByte(src[offset:], '\n'); i >= 0 {
		return offset + i + 1
	}
	return len(src)
}

func leading(b []byte) int {
	n := 0
	for n < len(b) && b[n] == ' ' {
		n++
	}
	return n
}

func isLineEnd(b []byte) bool {
	return len(b) == 0 || b[0] == '\n' || b[0] == '\r' && len(b) > 1 && b[1] == '\n'
}

// scanItem reads one item, or returns false if it does not know every bit of it
// for sure.
func scanItem(text []byte) (map[string]any, bool) {
	s := scanner{}
	return s.item(text)
}

// scanPlaces calls seen for each key of an item that scanItem knows.
func scanPlaces(text []byte, seen func(parent, key string, keyAt, valueAt int)) {
	s := scanner{seen: seen}
	s.item(text)
}

// scanner reads an item line by line. What is left of a line is always a suffix
// of it, so that its length tells where it stands.
type scanner struct {
	line   []byte
	offset int // of line in the item
	// seen, if not nil, is told each key with the key of the mapping that it is
	// in ("" for the item itself), and the offsets of key and value.
	seen func(parent, key string, keyAt, valueAt int)
}

// at returns the offset of rest, a suffix of the line.
func (s *scanner) at(rest []byte) int { return s.offset + len(s.line) - len(rest) }

// item reads "- key: value" and the lines below it.
func (s *scanner) item(text []byte) (map[string]any, bool) {
	if bytes.IndexByte(text, '\t') >= 0 {
		return nil, false
	}
	dash := leading(text)
	column := dash + 2 + leading(text[dash+2:])
	s.line = text[:lineEnd(text, 0)]
	if column < len(text) && text[column] == '{' {
		return s.braces(text, column)
	}
	m := make(map[string]any, 8)
	var nested map[string]any // of the key that had no value on its line
	parent, parentAt, nestedColumn := "", 0, -1
	for first := true; s.offset < len(text); first = false {
		s.line = text[s.offset:lineEnd(text, s.offset)]
		at := column
		if !first {
			at = leading(s.line)
		}
		switch into := m; {
		case !first && (isLineEnd(s.line[at:]) || s.line[at] == '#'):
			// nothing
		case at == column:
			if nested != nil && len(nested) == 0 {
				return nil, false // a key without a value: null
			}
			nested, parent, nestedColumn = nil, "", -1
			key, value, ok := s.pair(s.line[at:], into, "", true)
			if !ok {
				return nil, false
			}
			if value == nil {
				nested, parent, parentAt = map[string]any{}, key, s.offset+at
				into[key] = nested
			}
		case nested != nil && at > column && (nestedColumn < 0 || nestedColumn == at):
			if nestedColumn = at; s.seen != nil && len(nested) == 0 {
				s.seen("", parent, parentAt, s.offset+at)
			}
			if _, _, ok := s.pair(s.line[at:], nested, parent, false); !ok {
				return nil, false
			}
		default:
			return nil, false
		}
		s.offset += len(s.line)
	}
	return m, nested == nil || len(nested) > 0
}

// braces reads an item in braces, on one line.
func (s *scanner) braces(text []byte, column int) (map[string]any, bool) {
	m, rest, ok := s.flow(s.line[column+1:], "")
	if !ok || !blankOrComment(rest) {
		return nil, false
	}
	for offset := len(s.line); offset < len(text); offset = lineEnd(text, offset) {
		line := text[offset:]
		if at := leading(line); !isLineEnd(line[at:]) && line[at] != '#' {
			return nil, false
		}
	}
	return m, true
}

// pair reads a line's "key: value" into m. With mayOpen the value may be
// missing, for lines below it to hold; it is nil then.
func (s *scanner) pair(b []byte, m map[string]any, parent string, mayOpen bool) (key string, value any, ok bool) {
	key, rest, ok := scanKey(b)
	if !ok || m[key] != nil {
		return "", nil, false
	}
	if blankOrComment(rest) {
		return key, nil, mayOpen
	}
	value, rest, ok = s.value(rest, parent, key, s.at(b), false)
	if !ok || !blankOrComment(rest) {
		return "", nil, false
	}
	m[key] = value
	return key, value, true
}

// value reads what stands behind "key:": a scalar or a mapping in braces.
func (s *scanner) value(b []byte, parent, key string, keyAt int, inFlow bool) (value any, rest []byte, ok bool) {
	b = b[leading(b):]
	if s.seen != nil {
		s.seen(parent, key, keyAt, s.at(b))
	}
	if len(b) == 0 || b[0] != '{' {
		return scanScalar(b, inFlow)
	}
	m, rest, ok := s.flow(b[1:], key)
	return m, rest, ok
}

// flow reads "key: value, key: value }", all on one line.
func (s *scanner) flow(b []byte, parent string) (m map[string]any, rest []byte, ok bool) {
	m = make(map[string]any, 4)
	for {
		b = b[leading(b):]
		key, rest, ok := scanKey(b)
		if !ok || m[key] != nil {
			return nil, nil, false
		}
		if m[key], b, ok = s.value(rest, parent, key, s.at(b), true); !ok {
			return nil, nil, false
		}
		b = b[leading(b):]
		switch {
		case len(b) == 0:
			return nil, nil, false
		case b[0] == '}':
			return m, b[1:], true
		case b[0] != ',':
			return nil, nil, false
		}
		b = b[1:]
	}
}

// blankOrComment reports whether nothing but a comment is left of a line.
func blankOrComment(b []byte) bool {
	n := leading(b)
	return isLineEnd(b[n:]) || n > 0 && b[n] == '#'
}

// scanKey reads "word:" and leaves the blank behind it in rest.
func scanKey(b []byte) (key string, rest []byte, ok bool) {
	n := 0
	for n < len(b) && (b[n] >= 'a' && b[n] <= 'z' || b[n] == '_') {
		n++
	}
	if n == 0 || n+1 >= len(b) || b[n] != ':' || !isBlank(b[n+1]) {
		return "", nil, false
	}
	return intern(b[:n]), b[n+1:], true
}

// intern saves the allocation for the words that tables are full of.
func intern(b []byte) string {
	switch string(b) {
	case "tag":
		return "tag"
	case "driver_id":
		return "driver_id"
	case "access":
		return "access"
	case "address":
		return "address"
	case "datatype":
		return "datatype"
	case "type":
		return "type"
	case "holding":
		return "holding"
	case "input":
		return "input"
	case "addr":
		return "addr"
	case "len":
		return "len"
	case "R":
		return "R"
	case "scale":
		return "scale"
	case "unit":
		return "unit"
	case "uint16":
		return "uint16"
	case "int16":
		return "int16"
	case "float32":
		return "float32"
	}
	return string(b)
}

// scanScalar reads a quoted or a plain scalar.
func scanScalar(b []byte, inFlow bool) (value any, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	if q := b[0]; q == '"' || q == '\'' {
		n := bytes.IndexByte(b[1:], q)
		if n < 0 {
			return nil, nil, false
		}
		text, rest := b[1:n+1], b[n+2:]
		if bytes.IndexByte(text, '\\') >= 0 || len(rest) > 0 && rest[0] == q {
			return nil, nil, false // escapes
		}
		return string(text), rest, true
	}
	n := 0
	for n < len(b) && !plainEnd(b, n, inFlow) {
		n++
	}
	text := bytes.TrimRight(b[:n], " ")
	value, ok = plainScalar(text)
	return value, b[len(text):], ok
}

// plainEnd reports whether a plain scalar ends before b[i].
func plainEnd(b []byte, i int, inFlow bool) bool {
	switch c := b[i]; c {
	case '\n', '\r':
		return true
	case '#':
		return i > 0 && b[i-1] == ' '
	case ',', '}':
		return inFlow
	}
	return false
}

// plainScalar reads a decimal number, which may turn out to be a text, or a text
// that begins with a letter. Anything that YAML could take for something else is
// not for us.
func plainScalar(b []byte) (any, bool) {
	if len(b) == 0 {
		return nil, false
	}
	if b[0] >= '0' && b[0] <= '9' {
		for _, c := range b {
			if c < '0' || c > '9' {
				return nil, false
			}
		}
		if b[0] == '0' && len(b) > 1 {
			return nil, false
		}
		return plain(b), true
	}
	if c := b[0] | 0x20; c < 'a' || c > 'z' {
		if b[0] < utf8.RuneSelf {
			return nil, false
		}
	}
	if bytes.ContainsAny(b, ":#[]{},?\"'&*!|>%@`\\") {
		return nil, false
	}
	if len(b) <= 5 {
		for _, word := range [...]string{"true", "false", "null", "yes", "no", "on", "off"} {
			if len(b) == len(word) && bytes.EqualFold(b, []byte(word)) {
				return nil, false
			}
		}
	}
	return intern(b), true
}

// plainFile reports whether src is UTF-8 without anything that YAML refuses, or
// takes for a line break where we would not.
func plainFile(src []byte) bool {
	for i := 0; i < len(src); {
		c := src[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(src[i:])
			if r == utf8.RuneError || r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0xfffe && r <= 0xffff {
				return false
			}
			i += n
			continue
		}
		if c < ' ' && c != '\n' && c != '\t' && (c != '\r' || i+1 >= len(src) || src[i+1] != '\n') || c == 0x7f {
			return false
		}
		i++
	}
	return true
}
