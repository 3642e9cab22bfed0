package gateway

import (
	"context"
	"log/slog"
	"strings"
	"sync"
)

// tapLines bounds the log lines that are kept for a support archive.
const tapLines = 2000

// tap is a slog.Handler that passes everything on and lets others look: the last
// lines are kept for the support archive, and the traffic of traced endpoints goes
// to who watches it, whatever the log level is.
type tap struct {
	next  slog.Handler
	hub   *tapHub
	attrs []slog.Attr
}

// tapHub is what all handlers made from one tap share.
type tapHub struct {
	mu       sync.Mutex
	lines    [tapLines]string // a ring
	count    int
	watchers map[*tapWatcher]struct{}
}

// tapWatcher gets the debug records that bear its endpoint's id.
type tapWatcher struct {
	endpoint string
	emit     func(slog.Record)
}

func newTap(next slog.Handler) *tap {
	return &tap{next: next, hub: &tapHub{watchers: map[*tapWatcher]struct{}{}}}
}

// Enabled implements [slog.Handler].
func (t *tap) Enabled(ctx context.Context, level slog.Level) bool {
	return t.next.Enabled(ctx, level) || level == slog.LevelDebug && t.hub.watched()
}

// Handle implements [slog.Handler].
func (t *tap) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelDebug {
		t.hub.show(t.attrs, r)
	}
	if !t.next.Enabled(ctx, r.Level) {
		return nil
	}
	t.hub.keep(t.attrs, r)
	return t.next.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (t *tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tap{next: t.next.WithAttrs(attrs), hub: t.hub, attrs: append(append([]slog.Attr(nil), t.attrs...), attrs...)}
}

// WithGroup implements [slog.Handler].
func (t *tap) WithGroup(name string) slog.Handler {
	return &tap{next: t.next.WithGroup(name), hub: t.hub, attrs: t.attrs}
}

func (h *tapHub) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers) > 0
}

// watch calls emit, which must not block, for each debug record of an endpoint,
// until the returned function is called.
func (h *tapHub) watch(endpoint string, emit func(slog.Record)) (stop func()) {
	w := &tapWatcher{endpoint, emit}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, w)
	}
}

func (h *tapHub) show(attrs []slog.Attr, r slog.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for _, a := range attrs {
			if a.Key == "endpoint" && a.Value.String() == w.endpoint {
				w.emit(r)
			}
		}
	}
}

func (h *tapHub) keep(attrs []slog.Attr, r slog.Record) {
	var b strings.Builder
	b.WriteString(r.Time.UTC().Format("2006-01-02T15:04:05.000Z "))
	b.WriteString(r.Level.String() + " " + r.Message)
	write := func(a slog.Attr) bool {
		b.WriteString(" " + a.Key + "=" + a.Value.String())
		return true
	}
	for _, a := range attrs {
		write(a)
	}
	r.Attrs(write)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines[h.count%tapLines] = b.String()
	h.count++
}

// text returns the lines that are kept, oldest first.
func (h *tapHub) text() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for i := max(0, h.count-tapLines); i < h.count; i++ {
		b.WriteString(h.lines[i%tapLines] + "\n")
	}
	return []byte(b.String())
}
