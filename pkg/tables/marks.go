package tables

import (
	"bytes"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// marker writes what two sides say of an item into one text, as git does.
type marker struct {
	theirs string   // what the other side is called
	ids    []string // of what it wrote
}

// write writes the lines of both sides.
func (m *marker) write(out *bytes.Buffer, id string, local, theirs []byte) {
	m.ids = append(m.ids, id)
	for _, part := range [][]byte{[]byte("<<<<<<< local\n"), local, []byte("=======\n"), theirs, []byte(">>>>>>> " + m.theirs + "\n")} {
		out.Write(part)
	}
}

// oneSide returns a marked text as one side has it.
func oneSide(text []byte, theirs bool) []byte {
	out := make([]byte, 0, len(text))
	side := byte(0) // the last mark
	for line := range bytes.Lines(text) {
		mark := config.ConflictMark(line)
		switch {
		case mark == '>':
			side = 0
		case mark != 0:
			side = mark
		case side == 0, side == '<' && !theirs, side == '=' && theirs:
			out = append(out, line...)
		}
	}
	return out
}

// markTable returns the text of f, which says what one side wants, with the items that the
// other side has otherwise marked, each with both. Taking one side everywhere makes that
// side's table; the local one keeps the text as it is. It also returns the line at which
// each item is marked.
func markTable(f *File, t config.Table, theirs *config.Document, label string) ([]byte, func(id string) int, error) {
	local := withFinalNewline(f.text)
	for _, exact := range []bool{true, false} {
		m := &marker{theirs: label}
		text, err := mergeLines(f, t, theirs, exact, m)
		if err == nil && bytes.Equal(oneSide(text, false), local) && meansOver(f.below, oneSide(text, true), t, theirs) {
			lines := marks(text)
			return text, func(id string) int { return lines[slices.Index(m.ids, id)] }, nil
		}
	}
	whole, err := tableYAML(theirs, t) // flow style, an empty list, …
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	(&marker{theirs: label}).write(&out, "", local, whole)
	return out.Bytes(), func(string) int { return 1 }, nil
}

func withFinalNewline(text []byte) []byte {
	if n := len(text); n > 0 && text[n-1] != '\n' {
		return append(slices.Clip(text), '\n')
	}
	return text
}

// marks returns the lines of a text at which conflicts begin.
func marks(text []byte) []int {
	var out []int
	n := 0
	for line := range bytes.Lines(text) {
		if n++; config.ConflictMark(line) == '<' {
			out = append(out, n)
		}
	}
	return out
}
