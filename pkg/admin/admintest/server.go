package admintest

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
)

// Server is a running server and what it told.
type Server struct {
	Socket   string
	Gatherer prometheus.Gatherer
	// Stop ends the server, waits for it, and returns its error.
	Stop func() error

	mu     sync.Mutex
	audits []admin.AuditRecord
}

// Audits returns the records so far.
func (s *Server) Audits() []admin.AuditRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.audits)
}

// Serve starts a server and returns when it listens.
func Serve(cfg admin.Config, backend admin.Backend) (*Server, error) {
	reg := prometheus.NewRegistry()
	s := &Server{Socket: cfg.Socket, Gatherer: reg}
	srv, err := admin.NewServer(cfg, backend, admin.Deps{
		Log: slog.New(slog.DiscardHandler), Registerer: reg, Gatherer: reg,
		Audit: func(r admin.AuditRecord) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.audits = append(s.audits, r)
		},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	s.Stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	select {
	case <-srv.Ready():
		return s, nil
	case err := <-done:
		cancel()
		return nil, err
	}
}

// Start serves until the test ends; change may change the configuration.
func Start(t testing.TB, backend admin.Backend, change ...func(*admin.Config)) *Server {
	t.Helper()
	cfg := admin.Config{Socket: filepath.Join(t.TempDir(), "admin.sock")}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Serve(cfg, backend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("admin server: %v", err)
		}
	})
	return s
}

// Dial connects until the test ends.
func Dial(t testing.TB, s *Server) *admin.Client {
	t.Helper()
	c, err := admin.Dial(t.Context(), s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // nothing is left to be said
	return c
}
