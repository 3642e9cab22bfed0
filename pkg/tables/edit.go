package tables

import (
	"bytes"
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// editor changes the text of one item where its fields change, and nothing else: every
// other byte stays, comments and their places included. What it doesn't know for sure it
// leaves to the caller (false).
type editor struct {
	text  []byte
	lines []int // where each begins
	edits []edit
}

type edit struct {
	start, end int
	text       string
}

// editItem returns the lines of an item, which say was, changed so that they should say
// raw: the caller looks whether the table does.
func editItem(t config.Table, text, was, raw []byte) ([]byte, bool) {
	var root yaml.Node
	if yaml.Unmarshal(text, &root) != nil || len(root.Content) == 0 || len(root.Content[0].Content) == 0 {
		return nil, false
	}
	item := root.Content[0].Content[0]
	if t.IDField() == "" {
		item = root.Content[0].Content[1]
	}
	want, err := itemNode(raw)
	var before, after any
	if err != nil || json.Unmarshal(was, &before) != nil || json.Unmarshal(raw, &after) != nil {
		return nil, false
	}
	e := &editor{text: text, lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			e.lines = append(e.lines, i+1)
		}
	}
	if !e.value(item, want, before, after) {
		return nil, false
	}
	return e.apply(), true
}

// apply makes the edits, from the last to the first.
func (e *editor) apply() []byte {
	slices.SortStableFunc(e.edits, func(a, b edit) int { return cmp.Compare(b.start, a.start) })
	out := slices.Clone(e.text)
	for _, ed := range e.edits {
		out = slices.Concat(out[:ed.start], []byte(ed.text), out[ed.end:])
	}
	return out
}

// value makes n say want.
func (e *editor) value(n, want *yaml.Node, before, after any) bool {
	if reflect.DeepEqual(before, after) {
		return true
	}
	if n.Kind == yaml.AliasNode || n.Style&yaml.TaggedStyle != 0 {
		return false
	}
	was, isMap := before.(map[string]any)
	is, staysMap := after.(map[string]any)
	if isMap && staysMap && n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle == 0 {
		return e.mapping(n, want, was, is)
	}
	if n.Anchor != "" {
		return false
	}
	start := e.offset(n)
	end, ok := e.end(n, start)
	if !ok {
		return false
	}
	if n.Kind == yaml.MappingNode && want.Kind == yaml.MappingNode {
		updateNode(n, want)
		want = n
	}
	text, ok := inline(want)
	e.edits = append(e.edits, edit{start, end, text})
	return ok
}

// mapping makes a mapping in block style say want.
func (e *editor) mapping(n, want *yaml.Node, was, is map[string]any) bool {
	last := 0 // line of what stays last, from 1
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		if key.Value == "<<" {
			return false
		}
		wanted := mappingValue(want, key.Value)
		if _, had := was[key.Value]; wanted == nil && had {
			line := e.lines[key.Line-1]
			if strings.TrimLeft(string(e.text[line:e.offset(key)]), " ") != "" {
				return false // behind the dash of a list
			}
			e.edits = append(e.edits, edit{line, e.lineEnd(lastLineOf(v)), ""})
			continue
		}
		last = max(last, lastLineOf(v))
		if wanted != nil && !e.value(v, wanted, was[key.Value], is[key.Value]) {
			return false
		}
	}
	if last == 0 || len(n.Content) == 0 {
		return false
	}
	dent := strings.Repeat(" ", n.Content[0].Column-1)
	var added strings.Builder
	for i := 0; i+1 < len(want.Content); i += 2 {
		if mappingValue(n, want.Content[i].Value) != nil {
			continue
		}
		var b bytes.Buffer
		if writeYAML(&b, &yaml.Node{Kind: yaml.MappingNode, Content: want.Content[i : i+2]}) != nil {
			return false
		}
		for line := range bytes.Lines(b.Bytes()) {
			added.WriteString(dent + string(line))
		}
	}
	at := e.lineEnd(last)
	if added.Len() > 0 {
		e.edits = append(e.edits, edit{at, at, added.String()})
	}
	return at > 0 && e.text[at-1] == '\n'
}

// offset is where a node begins; columns count characters.
func (e *editor) offset(n *yaml.Node) int {
	at := e.lines[n.Line-1]
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at
}

// lineEnd is where the line after line (from 1) begins.
func (e *editor) lineEnd(line int) int {
	if line < len(e.lines) {
		return e.lines[line]
	}
	return len(e.text)
}

// lastLineOf is the last line that a node stands on.
func lastLineOf(n *yaml.Node) int {
	last := n.Line
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		last += strings.Count(strings.TrimRight(n.Value, "\n"), "\n") + 1
	}
	for _, c := range n.Content {
		last = max(last, lastLineOf(c))
	}
	return last
}

// end is where a value that begins at start ends, if that is on its line.
func (e *editor) end(n *yaml.Node, start int) (int, bool) {
	line := e.text[start : e.lineEnd(n.Line)-1]
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		return start + len(n.Value), bytes.HasPrefix(line, []byte(n.Value)) && n.Value != ""
	}
	if n.Kind != yaml.ScalarNode && n.Style&yaml.FlowStyle == 0 {
		return 0, false
	}
	depth, quote := 0, byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote == '"' && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if quote == 0 && depth == 0 && (i+1 == len(line) || line[i+1] != '\'') {
			return start + i + 1, true
		}
	}
	return 0, false
}

// inline writes a value on one line.
func inline(n *yaml.Node) (string, bool) {
	plain := *n
	strip(&plain)
	var b bytes.Buffer
	if writeYAML(&b, &plain) != nil {
		return "", false
	}
	text := strings.TrimSuffix(b.String(), "\n")
	return text, text != "" && !strings.Contains(text, "\n")
}

// strip takes comments off a node, and puts it into flow style.
func strip(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	if n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle
	}
	n.Content = slices.Clone(n.Content)
	for i, c := range n.Content {
		inner := *c
		strip(&inner)
		n.Content[i] = &inner
	}
}
