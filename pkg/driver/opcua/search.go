package opcua

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Found is a node that [Session.Browse] has found below another one.
type Found struct {
	Depth  int    // levels below the start, from 1
	Path   string // from the start on, with the indexes of the namespaces: "/2:Line/2:Temp"
	Node   string // "ns=2;s=Temp"
	Stable string // the same with the URI of the namespace, which survives a restart of the server
	Class  string // "Object", "Variable", "Method" …
	Type   string // of a variable whose value was read: "Double", "Int32[]"
	Value  string // of a variable, as text; if it is bad, its status
	Access string // of a variable: "R", "RW", "W", ""
	Seen   bool   // it was found before: Browse does not look into it again
}

// BrowseOptions say what [Session.Browse] looks for, and what it does with it. It calls
// the functions in its own goroutine.
type BrowseOptions struct {
	Depth  int                      // levels below the start; 0: 32
	Filter string                   // glob for the last name of variables, which alone are found then; "": all nodes
	Values bool                     // read types, access rights and values of variables
	Seen   func(nodes, waiting int) // told of progress: nodes found, nodes still to look into; nil: nobody is
	Found  func(f Found) error      // gets each node; an error ends the search; required
	room   int                      // bytes of what is known and what waits; 0: mostKept
}

// The bounds of a search.
const (
	mostDepth     = 32               // levels, where the options have none
	mostNodes     = 1_000_000        // nodes that are found
	mostAhead     = 100              // nodes in a request; what is below them is kept until it is their turn
	mostInAnswer  = 10_000           // references
	mostPerNode   = 1000             // references
	mostKept      = 512 << 20        // bytes of what is known and what waits, which the server's names may swell
	mostEmpty     = 100              // answers in a row that bring no node and promise more
	perFlush      = 100              // nodes that are handed on together
	browseTimeout = 30 * time.Second // some servers gather all that is below a node before they send the first part
)

// Browse walks through the server's nodes from start on, depth first. Each node is found
// below each of its parents, and looked into once. Browse fails if there are more than a
// million nodes. A node that the server does not let us look into does not end it: the
// error that Browse returns at the end says how many there were.
func (s *Session) Browse(ctx context.Context, start Node, o BrowseOptions) error {
	if o.Depth <= 0 {
		o.Depth = mostDepth
	}
	if o.room == 0 {
		o.room = mostKept
	}
	if _, err := path.Match(o.Filter, ""); err != nil {
		return fmt.Errorf("filter %q: %w", o.Filter, err)
	}
	id, err := s.resolve(ctx, start)
	if err != nil {
		return err
	}
	w := search{
		Session: s, o: o, stack: []level{{id: id}}, known: map[string]struct{}{id.String(): {}},
		ahead: map[*ua.NodeID]*inside{}, most: min(s.caps.browse, mostAhead),
	}
	for len(w.stack) > 0 {
		if err := w.next(ctx); err != nil {
			return err
		}
	}
	return errors.Join(w.flush(ctx), w.refused.error())
}

// search is a walk through the nodes of a server.
type search struct {
	*Session
	o       BrowseOptions
	stack   []level                // nodes to look into; the last one is the next
	known   map[string]struct{}    // node ids that were found
	ahead   map[*ua.NodeID]*inside // what is below nodes of the stack, as far as the server was asked
	most    int                    // nodes that the server is asked for at once
	kept    int                    // bytes, about, of known and ahead
	batch   []Found                // nodes that were found and not handed on yet
	ids     []*ua.NodeID           // of batch
	refused refusals
}

// level is a node to look into.
type level struct {
	id    *ua.NodeID
	path  string
	depth int
}

// next looks into the next node.
func (w *search) next(ctx context.Context) error {
	at := w.stack[len(w.stack)-1]
	w.stack = w.stack[:len(w.stack)-1]
	if at.depth == w.o.Depth {
		return nil
	}
	below, err := w.below(ctx, at)
	if err != nil {
		return err
	}
	if below.err != nil && at.depth == 0 {
		return fmt.Errorf("browse %s: %w", at.id, below.err)
	}
	w.refused = w.refused.add(at.id, below.err)
	var next []level
	for _, ref := range below.refs {
		id := ua.NewNodeIDFromExpandedNodeID(ref.NodeID)
		f := Found{
			Depth: at.depth + 1, Path: at.path + "/" + elementOf(ref.BrowseName), Node: id.String(), Stable: w.stable(id),
			Class: strings.TrimPrefix(ref.NodeClass.String(), "NodeClass"),
		}
		_, f.Seen = w.known[f.Node]
		if len(w.known) >= mostNodes {
			return fmt.Errorf("more than %d nodes: begin further below, or set a depth", mostNodes)
		}
		w.known[f.Node] = struct{}{}
		if !f.Seen {
			w.kept += 2*len(f.Node) + len(f.Path) // it waits for its turn, too
		}
		if w.kept > w.o.room {
			return errTooMuch
		}
		if err := w.found(ctx, f, id, ref); err != nil {
			return err
		}
		if !f.Seen {
			next = append(next, level{id, f.Path, f.Depth})
		}
	}
	slices.Reverse(next)
	w.stack = append(w.stack, next...)
	if w.o.Seen != nil {
		w.o.Seen(len(w.known), len(w.stack))
	}
	return nil
}

// below returns what is below a node. It asks the server for what is below the nodes
// after it in the same request.
func (w *search) below(ctx context.Context, at level) (*inside, error) {
	if w.ahead[at.id] == nil {
		ids := []*ua.NodeID{at.id}
		for i := len(w.stack) - 1; i >= 0 && len(ids) < w.most; i-- {
			if l := w.stack[i]; l.depth < w.o.Depth && w.ahead[l.id] == nil {
				ids = append(ids, l.id)
			}
		}
		served, err := w.lookAhead(ctx, ids)
		if err != nil {
			return nil, err
		}
		if served < len(ids) {
			w.most = served
		}
	}
	found := w.ahead[at.id]
	delete(w.ahead, at.id)
	w.kept -= found.size
	return found, nil
}

// found notes a node that is looked for. It is handed on once what is to be read of it has
// been read.
func (w *search) found(ctx context.Context, f Found, id *ua.NodeID, ref *ua.ReferenceDescription) error {
	if w.o.Filter != "" {
		if ref.NodeClass != ua.NodeClassVariable || ref.BrowseName == nil {
			return nil
		}
		if ok, _ := path.Match(w.o.Filter, ref.BrowseName.Name); !ok { // Browse has checked the pattern
			return nil
		}
	}
	w.batch, w.ids = append(w.batch, f), append(w.ids, id)
	if len(w.batch) >= perFlush {
		return w.flush(ctx)
	}
	return nil
}

// flush reads what is to be read of the nodes that wait, and hands them on.
func (w *search) flush(ctx context.Context) error {
	var nodes []*ua.ReadValueID
	var of []int
	for i := range w.batch {
		if w.o.Values && w.batch[i].Class == "Variable" {
			nodes = append(nodes, valueOf(w.ids[i]), attributeOf(w.ids[i], ua.AttributeIDUserAccessLevel))
			of = append(of, i)
		}
	}
	values, err := readNodes(ctx, w.ask, nodes, w.caps.read)
	if err != nil {
		return err
	}
	for k, i := range of {
		f, dv := &w.batch[i], values[2*k]
		if level, ok := values[2*k+1].Value.Value().(uint8); ok {
			f.Access = []string{"", "R", "W", "RW"}[level&3]
		}
		if isBad(dv.Status) {
			f.Value = StatusText(dv.Status)
			continue
		}
		if f.Type = typeName(dv.Value.Type()); isArray(dv.Value) {
			f.Type += "[]"
		}
		if v, err := (&meaning{datatype: config.TypeString}).value(dv.Value); err == nil {
			f.Value = v.String()
		}
	}
	for _, f := range w.batch {
		if err := w.o.Found(f); err != nil {
			return err
		}
	}
	w.batch, w.ids = w.batch[:0], w.ids[:0]
	return nil
}

// inside is what is below a node, or why that is not known.
type inside struct {
	refs []*ua.ReferenceDescription
	size int // of refs, in bytes, about
	err  error
}

// sizeOf is about what a reference takes in memory.
func sizeOf(ref *ua.ReferenceDescription) int {
	n := 300 + len(ref.NodeID.NamespaceURI)
	if ref.NodeID.NodeID != nil {
		n += len(ref.NodeID.NodeID.StringID())
	}
	if ref.BrowseName != nil {
		n += len(ref.BrowseName.Name)
	}
	if ref.DisplayName != nil {
		n += len(ref.DisplayName.Text) + len(ref.DisplayName.Locale)
	}
	return n
}

// lookAhead notes what is below the first of the nodes, and below as many of the others as
// the server takes in one request.
func (w *search) lookAhead(ctx context.Context, ids []*ua.NodeID) (served int, err error) {
	for most := len(ids); ; most /= 2 {
		results, err := w.browseSome(ctx, ids[:most])
		if _, answered := errors.AsType[*serviceError](err); answered && most > 1 {
			continue // too many for the server, or too much for one answer
		}
		if err != nil {
			return 0, fmt.Errorf("browse %s: %w", ids[0], err)
		}
		for i, res := range results {
			if res.StatusCode == ua.StatusBadNoContinuationPoints && i > 0 {
				continue // it is asked for alone, when it is its turn
			}
			found := w.rest(ctx, res)
			if ofLink(found.err) != nil || errors.Is(found.err, errTooMuch) {
				return 0, fmt.Errorf("browse %s: %w", ids[i], found.err)
			}
			w.ahead[ids[i]] = found
		}
		return most, nil
	}
}

// browseSome asks for what is below nodes.
func (s *Session) browseSome(ctx context.Context, ids []*ua.NodeID) ([]*ua.BrowseResult, error) {
	req := &ua.BrowseRequest{View: noView(), RequestedMaxReferencesPerNode: uint32(min(mostInAnswer/len(ids), mostPerNode))}
	for _, id := range ids {
		req.NodesToBrowse = append(req.NodesToBrowse, &ua.BrowseDescription{
			NodeID: id, BrowseDirection: ua.BrowseDirectionForward, ReferenceTypeID: ua.NewNumericNodeID(0, idHierarchicalReferences),
			IncludeSubtypes: true, ResultMask: uint32(ua.BrowseResultMaskAll),
		})
	}
	resp, err := s.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	got, ok := resp.(*ua.BrowseResponse)
	if !ok || len(got.Results) != len(ids) || slices.Contains(got.Results, nil) {
		return nil, unexpected(resp)
	}
	return got.Results, nil
}

// errTooMuch ends a search: the server's names would fill the memory.
var errTooMuch = errors.New("there are too many nodes, or their names are too long, to keep them in memory: begin further below, or set a depth")

// rest returns what is below a node, however many answers that takes.
func (w *search) rest(ctx context.Context, res *ua.BrowseResult) *inside {
	out := &inside{}
	fail := func(err error) *inside {
		w.kept -= out.size
		return &inside{err: err}
	}
	for empty := 0; ; {
		if isBad(res.StatusCode) {
			return fail(&serviceError{"Browse", res.StatusCode})
		}
		before := len(out.refs)
		for _, ref := range res.References {
			if ref != nil && ref.NodeID != nil && ref.NodeID.ServerIndex == 0 {
				size := sizeOf(ref)
				out.refs, out.size, w.kept = append(out.refs, ref), out.size+size, w.kept+size
			}
		}
		if len(res.ContinuationPoint) == 0 {
			return out
		}
		if empty++; len(out.refs) > before {
			empty = 0
		}
		switch {
		case w.kept > w.o.room:
			return fail(errTooMuch)
		case len(out.refs) > mostNodes:
			return fail(fmt.Errorf("more than %d nodes below it", mostNodes))
		case empty > mostEmpty:
			return fail(fmt.Errorf("%d answers in a row promise more and bring no node of this server", mostEmpty))
		}
		resp, err := w.ask(ctx, &ua.BrowseNextRequest{ContinuationPoints: [][]byte{res.ContinuationPoint}})
		if err != nil {
			return fail(err)
		}
		next, ok := resp.(*ua.BrowseNextResponse)
		if !ok || len(next.Results) != 1 || next.Results[0] == nil {
			return fail(unexpected(resp))
		}
		res = next.Results[0]
	}
}

// refusals are nodes that the server does not let us look into. The others are listed.
type refusals struct {
	nodes int
	first error
}

func (r refusals) add(id *ua.NodeID, err error) refusals {
	if err == nil {
		return r
	}
	if r.nodes++; r.nodes == 1 {
		r.first = fmt.Errorf("browse %s: %w", id, err)
	}
	return r
}

func (r refusals) error() error {
	if r.nodes == 0 {
		return nil
	}
	return fmt.Errorf("%d nodes cannot be looked into; the first: %w", r.nodes, r.first)
}

// elementOf writes a name as an element of a path.
func elementOf(q *ua.QualifiedName) string {
	if q == nil {
		return ""
	}
	return strings.TrimPrefix(Node{kind: 'p', path: []step{{q.NamespaceIndex, q.Name}}}.String(), "/")
}

// stable writes a node id with the URI of its namespace.
func (s *Session) stable(id *ua.NodeID) string {
	n, err := ParseNode(id.String())
	if err != nil || n.ns == 0 || int(n.ns) >= len(s.namespaces) {
		return id.String()
	}
	n.uri = s.namespaces[n.ns]
	n.ns = 0
	return n.String()
}
