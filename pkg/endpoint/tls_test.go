package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// serverArgs run openssl as the server that a certificate makes.
func serverArgs(p pair, more ...string) []string {
	return append([]string{"-cert", p.cert, "-key", p.key}, more...)
}

func TestTLSHandshake(t *testing.T) {
	ca, stranger := newAuthority(t, "plant"), newAuthority(t, "stranger")
	good := ca.issue("good", tomorrow())
	client, wrongClient := ca.issue("edge", tomorrow(), "edge"), stranger.issue("edge", tomorrow(), "edge")
	mutual := []string{"-Verify", "2", "-verify_return_error", "-CAfile", ca.file}
	trust, mine, foreign := "ca="+ca.file, "&client_cert="+client.cert+"&client_key="+client.key,
		"&client_cert="+wrongClient.cert+"&client_key="+wrongClient.key

	tests := []struct {
		name   string
		server []string
		query  string
		want   error
	}{
		{"one-sided 1.3", serverArgs(good), trust, nil},
		{"one-sided 1.2", serverArgs(good, "-tls1_2"), trust, nil},
		{"mutual 1.3", serverArgs(good, mutual...), trust + mine, nil},
		{"mutual 1.2", serverArgs(good, append(mutual, "-tls1_2")...), trust + mine, nil},
		{"server_name", serverArgs(ca.issue("named", tomorrow(), "plc1.plant.example")), trust + "&server_name=plc1.plant.example", nil},
		{"wrong CA", serverArgs(good), "ca=" + stranger.file, ErrUnknownAuthority},
		{"system's CAs", serverArgs(good), "", ErrUnknownAuthority},
		{"expired", serverArgs(ca.issue("old", time.Now().Add(-time.Hour))), trust, ErrCertificateExpired},
		{"wrong name", serverArgs(ca.issue("other", tomorrow(), "plc2.plant.example")), trust, ErrCertificateName},
		{"wrong server_name", serverArgs(good), trust + "&server_name=plc9", ErrCertificateName},
		{"no client certificate 1.3", serverArgs(good, mutual...), trust, ErrClientCertificate},
		{"no client certificate 1.2", serverArgs(good, append(mutual, "-tls1_2")...), trust, ErrClientCertificate},
		{"refused client certificate 1.3", serverArgs(good, mutual...), trust + foreign, ErrClientCertificate},
		{"refused client certificate 1.2", serverArgs(good, append(mutual, "-tls1_2")...), trust + foreign, ErrClientCertificate},
		{"no CA file", serverArgs(good), "ca=/nonexistent.pem", ErrCertificateFile},
		{"CA file without certificate", serverArgs(good), "ca=" + good.key, ErrCertificateFile},
		{"key of another", serverArgs(good), trust + "&client_cert=" + client.cert + "&client_key=" + good.key, ErrCertificateFile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startOpenSSL(t, append(tt.server, "-rev")...)
			err := talkTLS(t, "tls+tcp://"+s.addr+"?timeout=5s&"+tt.query)
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			for _, other := range []error{ErrUnknownAuthority, ErrCertificateExpired, ErrCertificateName, ErrClientCertificate, ErrCertificateFile} {
				if !errors.Is(other, tt.want) && errors.Is(err, other) {
					t.Errorf("%v is %v too", err, other)
				}
			}
		})
	}
	t.Run("min_version", func(t *testing.T) {
		s := startOpenSSL(t, serverArgs(good, "-tls1_2", "-rev")...)
		if err := talkTLS(t, "tls+tcp://"+s.addr+"?min_version=1.3&"+trust); err == nil {
			t.Error("TLS 1.2 was accepted")
		}
	})
}

// talkTLS dials a server that reverses lines and exchanges one.
func talkTLS(t *testing.T, url string) error {
	t.Helper()
	c, err := Dial(context.Background(), mustParse(t, strings.TrimSuffix(url, "&")), DialOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "drow\n"); err != nil {
		return err
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	if string(buf) != "word\n" {
		t.Errorf("read %q", buf)
	}
	return nil
}

// tlsEcho is an echo server whose certificate the test may change.
func tlsEcho(t testing.TB, p *pair) *echoServer {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(p.cert, p.key)
			return &c, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &echoServer{Listener: l}
	go s.serve()
	t.Cleanup(func() { _ = l.Close(); s.hangUp() })
	return s
}

// TestCertificateReload changes the authority on the device and in our file.
func TestCertificateReload(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	server := first.issue("plc", tomorrow())
	s := tlsEcho(t, &server)
	p := newTestPool(t, PoolOptions{})
	ctx := context.Background()
	h := mustOpen(t, p, "plc", mustParse(t, "tls://"+s.Addr().String()+"?backoff=10ms&backoff_max=10ms&ca="+first.file))
	l := mustAcquire(t, h)
	echo(t, l, "one")
	l.Release(nil)
	want := tomorrow()
	if st, _ := p.State("plc"); !st.CertExpiry.Equal(want) {
		t.Errorf("CertExpiry = %v, want %v", st.CertExpiry, want)
	}

	server = second.issue("plc", tomorrow())
	if err := p.Control(ctx, Control{Drain, "plc"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Acquire(ctx); !errors.Is(err, ErrUnknownAuthority) {
		t.Fatalf("Acquire with the old authority: %v", err)
	}
	copyFile(t, second.file, first.file)
	waitFor(t, func() bool { // the back-off
		l, err := h.Acquire(ctx)
		if err == nil {
			echo(t, l, "two")
			l.Release(nil)
		}
		return err == nil
	})

	// A change that size and date don't show needs to be told.
	before, err := os.Stat(first.file)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Repeat("x", int(before.Size()))
	if err := os.WriteFile(first.file, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(first.file, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := p.Control(ctx, Control{Drain, "plc"}); err != nil {
		t.Fatal(err)
	}
	mustAcquire(t, h).Release(nil)
	if err := p.Control(ctx, Control{Reload, "plc"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Acquire(ctx); !errors.Is(err, ErrCertificateFile) {
		t.Errorf("Acquire after reload: %v, want ErrCertificateFile", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute) // the sizes may be equal, and the dates too
	if err := os.Chtimes(to, later, later); err != nil {
		t.Fatal(err)
	}
}

// TestTLSFoundDead: neither session tickets nor the end of the session may be
// mistaken for each other.
func TestTLSFoundDead(t *testing.T) {
	ca := newAuthority(t, "plant")
	s := startOpenSSL(t, serverArgs(ca.issue("plc", tomorrow()))...)
	u := mustParse(t, "tls://"+s.addr+"?ca="+ca.file)
	d, err := newDialer(u, PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, _, err := d.dial(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	below := l.Conn.(*deadlineConn).Conn.(*tlsConn).below.(*tcpConn)
	waitFor(t, below.pending) // the tickets that openssl sends
	if err := l.check(); err != nil {
		t.Errorf("check with session tickets waiting: %v", err)
	}
	if below.pending() {
		t.Error("check left the tickets")
	}
	if err := l.check(); err != nil {
		t.Errorf("check of a quiet connection: %v", err)
	}
	s.say("unasked\n")
	waitFor(t, below.pending)
	if err := l.check(); !errors.Is(err, errUnasked) {
		t.Errorf("check with data waiting: %v, want errUnasked", err)
	}
	s.say("Q\n") // quit: close_notify, end of file
	waitFor(t, func() bool { return l.check() != nil && !errors.Is(l.check(), errUnasked) })
	if err := l.check(); !errors.Is(err, io.EOF) {
		t.Errorf("check after the end: %v, want EOF", err)
	}
}

func TestCertExpiryMetric(t *testing.T) {
	ca := newAuthority(t, "plant")
	server := ca.issue("plc", tomorrow())
	s := tlsEcho(t, &server)
	reg := prometheus.NewPedanticRegistry()
	p := newTestPool(t, PoolOptions{Registerer: reg})
	h := mustOpen(t, p, "plc", mustParse(t, "tls://"+s.Addr().String()+"?ca="+ca.file))
	mustAcquire(t, h).Release(nil)
	if got, want := metric(t, reg, "endpoint_certificate_expiry_timestamp_seconds", "plc"), float64(tomorrow().Unix()); got != want {
		t.Errorf("expiry = %v, want %v", got, want)
	}
}

// BenchmarkTLSHandshake compares a cold Acquire with what crypto/tls needs by
// itself for the same server.
func BenchmarkTLSHandshake(b *testing.B) {
	ca := newAuthority(b, "plant")
	server := ca.issue("plc", tomorrow())
	client := ca.issue("edge", tomorrow(), "edge")
	keyPair, err := tls.LoadX509KeyPair(server.cert, server.key)
	if err != nil {
		b.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{keyPair}, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	s := &echoServer{Listener: l}
	go s.serve()
	b.Cleanup(func() { _ = l.Close(); s.hangUp() })
	u := mustParse(b, "tls://"+s.Addr().String()+"?timeout=5s&ca="+ca.file+"&client_cert="+client.cert+"&client_key="+client.key)

	b.Run("raw", func(b *testing.B) {
		config, err := u.options.tlsConfig()
		if err != nil {
			b.Fatal(err)
		}
		config.ServerName = "127.0.0.1"
		for b.Loop() {
			raw, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			c := tls.Client(raw, config)
			if err := c.Handshake(); err != nil {
				b.Fatal(err)
			}
			_ = c.Close()
		}
	})
	b.Run("pool", func(b *testing.B) {
		p := newTestPool(b, PoolOptions{})
		h := mustOpen(b, p, "plc", u)
		for b.Loop() {
			mustAcquire(b, h).Release(context.Canceled) // closed, without prejudice
		}
	})
}
