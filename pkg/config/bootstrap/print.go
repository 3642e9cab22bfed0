package bootstrap

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// topLevel is the order in which gateway.yml is written.
const topLevel = "gateway_id tenant device data_dir secrets_dir log clock metrics admin config bus connectors"

// list makes the list of all values, in the order of topLevel.
func (b *builder) list() []Value {
	order := strings.Fields(topLevel)
	fields := config.Fields(schema, b.tree)
	slices.SortStableFunc(fields, func(x, y config.Field) int {
		return cmp.Compare(slices.Index(order, x.Path[0]), slices.Index(order, y.Path[0]))
	})
	out := make([]Value, 0, len(fields))
	for _, f := range fields {
		v := config.ValueAt(b.tree, f.Path)
		if s, ok := v.(string); ok && f.Secret && (!f.LiteralOK || f.Hash) && s != "" && !strings.HasPrefix(s, "${") {
			v = "********"
		}
		v = masked(v)
		out = append(out, Value{Key: f.Key(), Value: v, Origin: b.origin(&f), Secret: f.Secret, File: f.IsFile, path: f.Path})
	}
	return out
}

// masked takes user names and passwords out of the addresses in a value, whatever the key
// is: where they are refused they must not be printed either.
func masked(v any) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "://") {
			var out []string
			for part := range strings.SplitSeq(v, ",") {
				out = append(out, config.MaskUser(part))
			}
			return strings.Join(out, ",")
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = masked(v[i])
		}
		return out
	}
	return v
}

func (b *builder) origin(f *config.Field) string {
	if o := b.origins[f.Key()]; o != "" {
		return o
	}
	if b.file != nil && b.file.Has(f.Path) {
		return filepath.Base(b.file.Name) + ":" + strconv.Itoa(b.file.Pos(f.Path).Line)
	}
	return "default"
}

// Print writes the effective configuration as YAML, secrets masked, with origin
// with a comment at each key that says where its value comes from.
func (g *Gateway) Print(w io.Writer, origin bool) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, v := range g.values {
		n := root
		for _, step := range v.path[:len(v.path)-1] {
			n = submapping(n, step)
		}
		value := new(yaml.Node)
		if err := value.Encode(v.Value); err != nil {
			return fmt.Errorf("print %s: %w", v.Key, err)
		}
		if value.Kind == yaml.SequenceNode {
			value.Style = yaml.FlowStyle
		}
		if origin {
			value.LineComment = v.Origin
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: v.path[len(v.path)-1]}, value)
	}
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	_, err := w.Write(buf.Bytes())
	return err
}

// Tree returns the effective configuration as it is written in gateway.yml, secrets
// masked.
func (g *Gateway) Tree() map[string]any {
	root := map[string]any{}
	for _, v := range g.values {
		n := root
		for _, step := range v.path[:len(v.path)-1] {
			inner, ok := n[step].(map[string]any)
			if !ok {
				inner = map[string]any{}
				n[step] = inner
			}
			n = inner
		}
		n[v.path[len(v.path)-1]] = v.Value
	}
	return root
}

// submapping returns the mapping at key of n, which is made if need be.
func submapping(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	m := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, m)
	return m
}
