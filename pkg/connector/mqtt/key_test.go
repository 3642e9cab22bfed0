package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClientCertDates refuses a certificate that no broker takes.
func TestClientCertDates(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		from, to time.Duration
		fault    string
	}{{-time.Hour, time.Hour, ""}, {-2 * time.Hour, -time.Hour, "expired"}, {time.Hour, 2 * time.Hour, "valid from"}} {
		err := checkClientCert(&tls.Certificate{Leaf: &x509.Certificate{NotBefore: now.Add(c.from), NotAfter: now.Add(c.to)}}, now)
		if (err == nil) != (c.fault == "") || err != nil && (!strings.Contains(err.Error(), c.fault) || !errors.Is(err, errClientCert)) {
			t.Errorf("%v to %v: %v", c.from, c.to, err)
		}
	}
}

// TestExplainEnd says what the end of a connection means.
func TestExplainEnd(t *testing.T) {
	alert := func(text string) error { return &net.OpError{Op: "remote error", Err: errors.New("tls: " + text)} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{io.EOF, "closed the connection without a reason"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "closed the connection without a reason"},
		{alert("expired certificate"), "tls.client_cert has expired"},
		{alert("certificate required"), "set tls.client_cert"},
		{alert("unknown certificate authority"), "authority"},
		{alert("unrecognized name"), "tls.server_name"},
		{errSpeaksTLS, "mqtts://"},
	} {
		if got := explainEnd(c.err); !strings.Contains(got.Error(), c.want) || !errors.Is(got, c.err) {
			t.Errorf("%v: %v, want %q in it", c.err, got, c.want)
		}
	}
}
