package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// fieldOrder is the order in which people write the fields of an item; what isn't
// in it follows by name.
var fieldOrder = [...]string{
	"tag", "driver_id", "scheme", "host", "port", "opts",
	"kind", "path", "endpoint_id", "proto", "cfg",
	"access", "address", "type", "addr", "addr2", "node", "area", "db", "start", "size", "len", "bit", "byte", "chars",
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
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "address" {
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

// tableNode makes YAML of a table: a list of variables, a mapping of anything
// else.
func tableNode(doc *config.Document, t config.Table) (*yaml.Node, error) {
	table := &yaml.Node{Kind: yaml.MappingNode}
	if t == config.Variables {
		table.Kind = yaml.SequenceNode
	}
	for _, it := range doc.Items(t) {
		n, err := itemNode(it.JSON)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", config.Key(t, it.ID), err)
		}
		if t != config.Variables {
			table.Content = append(table.Content, stringNode(it.ID))
		}
		table.Content = append(table.Content, n)
	}
	return table, nil
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
	n, err := tableNode(doc, t)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# yaml-language-server: $schema=%s\n", schemaURL(t))
	err = writeYAML(&b, n)
	return b.Bytes(), err
}
