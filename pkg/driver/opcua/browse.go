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
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Session is a session for people's questions: one of its own, or a driver's.
type Session struct {
	ch         *channel // nil: a driver's, which is not ended
	sess       *session
	ask        asker
	namespaces []string
	caps       limits
}

// Connect opens a session with the server of an endpoint of scheme opc.tcp.
func Connect(ctx context.Context, ep endpoint.Acquirer, item config.Endpoint, opts Options) (*Session, error) {
	c, err := newClient(ep, item, opts)
	if err != nil {
		return nil, err
	}
	o, ch, err := c.discover(ctx)
	if err == nil && ch == nil {
		ch, err = c.open(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	s := &Session{ch: ch}
	s.ask = func(ctx context.Context, req ua.Request) (ua.Response, error) {
		var auth *ua.NodeID
		if s.sess != nil {
			auth = s.sess.auth
		}
		return ch.callFor(ctx, auth, req, max(ch.timeout, browseTimeout))
	}
	if s.sess, err = c.create(ctx, ch, o, time.Minute); err == nil {
		if err = c.activate(ctx, ch, s.sess); err == nil {
			s.namespaces, s.caps, err = learn(ctx, s.ask, 1000)
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func newClient(ep endpoint.Acquirer, item config.Endpoint, opts Options) (*client, error) {
	a, err := ParseAccess(item)
	if err != nil {
		return nil, err
	}
	return &client{access: a, ep: ep, opts: opts, name: opts.Name, timeout: endpointTimeout(item), step: func(string, error) {}}, nil
}

// Close ends the session.
func (s *Session) Close() {
	if s.ch == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveGrace)
	defer cancel()
	if s.sess != nil && closeSession(ctx, s.ch, s.sess) == nil {
		s.ch.goodbye()
	}
	s.ch.close(errLeaving)
}

// Namespaces returns the server's namespace table.
func (s *Session) Namespaces() []string { return s.namespaces }

// Found is a node that browsing came by.
type Found struct {
	Depth  int
	Path   string // from where browsing began, with the namespaces' indexes
	Node   string // "ns=2;s=Temp"
	Stable string // the same with the namespace's URI, which survives a restart of the server
	Class  string // "Object", "Variable", "Method" …
	Type   string // of a variable: "Double", "Int32[]"
	Value  string // of a variable, as text
	Access string // of a variable: "R", "RW", "W", ""
	Seen   bool   // it was found before: browsing does not go on below
}

// BrowseOptions bound a search.
type BrowseOptions struct {
	Depth  int                         // levels below the start; 0: 32
	Filter string                      // glob for the last name of variables; "": all
	Values bool                        // read types, access rights and values of variables
	Seen   func(nodes, waiting int)    // told of progress; nil: nobody is
	Found  func(f Found) error         // gets each node; an error ends the search
	match  func(string) (matched bool) // of Filter
	known  map[string]struct{}         // node ids that were found
	batch  []Found                     // variables whose values are not read yet
	ids    []*ua.NodeID                // of batch
}

// mostNodes bounds the memory of a search.
const mostNodes = 1_000_000

// Browse walks through the server's nodes from start on, depth first, each node once.
func (s *Session) Browse(ctx context.Context, start Node, o BrowseOptions) error {
	if o.Depth <= 0 {
		o.Depth = 32
	}
	if _, err := path.Match(o.Filter, ""); err != nil {
		return fmt.Errorf("filter %q: %w", o.Filter, err)
	}
	o.match = func(name string) bool {
		ok, _ := path.Match(o.Filter, name) // the pattern is well formed, see above
		return ok || o.Filter == ""
	}
	o.known = map[string]struct{}{}
	id, err := s.resolve(ctx, start)
	if err != nil {
		return err
	}
	type level struct {
		id    *ua.NodeID
		path  string
		depth int
	}
	stack := []level{{id, "", 0}}
	var refused refusals
	ahead, most := map[*ua.NodeID]*inside{}, min(s.caps.browse, mostAhead)
	o.known[id.String()] = struct{}{}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if at.depth == o.Depth {
			continue
		}
		if ahead[at.id] == nil {
			ids := []*ua.NodeID{at.id}
			for i := len(stack) - 1; i >= 0 && len(ids) < most; i-- {
				if stack[i].depth < o.Depth && ahead[stack[i].id] == nil {
					ids = append(ids, stack[i].id)
				}
			}
			served, err := s.lookAhead(ctx, ahead, ids)
			if err != nil {
				return err
			}
			if served < len(ids) {
				most = served
			}
		}
		below, err := ahead[at.id].refs, ahead[at.id].err
		delete(ahead, at.id)
		if err != nil && at.depth == 0 {
			return fmt.Errorf("browse %s: %w", at.id, err)
		}
		if refused = refused.add(at.id, err); err != nil {
			continue
		}
		var next []level
		for _, ref := range below {
			id := ua.NewNodeIDFromExpandedNodeID(ref.NodeID)
			name := elementOf(ref.BrowseName)
			f := Found{
				Depth: at.depth + 1, Path: at.path + "/" + name, Node: id.String(), Stable: s.stable(id),
				Class: strings.TrimPrefix(ref.NodeClass.String(), "NodeClass"),
			}
			_, f.Seen = o.known[f.Node]
			if len(o.known) >= mostNodes {
				return fmt.Errorf("more than %d nodes: begin further below, or set a depth", mostNodes)
			}
			o.known[f.Node] = struct{}{}
			if err := s.found(ctx, &o, f, id, ref); err != nil {
				return err
			}
			if !f.Seen {
				next = append(next, level{id, f.Path, f.Depth})
			}
		}
		slices.Reverse(next)
		stack = append(stack, next...)
		if o.Seen != nil {
			o.Seen(len(o.known), len(stack))
		}
	}
	return errors.Join(s.flush(ctx, &o), refused.error())
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

// found hands a node on, once what is to be read of it has been read.
func (s *Session) found(ctx context.Context, o *BrowseOptions, f Found, id *ua.NodeID, ref *ua.ReferenceDescription) error {
	variable := ref.NodeClass == ua.NodeClassVariable
	if o.Filter != "" && (!variable || ref.BrowseName == nil || !o.match(ref.BrowseName.Name)) {
		return nil
	}
	o.batch, o.ids = append(o.batch, f), append(o.ids, id)
	if len(o.batch) >= 100 {
		return s.flush(ctx, o)
	}
	return nil
}

// flush reads what is to be read of the nodes that wait, and hands them on.
func (s *Session) flush(ctx context.Context, o *BrowseOptions) error {
	var nodes []*ua.ReadValueID
	var of []int
	for i := range o.batch {
		if o.Values && o.batch[i].Class == "Variable" {
			nodes = append(nodes, valueOf(o.ids[i]), attributeOf(o.ids[i], ua.AttributeIDUserAccessLevel))
			of = append(of, i)
		}
	}
	values, err := readNodes(ctx, s.ask, nodes, s.caps.read)
	if err != nil {
		return err
	}
	for k, i := range of {
		f, dv := &o.batch[i], values[2*k]
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
	for _, f := range o.batch {
		if err := o.Found(f); err != nil {
			return err
		}
	}
	o.batch, o.ids = o.batch[:0], o.ids[:0]
	return nil
}

// resolve returns where a node is at the server.
func (s *Session) resolve(ctx context.Context, n Node) (*ua.NodeID, error) {
	if !n.isPath() {
		return n.id(s.namespaces)
	}
	resp, err := s.ask(ctx, &ua.TranslateBrowsePathsToNodeIDsRequest{BrowsePaths: []*ua.BrowsePath{n.browsePath()}})
	if err != nil {
		return nil, err
	}
	got, ok := resp.(*ua.TranslateBrowsePathsToNodeIDsResponse)
	switch {
	case !ok || len(got.Results) != 1:
		return nil, unexpected(resp)
	case isBad(got.Results[0].StatusCode):
		return nil, fmt.Errorf("%s: %s", n, StatusText(got.Results[0].StatusCode))
	case len(got.Results[0].Targets) != 1:
		return nil, fmt.Errorf("%s: the path leads to %d nodes", n, len(got.Results[0].Targets))
	}
	return ua.NewNodeIDFromExpandedNodeID(got.Results[0].Targets[0].TargetID), nil
}

// The bounds of one answer while browsing.
const (
	mostAhead     = 100              // nodes in a request; what is below them is kept until it is their turn
	mostInAnswer  = 10_000           // references
	mostPerNode   = 1000             // references
	browseTimeout = 30 * time.Second // some servers gather all that is below a node before they send the first part
)

// inside is what is below a node, or why that is not known.
type inside struct {
	refs []*ua.ReferenceDescription
	err  error
}

// lookAhead notes what is below the first of the nodes, and below as many of the others as
// the server takes in one request.
func (s *Session) lookAhead(ctx context.Context, ahead map[*ua.NodeID]*inside, ids []*ua.NodeID) (served int, err error) {
	for most := len(ids); ; most /= 2 {
		results, err := s.browseSome(ctx, ids[:most])
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
			refs, err := s.rest(ctx, res)
			if ofLink(err) != nil {
				return 0, fmt.Errorf("browse %s: %w", ids[i], err)
			}
			ahead[ids[i]] = &inside{refs, err}
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

// rest returns what is below a node, however many answers that takes.
func (s *Session) rest(ctx context.Context, res *ua.BrowseResult) ([]*ua.ReferenceDescription, error) {
	var out []*ua.ReferenceDescription
	for {
		if isBad(res.StatusCode) {
			return nil, &serviceError{"Browse", res.StatusCode}
		}
		for _, ref := range res.References {
			if ref != nil && ref.NodeID != nil && ref.NodeID.ServerIndex == 0 {
				out = append(out, ref)
			}
		}
		if len(res.ContinuationPoint) == 0 {
			return out, nil
		}
		if len(out) > mostNodes {
			return nil, fmt.Errorf("more than %d nodes below it", mostNodes)
		}
		resp, err := s.ask(ctx, &ua.BrowseNextRequest{ContinuationPoints: [][]byte{res.ContinuationPoint}})
		if err != nil {
			return nil, err
		}
		next, ok := resp.(*ua.BrowseNextResponse)
		if !ok || len(next.Results) != 1 || next.Results[0] == nil {
			return nil, unexpected(resp)
		}
		res = next.Results[0]
	}
}
