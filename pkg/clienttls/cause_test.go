package clienttls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// issued makes a certificate of parent (nil: of its own) for names, valid until end.
func issued(t *testing.T, parent *tls.Certificate, end time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-48 * time.Hour), NotAfter: end, DNSNames: names,
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	signer, signKey := tmpl, any(key)
	if parent != nil {
		signer, signKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer, &key.PublicKey, signKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestCauses plays servers that fail in each way, and asks what a client makes of it;
// also of the text alone, which is all that some libraries hand on.
func TestCauses(t *testing.T) {
	tomorrow := time.Now().Add(24 * time.Hour)
	ca := issued(t, nil, tomorrow)
	stranger := issued(t, nil, tomorrow)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	good := issued(t, &ca, tomorrow, "plant")
	mutual := tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	own := func(c tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: "plant", Certificates: []tls.Certificate{c}}
	}
	for name, c := range map[string]struct {
		server any // *tls.Config, or what it says
		client *tls.Config
		want   Cause
		says   string
	}{
		"well":              {&mutual, own(issued(t, &ca, tomorrow, "me")), Unknown, ""},
		"stranger":          {&tls.Config{Certificates: []tls.Certificate{issued(t, &stranger, tomorrow, "plant")}}, nil, UnknownAuthority, "set CA"},
		"other name":        {&tls.Config{Certificates: []tls.Certificate{issued(t, &ca, tomorrow, "else")}}, nil, OtherName, "in ADDRESS"},
		"no name":           {&tls.Config{Certificates: []tls.Certificate{issued(t, &ca, tomorrow)}}, nil, OtherName, "in ADDRESS"},
		"expired":           {&tls.Config{Certificates: []tls.Certificate{issued(t, &ca, time.Now().Add(-time.Hour), "plant")}}, nil, NotValidNow, "clock"},
		"not yet":           {&tls.Config{Certificates: []tls.Certificate{issued(t, &ca, tomorrow.Add(72*time.Hour), "plant")}}, nil, NotValidNow, "clock"},
		"not TLS":           {"HTTP/1.1 400 Bad Request\r\n\r\n", nil, NotTLS, "PLAIN"},
		"hangs up":          {"", nil, HungUp, "PLAIN"},
		"none of ours":      {&mutual, nil, CertWanted, "set CERT and KEY"},
		"of a stranger":     {&mutual, own(issued(t, &stranger, tomorrow, "me")), CertUnknown, "authority that signed CERT"},
		"ours has expired":  {&mutual, own(issued(t, &ca, time.Now().Add(-time.Hour), "me")), CertExpired, "CERT"},
		"old TLS":           {&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11}, nil, NoVersion, "update"},
		"no cipher of ours": {&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, nil, NoCipher, "cipher"},
		"no protocol":       {&tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"mqtt"}}, &tls.Config{RootCAs: roots, ServerName: "plant", NextProtos: []string{"x"}}, NoProtocol, "ALPN"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.client == nil {
				c.client = &tls.Config{RootCAs: roots, ServerName: "plant"}
			}
			err := connect(t, c.server, c.client)
			if c.want == Unknown {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if got := HandshakeCause(err); got != c.want {
				t.Fatalf("%v: cause %d, want %d", err, got, c.want)
			}
			if c.want != HungUp && CauseOf(errors.New("desc = \"transport: "+err.Error()+"\"")) != c.want {
				t.Errorf("the text alone does not tell: %v", err)
			}
			s := Settings{Peer: "it", CA: "CA", Cert: "CERT", Key: "KEY", Address: "ADDRESS", ServerName: "NAME", ALPN: "ALPN", Plain: "PLAIN"}
			if told := s.ExplainedHandshake(err); !strings.Contains(told.Error(), c.says) || !errors.Is(told, err) {
				t.Errorf("%v: %q isn't in it", told, c.says)
			}
		})
	}
	if CauseOf(nil) != Unknown || HandshakeCause(errors.New("x")) != Unknown {
		t.Error("a cause out of nothing")
	}
}

// connect is the error that a client of server gets, from the handshake or the first read.
func connect(t *testing.T, server any, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }() // the client has its error
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		switch s := server.(type) {
		case string:
			_, _ = conn.Read(make([]byte, 1024)) // the client's hello; unread, it would make a reset of the close
			_, _ = conn.Write([]byte(s))
		case *tls.Config:
			if c := tls.Server(conn, s); c.Handshake() == nil {
				_, _ = c.Write([]byte("x"))
			}
		}
	}()
	defer func() { _ = l.Close(); <-done }()
	plain, err := net.DialTimeout("tcp", l.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }() // the test has what it wants
	_ = plain.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Client(plain, client)
	if err := c.Handshake(); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}
