package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// mergeTable returns the text of a table's file, changed so that it says what doc
// says. Items that are the same keep their text; changed ones keep the comments on
// the fields that stay. It works on lines, and looks afterwards whether the result
// means what it should.
func mergeTable(name string, text []byte, t config.Table, doc *config.Document) ([]byte, error) {
	merged, err := mergeLines(text, t, doc)
	if err == nil && meansTable(merged, t, doc) {
		return merged, nil
	}
	merged, err = tableYAML(doc, t) // flow style, anchors, …: comments are lost
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return merged, nil
}

// meansTable reports whether a text is the table t of doc.
func meansTable(text []byte, t config.Table, doc *config.Document) bool {
	snap, _, findings := config.ReadText(t, t.FileName(), text)
	findings = slices.DeleteFunc(findings, func(f config.Finding) bool { return f.Rule == "reference" })
	return findings.Err() == nil && snap.Document().TableSHA256(t) == doc.TableSHA256(t)
}

// entry is an item in a file: its lines, and what they mean.
type entry struct {
	id    string
	first int // index of its first line
	end   int // index of the line after its last one
	dent  int // blanks before it
	node  *yaml.Node
}

func mergeLines(text []byte, t config.Table, doc *config.Document) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	lines := strings.SplitAfter(string(text), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	} else {
		lines[last] += "\n"
	}
	entries, err := findEntries(&root, t, lines)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	line := 0
	seen := map[string]bool{}
	for _, e := range entries {
		out.WriteString(strings.Join(lines[line:e.first], ""))
		line = e.end
		seen[e.id] = true
		raw, ok := doc.Get(t, e.id)
		if !ok {
			continue // removed; what was said above it stays
		}
		changed, err := e.update(t, raw)
		if err != nil {
			return nil, err
		}
		if changed == "" {
			changed = strings.Join(lines[e.first:e.end], "")
		}
		out.WriteString(changed)
	}
	out.WriteString(strings.Join(lines[line:], ""))
	dent := 0
	if len(entries) > 0 {
		dent = entries[0].dent
	}
	added, err := newEntries(t, doc, seen, dent)
	out.WriteString(added)
	return []byte(out.String()), err
}

// findEntries finds the items of a file in block style.
func findEntries(root *yaml.Node, t config.Table, lines []string) ([]entry, error) {
	if len(root.Content) == 0 {
		return nil, nil // nothing but comments
	}
	top := root.Content[0]
	if top.Style&yaml.FlowStyle != 0 || top.Kind == yaml.ScalarNode {
		return nil, fmt.Errorf("not in block style")
	}
	step := 2
	if t == config.Variables {
		step = 1
	}
	var out []entry
	for i := 0; i+step <= len(top.Content); i += step {
		n := top.Content[i+step-1]
		e := entry{id: top.Content[i].Value, first: top.Content[i].Line - 1, end: len(lines), node: n}
		if t == config.Variables {
			e.id, e.dent = mappingText(n, "tag"), max(0, n.Column-3) // behind "- "
		}
		if len(out) > 0 {
			out[len(out)-1].end = e.first
		}
		out = append(out, e)
	}
	for i := range out {
		for e := &out[i]; e.end > e.first+1 && isSpace(lines[e.end-1]); e.end-- { // comments above an item are not of the one before
		}
	}
	return out, nil
}

func isSpace(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#' || line == "..." || line == "---"
}

func mappingText(n *yaml.Node, name string) string {
	if v := mappingValue(n, name); v != nil {
		return v.Value
	}
	return ""
}

// update returns the new lines of an entry, "" if it says raw already.
func (e *entry) update(t config.Table, raw []byte) (string, error) {
	tree, err := config.ItemTree(t, e.id, e.node)
	if err != nil {
		return "", err
	}
	if now, err := json.Marshal(tree); err == nil {
		if canonical, err := t.Canonical(e.id, now); err == nil && bytes.Equal(canonical, raw) {
			return "", nil
		}
	}
	want, err := itemNode(raw)
	if err != nil {
		return "", err
	}
	updateNode(e.node, want)
	e.node.HeadComment, e.node.FootComment = "", "" // they stand outside of its lines
	return entryText(t, e.id, e.node, e.dent)
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

// entryText writes one item as it stands in a file.
func entryText(t config.Table, id string, n *yaml.Node, dent int) (string, error) {
	one := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{stringNode(id), n}}
	if t == config.Variables {
		one = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{n}}
	}
	var b bytes.Buffer
	if err := writeYAML(&b, one); err != nil {
		return "", err
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.Repeat(" ", dent) + line)
	}
	return out.String(), nil
}

// newEntries writes the items of doc that a file lacks.
func newEntries(t config.Table, doc *config.Document, seen map[string]bool, dent int) (string, error) {
	var b strings.Builder
	for _, it := range doc.Items(t) {
		if seen[it.ID] {
			continue
		}
		n, err := itemNode(it.JSON)
		if err != nil {
			return "", err
		}
		text, err := entryText(t, it.ID, n, dent)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}
