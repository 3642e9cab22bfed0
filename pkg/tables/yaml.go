package tables

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// fieldOrder is the order in which people write the fields of an item; what isn't
// in it follows by name.
var fieldOrder = [...]string{
	"tag", "driver_id", "scheme", "host", "port", "opts",
	"kind", "path", "sha256", "endpoint_id", "proto", "cfg",
	"access", "address", "verify_address", "type", "addr", "addr2", "node", "index", "s7", "area", "db", "start", "size", "plugin", "len", "bit", "byte", "chars",
	"datatype", "byte_order", "charset", "pad", "scale", "scale_from", "na", "unit", "polling", "report", "deadband", "heartbeat",
	"merge", "block",
}

// itemNode makes YAML of an item's JSON.
func itemNode(raw []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil { // JSON is YAML
		return nil, fmt.Errorf("convert to YAML: %w", err)
	}
	n := doc.Content[0]
	arrange(n)
	return n, nil
}

// arrange takes the JSON look off a node: fields in people's order, addresses on
// one line.
func arrange(n *yaml.Node) {
	if n.Kind != yaml.MappingNode && n.Kind != yaml.SequenceNode || len(n.Content) > 0 {
		n.Style = 0
	}
	if n.Kind == yaml.MappingNode {
		sortFields(n)
	}
	for i, c := range n.Content {
		arrange(c)
		if n.Kind == yaml.MappingNode && i%2 == 1 && strings.HasSuffix(n.Content[i-1].Value, "address") {
			c.Style = yaml.FlowStyle
		}
	}
}

func sortFields(n *yaml.Node) {
	pairs := make([][2]*yaml.Node, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		pairs = append(pairs, [2]*yaml.Node{n.Content[i], n.Content[i+1]})
	}
	rank := func(name string) int {
		if i := slices.Index(fieldOrder[:], name); i >= 0 {
			return i
		}
		return len(fieldOrder)
	}
	slices.SortStableFunc(pairs, func(a, b [2]*yaml.Node) int {
		return cmp.Compare(rank(a[0].Value), rank(b[0].Value))
	})
	n.Content = n.Content[:0]
	for _, p := range pairs {
		n.Content = append(n.Content, p[0], p[1])
	}
}

func stringNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

// writeYAML writes a node as a document.
func writeYAML(w io.Writer, n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode && len(n.Content) == 0 {
		n.Style = yaml.FlowStyle // "{}"
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return err
	}
	return enc.Close()
}

// tableYAML returns a table as a file has it.
func tableYAML(doc *config.Document, t config.Table) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# yaml-language-server: $schema=%s\n", schemaURL(t))
	err := writeTable(&b, t, doc.Items(t), 0)
	return b.Bytes(), err
}

// writeTable writes a table, dent blanks from the left.
func writeTable(b *bytes.Buffer, t config.Table, items []config.Item, dent int) error {
	if len(items) > 0 {
		return writeItems(b, t, items, dent)
	}
	if t.IDField() != "" {
		b.WriteString("[]\n")
	} else {
		b.WriteString("{}\n")
	}
	return nil
}

// batch is how many items go to the YAML library at once. To start it costs more
// than to write an item, and its nodes need five kilobytes for each.
const batch = 256

// writeItems writes items as they stand in a file, dent blanks from the left: those
// that [plainWriter] knows by itself, the others with the YAML library.
func writeItems(b *bytes.Buffer, t config.Table, items []config.Item, dent int) error {
	w := newPlainWriter(t, dent)
	var ids []string
	var nodes []*yaml.Node
	flush := func() error {
		err := writeNodes(b, t, ids, nodes, dent)
		ids, nodes = ids[:0], nodes[:0]
		return err
	}
	for _, it := range items {
		text, ok := w.item(it)
		if ok {
			if err := flush(); err != nil {
				return err
			}
			b.Write(text)
			continue
		}
		n, err := itemNode(it.JSON)
		if err != nil {
			return fmt.Errorf("%s: %w", config.Key(t, it.ID), err)
		}
		if ids, nodes = append(ids, it.ID), append(nodes, n); len(nodes) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// writeNodes writes items with the YAML library.
func writeNodes(b *bytes.Buffer, t config.Table, ids []string, nodes []*yaml.Node, dent int) error {
	if len(nodes) == 0 {
		return nil
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Content: nodes}
	if t.IDField() == "" {
		list = &yaml.Node{Kind: yaml.MappingNode}
		for i, n := range nodes {
			list.Content = append(list.Content, stringNode(ids[i]), n)
		}
	}
	var text bytes.Buffer
	if dent == 2 { // the library knows best how texts of several lines are indented
		list = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{stringNode("all"), list}}
	}
	if err := writeYAML(&text, list); err != nil {
		return err
	}
	if dent == 2 {
		text.Next(len("all:\n"))
		b.Write(text.Bytes())
		return nil
	}
	for line := range bytes.Lines(text.Bytes()) {
		for range dent {
			b.WriteByte(' ')
		}
		b.Write(line)
	}
	return nil
}
