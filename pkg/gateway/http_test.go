package gateway

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// TestIdleScrapers: connections that say nothing, or only the beginning of a request,
// neither grow in number without end nor keep Prometheus out.
func TestIdleScrapers(t *testing.T) {
	s, err := listenHTTP("127.0.0.1:0", prometheus.NewRegistry(), func() Readiness { return Readiness{} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var conns []net.Conn
	for i := range 2 * httpMax {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		if i%2 == 0 {
			_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nX: ") // it may be closed already
		}
	}
	scrape := func() error {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := client.Get("http://" + s.Addr() + "/metrics")
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	_ = scrape() // served or not: all that connected before were judged before it
	open := 0
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open > httpMaxPeer {
		t.Errorf("%d connections of one host stay open, expected %d at most", open, httpMaxPeer)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := scrape()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("idle connections keep others out: %v", err)
		}
		time.Sleep(100 * time.Millisecond) // until one of them was idle for long enough
	}
}

// TestPageOnTheMetricsListener: the page is there for clients of this machine, and not
// where page.local is off; /metrics stays for everybody.
func TestPageOnTheMetricsListener(t *testing.T) {
	for _, local := range []bool{true, false} {
		log := slog.New(slog.DiscardHandler)
		g := &Gateway{cfg: &bootstrap.Gateway{Page: bootstrap.Page{Local: local}}, log: log}
		var err error
		if g.http, err = listenHTTP("127.0.0.1:0", prometheus.NewRegistry(), func() Readiness { return Readiness{} }, log); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.http.Close() }) // nobody has connected
		socket := admin.Config{Socket: filepath.Join(t.TempDir(), "admin.sock")}
		if g.admin, err = admin.NewServer(socket, admin.Backend{}, admin.Deps{Log: log, Registerer: prometheus.NewRegistry()}); err != nil {
			t.Fatal(err)
		}
		if err := g.openPage(); err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			path, host string
			code       int
		}{
			{"/", "127.0.0.1:9100", map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[local]},
			{"/page/page.js", "localhost:9100", map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[local]},
			{"/page/events", "evil.example", map[bool]int{true: http.StatusForbidden, false: http.StatusNotFound}[local]},
			{"/metrics", "evil.example", http.StatusOK},
		} {
			r := httptest.NewRequest(http.MethodGet, x.path, nil)
			r.Host, r.RemoteAddr = x.host, "127.0.0.1:40000"
			w := httptest.NewRecorder()
			g.http.mux.ServeHTTP(w, r)
			if w.Code != x.code {
				t.Errorf("local %v, %s of %s: %d, not %d", local, x.path, x.host, w.Code, x.code)
			}
		}
	}
}

// TestWebConfig: Prometheus's own file gives the listener TLS and passwords; one that
// can't be used is refused before anything listens.
func TestWebConfig(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(nil) // for its certificate alone
	server.StartTLS()
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	file("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	// The hash is of "let-me-in", with the least cost there is.
	good := file("good.yml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {prom: '$2a$04$8cf1h2aUkz2fYao8S4HMD.4yu2kXCy7geXQtrZNaBN0Nnh3nHzxmq'}\n")
	for name, text := range map[string]string{
		"typo.yml": "tls_server: {}\n", "no-key.yml": "tls_server_config: {cert_file: cert.pem}\n", "no-hash.yml": "basic_auth_users: {prom: let-me-in}\n", "gone": "",
	} {
		path := filepath.Join(dir, "gone.yml")
		if text != "" {
			path = file(name, text)
		}
		if err := checkWebConfig(path); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := checkWebConfig(good); err != nil {
		t.Fatal(err)
	}
	s, err := listenHTTP("127.0.0.1:0", prometheus.NewRegistry(), func() Readiness { return Readiness{} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.webConfig = good
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	client := server.Client() // which trusts the certificate
	client.Timeout = 20 * time.Second
	for _, x := range []struct {
		scheme, password string
		code             int
	}{{"https", "let-me-in", http.StatusOK}, {"https", "guess", http.StatusUnauthorized}, {"https", "", http.StatusUnauthorized}, {"http", "let-me-in", http.StatusBadRequest}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.scheme+"://"+s.Addr()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if x.password != "" {
			r.SetBasicAuth("prom", x.password)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // the code is all
		if resp.StatusCode != x.code {
			t.Errorf("%s with %q: %s, not %d", x.scheme, x.password, resp.Status, x.code)
		}
	}
}

// TestPageElsewhere: the page's own listener speaks TLS, asks who one is, and shows the
// page and nothing else; a renewed certificate counts from the next connection on.
func TestPageElsewhere(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(nil) // for its certificate alone
	server.StartTLS()
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	p := bootstrap.Page{Listen: "127.0.0.1:0", Token: "a-token-of-enough-length",
		TLS: bootstrap.PageTLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}}
	if _, err := pageTLS(p.TLS); err == nil {
		t.Error("a certificate that is not there is taken")
	}
	for path, text := range map[string][]byte{
		p.TLS.Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		p.TLS.Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	g := &Gateway{cfg: &bootstrap.Gateway{Page: p}, log: log}
	socket := admin.Config{Socket: filepath.Join(t.TempDir(), "admin.sock")}
	if g.admin, err = admin.NewServer(socket, admin.Backend{}, admin.Deps{Log: log, Registerer: prometheus.NewRegistry()}); err != nil {
		t.Fatal(err)
	}
	if err := g.openPage(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.page.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	client := server.Client() // which trusts the certificate
	client.Timeout = 20 * time.Second
	for _, x := range []struct {
		scheme, path, token string
		code                int
	}{
		{"https", "/", p.Token, http.StatusOK}, {"https", "/page/page.js", p.Token, http.StatusOK}, {"https", "/metrics", p.Token, http.StatusNotFound},
		{"https", "/", "", http.StatusUnauthorized}, {"https", "/page/events", "another-of-enough-length", http.StatusUnauthorized},
		{"http", "/", p.Token, http.StatusBadRequest},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.scheme+"://"+g.page.Addr()+x.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if x.token != "" {
			r.SetBasicAuth("anybody", x.token)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // the code is all
		if resp.StatusCode != x.code {
			t.Errorf("%s %s with %q: %s, not %d", x.scheme, x.path, x.token, resp.Status, x.code)
		}
	}
	if err := os.WriteFile(p.TLS.Cert, []byte("half a cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	client.CloseIdleConnections()
	if resp, err := client.Get("https://" + g.page.Addr() + "/"); err == nil {
		_ = resp.Body.Close() // it should not have come
		t.Error("the certificate is not read anew")
	}
}
