package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/intake"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// Readiness is the answer of /readyz: ready, or what is still missing.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Missing []string `json:"missing,omitempty"`
}

// The bounds of the HTTP server's connections: in all, of one host, and after what
// time one that says nothing makes room for others.
const (
	httpMax     = 64
	httpMaxPeer = 32
	httpGrace   = 2 * time.Second
)

// hostOf names the host at the other end of a connection.
func hostOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// httpServer serves /metrics, /healthz and /readyz, and the status page to this machine,
// all read-only.
type httpServer struct {
	listener net.Listener
	server   *http.Server
	mux      *http.ServeMux

	webConfig string // path of exporter-toolkit's file; "": neither TLS nor passwords
	log       *slog.Logger
}

// checkWebConfig says why the file of metrics.web_config can't be used.
func checkWebConfig(path string) error {
	if path == "" {
		return nil
	}
	if _, err := regular.ReadFile(path, clienttls.MaxFile); err != nil {
		return err
	}
	if err := web.Validate(path); err != nil {
		return fmt.Errorf("%s: %w; expected tls_server_config and basic_auth_users as Prometheus's exporters have them", path, err)
	}
	return nil
}

// listenHint says what mends it that addr can't be listened on.
func listenHint(addr string, err error) string {
	if _, port, _ := net.SplitHostPort(addr); port == "9100" && errors.Is(err, syscall.EADDRINUSE) {
		return "Prometheus's node_exporter listens on 9100 too: set metrics: {listen: \":9101\"}, and have Prometheus scrape that"
	}
	return "choose another address, or stop what uses this one"
}

// listenHTTP binds addr at once, so that a port in use is an error of the start.
func listenHTTP(addr string, reg prometheus.Gatherer, ready func() Readiness, log *slog.Logger) (*httpServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics.listen %q: %w; %s", addr, err, listenHint(addr, err))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, struct {
			Status string `json:"status"`
		}{"ok"}, log)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r, code := ready(), http.StatusOK
		if !r.Ready {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, r, log)
	})
	bounded := intake.Listen(l, intake.Config{Max: httpMax, MaxPeer: httpMaxPeer, Peer: hostOf, Grace: httpGrace})
	return &httpServer{listener: bounded, mux: mux, log: log, server: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

func answer(w http.ResponseWriter, code int, body any, log *slog.Logger) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Debug("http answer not written", "error", err)
	}
}

// Addr returns the address that is listened on, with the port that the system
// chose for ":0".
func (s *httpServer) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends.
func (s *httpServer) Run(ctx context.Context) error {
	s.server.BaseContext = func(net.Listener) context.Context { return ctx } // streams end with it
	stop := context.AfterFunc(ctx, func() {
		// Scrapes take milliseconds; what is left after a second is cut off.
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.server.Shutdown(grace); err != nil {
			_ = s.server.Close() // the process is going away; nothing to add
		}
	})
	defer stop()
	if err := web.Serve(s.listener, s.server, &web.FlagConfig{WebConfigFile: &s.webConfig}, slog.New(faults{s.log.Handler()})); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics server: %w", err)
	}
	return nil
}

// faults leaves out what a library says of a normal life.
type faults struct{ slog.Handler }

func (f faults) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && f.Handler.Enabled(ctx, l)
}

// Close frees the listener, for a server that never ran.
func (s *httpServer) Close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
