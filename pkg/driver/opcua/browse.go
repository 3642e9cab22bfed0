package opcua

import (
	"context"
	"fmt"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Session answers people's questions: in a session of its own, or in that of a driver. Its
// methods are for one goroutine at a time.
type Session struct {
	ch         *channel // nil: a driver's, which is not ended
	sess       *session
	ask        asker
	namespaces []string
	caps       limits
}

// Connect opens a session with the server of an endpoint of scheme opc.tcp. The caller
// closes it.
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

// Close ends the session, and does not wait long for a server that does not answer. The
// session of a driver goes on.
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

// Namespaces returns the URIs of the server's namespaces, by their indexes.
func (s *Session) Namespaces() []string { return s.namespaces }

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
