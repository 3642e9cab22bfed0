package gateway

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

type adminDiagnostics struct {
	pb.UnimplementedDiagnosticsServiceServer
	g *Gateway
}

// GetLogLevel returns the level.
func (a adminDiagnostics) GetLogLevel(context.Context, *pb.GetLogLevelRequest) (*pb.GetLogLevelResponse, error) {
	return &pb.GetLogLevelResponse{Level: a.level()}, nil
}

func (a adminDiagnostics) level() string { return strings.ToLower(a.g.level.Level().String()) }

// SetLogLevel changes the level until the next start.
func (a adminDiagnostics) SetLogLevel(_ context.Context, r *pb.SetLogLevelRequest) (*pb.SetLogLevelResponse, error) {
	level, err := ParseLevel(r.GetLevel())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errkind.Invalid, err)
	}
	old := a.level()
	a.g.level.Set(level)
	return &pb.SetLogLevelResponse{OldLevel: old}, nil
}

// TraceEndpoint sends what goes over an endpoint's connections. It runs where nothing
// may wait: out never blocks.
func (a adminDiagnostics) TraceEndpoint(r *pb.TraceEndpointRequest, out grpc.ServerStreamingServer[pb.TraceEndpointResponse]) error {
	id := r.GetEndpoint()
	if err := a.g.traces.begin(a.g.pool, id); err != nil {
		return err
	}
	defer a.g.traces.end(a.g.pool, id)
	var line questions
	stop := a.g.tap.hub.watch(id, func(r slog.Record) {
		if e := traceEvent(r); line.shows(e) {
			_ = out.Send(e) // it never fails
		}
	})
	defer stop()
	<-out.Context().Done()
	return nil
}

// traces counts who traces which endpoint: the last one to leave ends it.
type traces struct {
	mu sync.Mutex
	of map[string]int
}

func (t *traces) begin(pool *endpoint.Pool, id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := pool.Trace(id, true); err != nil {
		return err
	}
	if t.of == nil {
		t.of = map[string]int{}
	}
	t.of[id]++
	return nil
}

func (t *traces) end(pool *endpoint.Pool, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[id]--; t.of[id] == 0 {
		delete(t.of, id)
		_ = pool.Trace(id, false) // gone with the endpoint, if that fails
	}
}

// questions knows on which connections an answer is due. Its user serialises calls.
type questions struct{ open map[uint64]bool }

// shows reports whether a person should see e. Drivers wait for a line to be silent
// before they ask: that nothing came then is what they wanted; that nothing came
// after a question is an event.
func (q *questions) shows(e *pb.TraceEndpointResponse) bool {
	if q.open == nil {
		q.open = map[uint64]bool{}
	}
	switch {
	case e.Event == "send":
		q.open[e.Connection] = true
	case e.Event == "receive" && len(e.Data) > 0:
		q.open[e.Connection] = false
	case e.Event == "receive" && strings.Contains(e.Text, "timeout"):
		if !q.open[e.Connection] {
			return false
		}
		q.open[e.Connection] = false
		e.Event, e.Text = "error", "no answer in time"
	}
	return true
}

// traceEvent turns a record of the endpoint's trace into an event.
func traceEvent(r slog.Record) *pb.TraceEndpointResponse {
	e := &pb.TraceEndpointResponse{Time: admin.Timestamp(r.Time), Event: r.Message}
	var rest []string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "hex":
			if data, err := hex.DecodeString(strings.ReplaceAll(a.Value.String(), " ", "")); err == nil {
				e.Data = data
				return true
			}
		case "bytes":
			return true
		case "conn":
			if a.Value.Kind() == slog.KindUint64 {
				e.Connection = a.Value.Uint64()
				return true
			}
		}
		rest = append(rest, a.Key+"="+a.Value.String())
		return true
	})
	e.Text = strings.Join(rest, " ")
	switch r.Message {
	case "sent":
		e.Event = "send"
	case "received":
		e.Event = "receive"
	}
	return e
}

// bundleFiles returns what a support archive should hold of the configuration and the log.
func (g *Gateway) bundleFiles(context.Context) ([]admin.File, error) {
	var settings bytes.Buffer
	if err := g.cfg.Print(&settings, true); err != nil {
		return nil, err
	}
	return []admin.File{
		{Name: "gateway.yml", Data: settings.Bytes()},
		{Name: "tables.json", Data: masked(g.runner.Current()).Document().JSON()},
		{Name: "log.txt", Data: g.tap.hub.text()},
	}, nil
}

// masked returns snap without the passwords that its endpoints may hold literally.
func masked(snap *config.Snapshot) *config.Snapshot {
	out := *snap
	out.Endpoints = make(map[string]config.Endpoint, len(snap.Endpoints))
	for id, ep := range snap.Endpoints {
		if p := ep.Opts["password"]; p != "" && !strings.HasPrefix(p, "${") {
			ep.Opts = maps.Clone(ep.Opts)
			ep.Opts["password"] = "********"
		}
		out.Endpoints[id] = ep
	}
	return &out
}
