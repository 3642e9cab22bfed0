package tables

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// tableText returns what the file of a table is to be, so that it says what doc says.
func tableText(f *File, t config.Table, doc *config.Document) ([]byte, error) {
	if f.text == nil {
		return tableYAML(doc, t)
	}
	return mergeTable(f, t, doc)
}

// mergeTable returns the text of a table's file, changed so that it says what doc
// says. Items that are the same keep their text, and so do the fields of changed ones
// that stay. It works on lines, and looks afterwards whether the result means what it
// should. f is used up.
func mergeTable(f *File, t config.Table, doc *config.Document) ([]byte, error) {
	for _, exact := range []bool{true, false} {
		if !f.readable() {
			break
		}
		merged, err := mergeLines(f, t, doc, exact, nil)
		f.snap, f.src = nil, nil // reading the result needs the room
		if err == nil && meansOver(f.below, merged, t, doc) {
			return merged, nil
		}
		f = parseOver(f.below, f.path, f.text, t)
	}
	return tableYAML(doc, t) // flow style, anchors, …: comments are lost
}

// meansTable reports whether a text is the table t of doc.
func meansTable(text []byte, t config.Table, doc *config.Document) bool {
	return meansOver(nil, text, t, doc)
}

// meansOver is meansTable for a layer over the tables of below.
func meansOver(below *config.Document, text []byte, t config.Table, doc *config.Document) bool {
	f := parseOver(below, t.FileName(), text, t)
	return f.readable() && f.doc().SameTable(t, doc)
}

// entry is an item in a file: its lines, and what they mean.
type entry struct {
	id    string
	first int // offset of its first line
	end   int // offset of the line after its last one
	dent  int // blanks before it
	node  *yaml.Node
}

// mergeLines changes the lines of the items that doc has otherwise: with exact, those of
// the fields that change alone. With a marker, lines are not changed but marked.
func mergeLines(f *File, t config.Table, doc *config.Document, exact bool, m *marker) ([]byte, error) {
	text := withFinalNewline(f.text)
	entries, ok := f.spans(t)
	if !ok {
		var err error
		if entries, err = f.nodes(t); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	out.Grow(len(text) + len(text)/64)
	put := func(id string, was, is []byte) {
		if m == nil {
			out.Write(is)
		} else {
			m.write(&out, id, was, is)
		}
	}
	at := 0
	seen := map[string]bool{}
	for _, e := range entries {
		e.end = min(e.end, len(text))
		for e.end > e.first && isSpace(lastLine(text[e.first:e.end])) { // comments above an item are not of the one before
			e.end -= len(lastLine(text[e.first:e.end]))
		}
		out.Write(text[at:e.first])
		at = e.end
		seen[e.id] = true
		was := text[e.first:e.end]
		raw, ok := doc.Get(t, e.id)
		if !ok {
			put(e.id, was, nil) // removed; what was said above it stays
			continue
		}
		now, ok := f.doc().Get(t, e.id)
		if ok && bytes.Equal(now, raw) {
			out.Write(was)
			continue
		}
		is, edited := []byte(nil), false
		if exact {
			is, edited = editItem(t, was, now, raw)
		}
		if !edited {
			changed, err := e.update(t, text, raw)
			if err != nil {
				return nil, err
			}
			is = []byte(changed)
		}
		put(e.id, was, is)
	}
	out.Write(text[at:])
	dent := 0
	if len(entries) > 0 {
		dent = entries[0].dent
	}
	added := slices.DeleteFunc(slices.Clone(doc.Items(t)), func(it config.Item) bool { return seen[it.ID] })
	if m == nil {
		err := writeItems(&out, t, added, dent)
		return out.Bytes(), err
	}
	for i := range added { // each can be kept or left by itself
		var is bytes.Buffer
		if err := writeItems(&is, t, added[i:i+1], dent); err != nil {
			return nil, err
		}
		put(added[i].ID, nil, is.Bytes())
	}
	return out.Bytes(), nil
}

// lastLine returns the last line of text, which ends with a line feed.
func lastLine(text []byte) []byte {
	return text[bytes.LastIndexByte(text[:len(text)-1], '\n')+1:]
}

// spans finds the items where each could be read by itself: those of a long list.
func (f *File) spans(t config.Table) ([]entry, bool) {
	items := f.doc().Items(t)
	out := make([]entry, len(items))
	for i, it := range items {
		first, end, ok := f.src.Span(t, it.ID)
		if !ok {
			return nil, false
		}
		line := f.text[first:end]
		out[i] = entry{id: it.ID, first: first, end: end, dent: len(line) - len(bytes.TrimLeft(line, " "))}
	}
	slices.SortFunc(out, func(a, b entry) int { return cmp.Compare(a.first, b.first) })
	return out, len(out) > 0
}

// nodes finds the items of a file in block style.
func (f *File) nodes(t config.Table) ([]entry, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(f.text, &root); err != nil {
		return nil, err
	}
	if len(root.Content) == 0 {
		return nil, nil // nothing but comments
	}
	top := root.Content[0]
	if top.Style&yaml.FlowStyle != 0 || top.Kind == yaml.ScalarNode {
		return nil, errors.New("not in block style")
	}
	lines := []int{0} // where each begins
	for i, c := range f.text {
		if c == '\n' {
			lines = append(lines, i+1)
		}
	}
	step := 2
	if t.IDField() != "" {
		step = 1
	}
	var out []entry
	for i := 0; i+step <= len(top.Content); i += step {
		n := top.Content[i+step-1]
		e := entry{id: top.Content[i].Value, first: lines[top.Content[i].Line-1], end: len(f.text) + 1, node: n}
		if t.IDField() != "" {
			e.id, e.dent = mappingText(n, t.IDField()), max(0, n.Column-3) // behind "- "
		}
		if len(out) > 0 {
			out[len(out)-1].end = e.first
		}
		out = append(out, e)
	}
	return out, nil
}

func isSpace(text []byte) bool {
	line := strings.TrimSpace(string(text))
	return line == "" || line[0] == '#' || line == "..." || line == "---"
}

func mappingText(n *yaml.Node, name string) string {
	if v := mappingValue(n, name); v != nil {
		return v.Value
	}
	return ""
}

// update returns the lines of an entry that is to say raw.
func (e *entry) update(t config.Table, text, raw []byte) (string, error) {
	if e.node == nil {
		var root yaml.Node
		if err := yaml.Unmarshal(text[e.first:e.end], &root); err != nil {
			return "", err
		}
		e.node = root.Content[0].Content[0] // a list of one item, or it had no span
	}
	want, err := itemNode(raw)
	if err != nil {
		return "", err
	}
	updateNode(e.node, want)
	e.node.HeadComment, e.node.FootComment = "", "" // they stand outside of its lines
	var out bytes.Buffer
	err = writeNodes(&out, t, []string{e.id}, []*yaml.Node{e.node}, e.dent)
	return out.String(), err
}

// updateNode gives n the fields of want, keeping what is the same.
func updateNode(n, want *yaml.Node) {
	if n.Kind != yaml.MappingNode || want.Kind != yaml.MappingNode {
		if n.Kind == want.Kind && n.Kind == yaml.ScalarNode && n.Value == want.Value {
			return
		}
		line := n.LineComment
		*n = *want
		n.LineComment = line
		return
	}
	n.Content = slices.Clone(n.Content)
	for i := 0; i+1 < len(n.Content); {
		if mappingValue(want, n.Content[i].Value) == nil {
			n.Content = slices.Delete(n.Content, i, i+2)
			continue
		}
		i += 2
	}
	for i := 0; i+1 < len(want.Content); i += 2 {
		if have := mappingValue(n, want.Content[i].Value); have != nil {
			updateNode(have, want.Content[i+1])
		} else {
			n.Content = append(n.Content, want.Content[i], want.Content[i+1])
		}
	}
}

func mappingValue(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}
