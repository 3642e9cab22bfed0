package gateway

import (
	"context"
	"crypto/tls"
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
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
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

// httpServer serves what is read with HTTP, and changes nothing: /metrics, /healthz and
// /readyz, and the status page to this machine; or, on a listener of its own, the page.
type httpServer struct {
	listener net.Listener
	server   *http.Server
	mux      *http.ServeMux

	webConfig string      // path of exporter-toolkit's file; "": neither TLS nor passwords
	tls       *tls.Config // nil: none but what webConfig says
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

// listenOn binds addr, the value of key, at once, so that a port in use is an error of
// the start.
func listenOn(key, addr string, log *slog.Logger) (*httpServer, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w; %s", key, addr, err, listenHint(addr, err))
	}
	mux := http.NewServeMux()
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

// listenHTTP returns the server of metrics.listen.
func listenHTTP(addr string, reg prometheus.Gatherer, ready func() Readiness, log *slog.Logger) (*httpServer, error) {
	s, err := listenOn("metrics.listen", addr, log)
	if err != nil {
		return nil, err
	}
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	}))
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, struct {
			Status string `json:"status"`
		}{"ok"}, log)
	})
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r, code := ready(), http.StatusOK
		if !r.Ready {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, r, log)
	})
	return s, nil
}

// pageTLS reads the certificate anew for each connection, so that a renewed one counts at
// once; nil: the page has none.
func pageTLS(files bootstrap.PageTLS) (*tls.Config, error) {
	if files.Cert == "" {
		return nil, nil
	}
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := regular.ReadFile(files.Cert, clienttls.MaxFile)
		if err != nil {
			return nil, fmt.Errorf("page.tls.cert: %w", err)
		}
		key, err := regular.ReadFile(files.Key, clienttls.MaxFile)
		if err != nil {
			return nil, fmt.Errorf("page.tls.key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("page.tls: %s and %s: %w", files.Cert, files.Key, err)
		}
		return &pair, nil
	}
	if _, err := load(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: load}, nil
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
	if s.tls != nil {
		s.server.TLSConfig = s.tls
		if err := s.server.ServeTLS(s.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("status page: %w", err)
		}
		return nil
	}
	if err := web.Serve(s.listener, s.server, &web.FlagConfig{WebConfigFile: &s.webConfig}, slog.New(faults{s.log.Handler()})); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("HTTP server at %s: %w", s.Addr(), err)
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
