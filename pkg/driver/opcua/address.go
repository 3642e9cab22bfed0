package opcua

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gopcua/opcua/ua"
)

// Node is the address of a node as people write it: a browse path, or a node id whose
// namespace is an index or a URI. The zero value is no address.
type Node struct {
	ns   uint16 // index of the namespace, if uri is empty
	uri  string // of the namespace
	kind byte   // 'i', 's', 'g' or 'b' as in the text form of node ids; 'p': path
	num  uint32 // of kind i
	text string // of kinds s, g, b
	path []step
}

// step is one element of a browse path.
type step struct {
	ns   uint16
	name string
}

// maxSteps bounds a browse path.
const maxSteps = 64

// ParseNode reads a node id (OPC 10000-6, 5.3.1.10), such as "ns=2;s=Temp",
// "nsu=urn:plant:line1;s=Temp" or "i=2258", or a browse path from the root on, such as
// "/Objects/2:Line/2:Temp". In a path, & escapes the character behind it (OPC 10000-4,
// A.2). A path has 64 names at most, and a text id 4096 bytes.
func ParseNode(text string) (Node, error) {
	if text == "/" {
		return Node{kind: 'i', num: idRootFolder}, nil
	}
	if strings.HasPrefix(text, "/") {
		return parsePath(text)
	}
	var n Node
	rest := text
	switch {
	case strings.HasPrefix(rest, "ns="):
		index, tail, ok := strings.Cut(rest[3:], ";")
		ns, err := plainNumber(index, 16)
		if !ok || err != nil {
			return Node{}, fmt.Errorf("%q: expected a namespace index from 0 to 65535 and a semicolon after ns=", text)
		}
		n.ns, rest = uint16(ns), tail
	case strings.HasPrefix(rest, "nsu="):
		uri, tail, ok := strings.Cut(rest[4:], ";")
		if !ok || uri == "" {
			return Node{}, fmt.Errorf("%q: expected a namespace URI and a semicolon after nsu=", text)
		}
		n.uri, rest = strings.NewReplacer("%3B", ";", "%3b", ";", "%25", "%").Replace(uri), tail
	}
	kind, id, ok := strings.Cut(rest, "=")
	if !ok || len(kind) != 1 || id == "" {
		return Node{}, fmt.Errorf("%q is not a node id: expected ns=2;s=NAME, ns=2;i=NUMBER, nsu=URI;s=NAME or a path such as /Objects/2:Line/2:Temp", text)
	}
	n.kind, n.text = kind[0], id
	switch n.kind {
	case 'i':
		num, err := plainNumber(id, 32)
		if err != nil {
			return Node{}, fmt.Errorf("%q: expected a number from 0 to 4294967295 after i=", text)
		}
		n.num, n.text = uint32(num), ""
	case 's':
		if len(id) > 4096 {
			return Node{}, fmt.Errorf("a node id of %d characters: the standard allows 4096", len(id))
		}
	case 'g':
		guid := ua.NewGUID(id)
		if guid == nil || len(id) != 36 {
			return Node{}, fmt.Errorf("%q: expected a GUID such as 09087e75-8e5e-499b-954f-f2a9603db28a after g=", text)
		}
		n.text = strings.ToLower(guid.String())
	case 'b':
		raw, err := base64.StdEncoding.Strict().DecodeString(id)
		if err != nil || len(raw) == 0 {
			return Node{}, fmt.Errorf("%q: expected base64 after b=", text)
		}
		n.text = base64.StdEncoding.EncodeToString(raw)
	default:
		return Node{}, fmt.Errorf("%q: unknown kind of node id %s=; there are i=, s=, g= and b=", text, kind)
	}
	return n, nil
}

// plainNumber reads decimal digits without a sign or leading zeros.
func plainNumber(text string, bits int) (uint64, error) {
	v, err := strconv.ParseUint(text, 10, bits)
	if err == nil && strconv.FormatUint(v, 10) != text {
		err = strconv.ErrSyntax
	}
	return v, err
}

func parsePath(text string) (Node, error) {
	n := Node{kind: 'p'}
	var name strings.Builder
	var ns uint16
	hasNS := false
	finish := func() error {
		if name.Len() == 0 {
			return fmt.Errorf("%q: a path has names between its slashes", text)
		}
		if len(n.path) == maxSteps {
			return fmt.Errorf("%q: a path has %d names at most", text, maxSteps)
		}
		n.path = append(n.path, step{ns, name.String()})
		name.Reset()
		ns, hasNS = 0, false
		return nil
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '&' && i+1 < len(text):
			i++
			name.WriteByte(text[i])
		case c == '&':
			return Node{}, fmt.Errorf("%q: ends within an escape; write && for one &", text)
		case c == '/':
			if err := finish(); err != nil {
				return Node{}, err
			}
		case c == ':' && !hasNS:
			v, err := plainNumber(name.String(), 16)
			if err != nil {
				return Node{}, fmt.Errorf("%q: %q before the colon is not a namespace index; write &: for a colon in a name", text, name.String())
			}
			ns, hasNS = uint16(v), true
			name.Reset()
		default:
			name.WriteByte(c)
		}
	}
	if err := finish(); err != nil {
		return Node{}, err
	}
	return n, nil
}

// String writes the node in its canonical form: two texts name the same node exactly if
// their nodes have the same string. An index and a URI of one namespace count as different.
func (n Node) String() string {
	var b strings.Builder
	if n.kind == 'p' {
		escape := strings.NewReplacer("&", "&&", "/", "&/", ":", "&:")
		for _, s := range n.path {
			b.WriteByte('/')
			if s.ns != 0 {
				fmt.Fprintf(&b, "%d:", s.ns)
			}
			b.WriteString(escape.Replace(s.name))
		}
		return b.String()
	}
	switch {
	case n.uri != "":
		b.WriteString("nsu=" + strings.NewReplacer("%", "%25", ";", "%3B").Replace(n.uri) + ";")
	case n.ns != 0:
		fmt.Fprintf(&b, "ns=%d;", n.ns)
	}
	if n.kind == 'i' {
		fmt.Fprintf(&b, "i=%d", n.num)
	} else {
		b.WriteString(string(n.kind) + "=" + n.text)
	}
	return b.String()
}

// isPath reports whether only the server can tell which node it is.
func (n Node) isPath() bool { return n.kind == 'p' }

// id returns the node id under a server's namespace table. n is no path.
func (n Node) id(namespaces []string) (*ua.NodeID, error) {
	ns := n.ns
	if n.uri != "" {
		i := slices.Index(namespaces, n.uri)
		if i < 0 || i > 65535 {
			return nil, fmt.Errorf("the server has no namespace %s", n.uri)
		}
		ns = uint16(i)
	}
	switch n.kind {
	case 'i':
		return ua.NewNumericNodeID(ns, n.num), nil
	case 'g':
		return ua.NewGUIDNodeID(ns, n.text), nil
	case 'b':
		raw, err := base64.StdEncoding.DecodeString(n.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		return ua.NewByteStringNodeID(ns, raw), nil
	}
	return ua.NewStringNodeID(ns, n.text), nil
}

// browsePath returns the question where the path leads.
func (n Node) browsePath() *ua.BrowsePath {
	elements := make([]*ua.RelativePathElement, len(n.path))
	for i, s := range n.path {
		elements[i] = &ua.RelativePathElement{
			ReferenceTypeID: ua.NewNumericNodeID(0, idHierarchicalReferences),
			IncludeSubtypes: true,
			TargetName:      &ua.QualifiedName{NamespaceIndex: s.ns, Name: s.name},
		}
	}
	return &ua.BrowsePath{StartingNode: ua.NewNumericNodeID(0, idRootFolder), RelativePath: &ua.RelativePath{Elements: elements}}
}
