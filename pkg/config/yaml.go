package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// maxFileBytes bounds what is read as one table.
	maxFileBytes = 256 << 20
	// maxAliasNodes bounds what aliases may expand to, so that a few lines
	// can't become gigabytes.
	maxAliasNodes = 1_000_000
	maxDepth      = 64
)

// parseYAML returns the root of the one document in src, nil if it is empty.
func parseYAML(name string, src []byte) (root *yaml.Node, err error) {
	defer func() {
		// yaml.v3 reports by panics inside and has let some out on malformed
		// input; what others write must not end the process.
		if r := recover(); r != nil {
			root, err = nil, Finding{Severity: SeverityError, Rule: "syntax",
				Message: "not YAML"}.At(Pos{File: name}).asError()
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, syntaxFinding(name, src, err).asError()
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, syntaxFinding(name, src, err).asError()
		}
		return nil, Finding{Severity: SeverityError, Rule: "syntax", Message: "a second document begins here (---); a table is one document"}.
			At(Pos{File: name, Line: second.Line, Column: second.Column}).asError()
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, nil
	}
	return doc.Content[0], nil
}

func (f Finding) asError() error { return Findings{f} }

// syntaxFinding makes a finding of the YAML library's error.
func syntaxFinding(name string, src []byte, err error) Finding {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Pos{File: name, Line: 1, Column: 1}
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if number, text, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				p.Line, msg = max(n, 1), text
			}
		}
	}
	if n := failingLine(src, err); n > 0 {
		p.Line = n
	}
	line := lineOf(src, p.Line)
	switch {
	case bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("\t")):
		msg = "a tab; YAML is indented with spaces"
	case strings.HasPrefix(msg, "did not find expected key"), strings.HasPrefix(msg, "did not find expected '-'"):
		msg += "; is a line of this block indented differently from the others?"
	case strings.HasPrefix(msg, "unknown anchor"): // whose name may be a password
		msg = "a value that begins with * refers to an anchor, and there is none of that name; put the value in quotes"
	case strings.Contains(msg, "tag"):
		msg = "a value begins with !; put it in quotes"
	case strings.HasPrefix(msg, "mapping values are not allowed"):
		msg += "; a second \": \" on the line, or wrong indentation (quote values that hold a colon)"
	}
	p.Column = 1 + len(line) - len(bytes.TrimLeft(line, " "))
	return Finding{Severity: SeverityError, Rule: "syntax", Message: "not YAML: " + msg}.At(p)
}

// failingLine finds the line that the library stumbles over. Its own messages
// name the line before, or where the enclosing block begins, or none; but it
// reads in order, so the first lines of the file give the very same error from
// the guilty line on. It returns 0 for files that are too large to try.
func failingLine(src []byte, err error) int {
	const largest = 256 << 10
	if len(src) > largest {
		return 0
	}
	ends := []int{0} // of the first n lines
	for end := 0; end < len(src); {
		end = lineEnd(src, end)
		ends = append(ends, end)
	}
	n := sort.Search(len(ends), func(n int) bool {
		var doc yaml.Node
		dec := yaml.NewDecoder(bytes.NewReader(src[:ends[n]]))
		first := dec.Decode(&doc)
		if first == nil {
			first = dec.Decode(&doc)
		}
		return first != nil && first.Error() == err.Error()
	})
	if n == len(ends) {
		return 0
	}
	return n
}

// lineOf returns line n of src, counted from 1, without its end.
func lineOf(src []byte, n int) []byte {
	for ; n > 1; n-- {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			return nil
		}
		src = src[i+1:]
	}
	line, _, _ := bytes.Cut(src, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// treeBuilder turns YAML nodes into map[string]any, []any, string, nil, and
// [plain] for what is no text for sure.
type treeBuilder struct {
	file     string
	budget   int // nodes that aliases may still expand to
	findings Findings
}

func newTreeBuilder(file string) *treeBuilder {
	return &treeBuilder{file: file, budget: maxAliasNodes}
}

func (b *treeBuilder) fail(n *yaml.Node, rule, format string, args ...any) {
	b.findings = append(b.findings, Finding{Severity: SeverityError, Rule: rule, Message: fmt.Sprintf(format, args...)}.
		At(Pos{b.file, n.Line, n.Column}))
}

// build returns n's value. inAlias counts against the budget.
func (b *treeBuilder) build(n *yaml.Node, depth int, inAlias bool) any {
	if depth > maxDepth {
		b.fail(n, "syntax", "nested deeper than %d levels", maxDepth)
		return nil
	}
	if inAlias {
		if b.budget--; b.budget < 0 {
			if b.budget == -1 {
				b.fail(n, "syntax", "the aliases expand to more than %d values", maxAliasNodes)
			}
			return nil
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return b.build(n.Alias, depth+1, true)
	case yaml.MappingNode:
		return b.mapping(n, depth, inAlias)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			list = append(list, b.build(c, depth+1, inAlias))
		}
		return list
	default:
		return b.scalar(n)
	}
}

func (b *treeBuilder) mapping(n *yaml.Node, depth int, inAlias bool) map[string]any {
	m := make(map[string]any, len(n.Content)/2)
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode || k.Value == "" {
			b.fail(k, "syntax", "a key must be a word")
			continue
		}
		if k.Value == "<<" && k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		if first := seen[k.Value]; first != nil {
			b.fail(k, "duplicate", "%s stands here twice; first at line %d", shownKey(k.Value), first.Line)
			continue
		}
		seen[k.Value] = k
		m[k.Value] = b.build(v, depth+1, inAlias)
	}
	for _, v := range merges {
		b.merge(m, v, depth)
	}
	return m
}

// merge adds what the mapping or mappings at n hold under keys that m lacks.
func (b *treeBuilder) merge(m map[string]any, n *yaml.Node, depth int) {
	sources := []any{b.build(n, depth+1, true)}
	if list, ok := sources[0].([]any); ok {
		sources = list
	}
	for _, s := range sources {
		from, ok := s.(map[string]any)
		if !ok {
			b.fail(n, "syntax", "<< takes a mapping, or a list of them")
			return
		}
		for k, v := range from {
			if _, have := m[k]; !have {
				m[k] = v
			}
		}
	}
}

// scalar returns text, nil, or a [plain] where the field decides what it is.
func (b *treeBuilder) scalar(n *yaml.Node) any {
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Value
	}
	tagged := n.Style&yaml.TaggedStyle != 0
	switch tag := n.ShortTag(); {
	case tagged && tag == "!!str":
		return n.Value
	case tagged && tag != "!!int" && tag != "!!float" && tag != "!!bool" && tag != "!!null":
		// The tag itself may be a password that begins with an exclamation mark.
		b.fail(n, "syntax", "a type (!) that these files do not use; put a value that begins with ! in quotes")
		return nil
	}
	return plainScalarValue(n.Value)
}

// wholeNumber returns f as an int64 where that loses nothing.
func wholeNumber(f float64) any {
	const exact = 1 << 53
	if f == math.Trunc(f) && math.Abs(f) <= exact {
		return int64(f)
	}
	return f
}

// place finds the node at path under root: the key of the last step where
// wantKey is set, else its value. Where the path ends early, the deepest node
// that exists is returned.
func place(root *yaml.Node, path []string, wantKey bool) *yaml.Node {
	n := root
	for i, step := range path {
		key, value := child(n, step)
		if value == nil {
			break
		}
		if i == len(path)-1 && wantKey && key != nil {
			return key
		}
		n = value
	}
	return n
}

// child returns the key and value nodes of one step; key is nil in a sequence.
func child(n *yaml.Node, step string) (key, value *yaml.Node) {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil {
		return nil, nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i], n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return nil, n.Content[i]
		}
	}
	return nil, nil
}
