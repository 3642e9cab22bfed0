package tables

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// The YAML library needs 30 µs and 30 kB for an item, which is too much for a hundred
// thousand. plainWriter writes items itself whose every key and text YAML takes as it
// stands, and leaves the others to the library. What it writes is what the library
// writes: a test holds the two to each other.

// plainWriter writes items of one table.
type plainWriter struct {
	table config.Table
	dent  string
	rank  map[string]int
	buf   []byte
	json  []byte // what is left of the item
}

func newPlainWriter(t config.Table, dent int) *plainWriter {
	w := &plainWriter{table: t, dent: strings.Repeat(" ", dent), rank: make(map[string]int, len(fieldOrder))}
	for i, name := range fieldOrder {
		w.rank[name] = i
	}
	return w
}

// plainField is a member of a JSON object: a scalar as YAML has it, or an object.
type plainField struct {
	key, scalar []byte
	rank        int
	object      []plainField
}

// item returns the lines of an item, until the next call; false if it isn't plain.
func (w *plainWriter) item(it config.Item) ([]byte, bool) {
	w.json = it.JSON
	fields, ok := w.object()
	if !ok || len(w.json) > 0 || len(fields) == 0 {
		return nil, false
	}
	w.buf = append(w.buf[:0], w.dent...)
	inner := w.dent + "  "
	if w.table.IDField() != "" {
		if fields[0].object != nil {
			return nil, false
		}
		w.buf = append(w.buf, "- "...)
		w.line(fields[0])
		fields = fields[1:]
	} else {
		if !isPlain([]byte(it.ID)) {
			return nil, false
		}
		w.buf = append(append(w.buf, it.ID...), ":\n"...)
	}
	w.fields(fields, inner)
	return w.buf, true
}

func (w *plainWriter) line(f plainField) {
	w.buf = append(append(append(append(w.buf, f.key...), ": "...), f.scalar...), '\n')
}

func (w *plainWriter) fields(fields []plainField, dent string) {
	for _, f := range fields {
		w.buf = append(w.buf, dent...)
		switch {
		case f.object == nil:
			w.line(f)
		case string(f.key) == "address":
			w.buf = append(append(w.buf, f.key...), ": {"...)
			for i, sub := range f.object {
				if i > 0 {
					w.buf = append(w.buf, ", "...)
				}
				w.buf = append(append(append(w.buf, sub.key...), ": "...), sub.scalar...)
			}
			w.buf = append(w.buf, "}\n"...)
		default:
			w.buf = append(append(w.buf, f.key...), ":\n"...)
			w.fields(f.object, dent+"  ")
		}
	}
}

// object reads a JSON object without blanks in it; its fields come in people's order.
func (w *plainWriter) object() ([]plainField, bool) {
	if !w.take('{') || w.take('}') {
		return nil, false
	}
	out := make([]plainField, 0, 12)
	for {
		var f plainField
		var ok bool
		if f.key, ok = w.text(); !ok || !w.take(':') || len(w.json) == 0 {
			return nil, false
		}
		switch c := w.json[0]; {
		case c == '"':
			f.scalar, ok = w.text()
		case c == '{':
			f.object, ok = w.object()
			if string(f.key) == "address" && slices.ContainsFunc(f.object, func(sub plainField) bool { return sub.object != nil }) {
				return nil, false
			}
		default:
			f.scalar, ok = w.word()
		}
		if !ok {
			return nil, false
		}
		f.rank = len(fieldOrder)
		if r, known := w.rank[string(f.key)]; known {
			f.rank = r
		}
		out = append(out, f)
		if w.take('}') {
			slices.SortStableFunc(out, func(a, b plainField) int { return a.rank - b.rank })
			return out, true
		}
		if !w.take(',') {
			return nil, false
		}
	}
}

func (w *plainWriter) take(c byte) bool {
	if len(w.json) == 0 || w.json[0] != c {
		return false
	}
	w.json = w.json[1:]
	return true
}

// text reads a string that YAML takes as it stands.
func (w *plainWriter) text() ([]byte, bool) {
	if !w.take('"') {
		return nil, false
	}
	n := bytes.IndexByte(w.json, '"')
	if n < 0 {
		return nil, false
	}
	s := w.json[:n]
	w.json = w.json[n+1:]
	return s, isPlain(s)
}

// word reads a number, true, false or null, which YAML has too.
func (w *plainWriter) word() ([]byte, bool) {
	n := bytes.IndexAny(w.json, ",}")
	if n <= 0 {
		return nil, false
	}
	s := w.json[:n]
	w.json = w.json[n:]
	return s, !bytes.ContainsAny(s, "[]{ \"")
}

// isPlain reports whether a text needs no quotes in YAML, anywhere: it begins with a
// letter, has nothing that YAML looks at, and is no word that means something else.
func isPlain(s []byte) bool {
	if len(s) == 0 || len(s) > 100 || s[len(s)-1] == ' ' {
		return false
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRune(s[i:])
		letter := r < utf8.RuneSelf && (r|0x20 >= 'a' && r|0x20 <= 'z') || r >= 0xa0 && r < 0xd7ff && unicode.IsLetter(r)
		if !letter && (i == 0 || !strings.ContainsRune("0123456789_./-+*()%=; ", r)) {
			return false
		}
		i += size
	}
	switch strings.ToLower(string(s)) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return false
	}
	return true
}
