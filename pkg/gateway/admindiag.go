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

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

type adminDiagnostics struct{ g *Gateway }

// LogLevel implements [admin.DiagnosticsBackend].
func (a adminDiagnostics) LogLevel(context.Context) (string, error) {
	return strings.ToLower(a.g.level.Level().String()), nil
}

// SetLogLevel implements [admin.DiagnosticsBackend].
func (a adminDiagnostics) SetLogLevel(_ context.Context, name string) error {
	level, err := ParseLevel(name)
	if err != nil {
		return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	a.g.level.Set(level)
	return nil
}

// Trace implements [admin.DiagnosticsBackend].
func (a adminDiagnostics) Trace(ctx context.Context, id string, emit func(admin.TraceEvent)) error {
	if err := a.g.traces.begin(a.g.pool, id); err != nil {
		return adminError(err)
	}
	defer a.g.traces.end(a.g.pool, id)
	var line questions
	stop := a.g.tap.hub.watch(id, func(r slog.Record) {
		if e := traceEvent(r); line.shows(&e) {
			emit(e)
		}
	})
	defer stop()
	<-ctx.Done()
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
func (q *questions) shows(e *admin.TraceEvent) bool {
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
func traceEvent(r slog.Record) admin.TraceEvent {
	e := admin.TraceEvent{Time: r.Time, Event: r.Message}
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

// BundleFiles implements [admin.DiagnosticsBackend].
func (a adminDiagnostics) BundleFiles(context.Context) ([]admin.File, error) {
	var settings bytes.Buffer
	if err := a.g.cfg.Print(&settings, true); err != nil {
		return nil, err
	}
	return []admin.File{
		{Name: "gateway.yml", Data: settings.Bytes()},
		{Name: "tables.json", Data: masked(a.g.runner.Current()).Document().JSON()},
		{Name: "log.txt", Data: a.g.tap.hub.text()},
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
