package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	dtlsnet "github.com/pion/dtls/v3/pkg/net"
)

// dtlsConn is a DTLS session that reads like a stream and names its errors as
// sockets do.
type dtlsConn struct {
	*dtls.Conn
	in     datagrams
	closed atomic.Bool
	expiry time.Time
}

// dtlsClient makes a session with certificates or, given a password, with that
// as pre-shared key, in hexadecimal, and the user name as its identity.
func (c *certificates) dtlsClient(ctx context.Context, below Conn, host, identity, key string) (Conn, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	options := []dtls.ClientOption{dtls.WithServerName(c.options.serverName(host))}
	if key != "" {
		psk, err := hex.DecodeString(key)
		if err != nil {
			return nil, errors.New("opts.password: the pre-shared key is not hexadecimal") // err would show a part of it
		}
		options = append(options,
			dtls.WithPSK(func([]byte) ([]byte, error) { return psk, nil }),
			dtls.WithPSKIdentityHint([]byte(identity)),
			dtls.WithCipherSuites(pskSuites()...))
	}
	if config.RootCAs != nil {
		options = append(options, dtls.WithRootCAs(config.RootCAs))
	}
	var asked atomic.Bool
	if key == "" {
		options = append(options, dtls.WithGetClientCertificate(func(*dtls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked.Store(true)
			return clientCertificate(config), nil
		}))
	}
	if u, ok := below.(*udpConn); ok {
		below = u.UDPConn // records come whole
	}
	conn, err := dtls.ClientWithOptions(dtlsnet.PacketConnFromConn(below), below.RemoteAddr(), options...)
	if err != nil {
		return nil, fmt.Errorf("DTLS: %w", err)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error counts
		return nil, fmt.Errorf("DTLS handshake: %w", explainDTLS(err, asked.Load()))
	}
	return &dtlsConn{Conn: conn, expiry: dtlsExpiry(conn)}, nil
}

// pskSuites are the cipher suites for a pre-shared key, best first: forward
// secret, then what small devices have (RFC 7925 asks for CCM_8).
func pskSuites() []dtls.CipherSuiteID {
	return []dtls.CipherSuiteID{
		dtls.TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256, dtls.TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256,
		dtls.TLS_PSK_WITH_AES_128_GCM_SHA256, dtls.TLS_PSK_WITH_CHACHA20_POLY1305_SHA256,
		dtls.TLS_PSK_WITH_AES_128_CCM, dtls.TLS_PSK_WITH_AES_128_CCM_8,
	}
}

// dtlsExpiry is when the peer's certificate ends, if it has one.
func dtlsExpiry(conn *dtls.Conn) time.Time {
	state, ok := conn.ConnectionState()
	if !ok || len(state.PeerCertificates) == 0 {
		return time.Time{}
	}
	cert, err := x509.ParseCertificate(state.PeerCertificates[0])
	if err != nil {
		return time.Time{} // the handshake accepted it, so it parses
	}
	return cert.NotAfter
}

func (c *dtlsConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p, c.Conn.Read)
	return n, c.socketError(err)
}

func (c *dtlsConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		n = 0
	}
	return n, c.socketError(err)
}

func (c *dtlsConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// socketError speaks of deadlines and closing as package net does.
func (c *dtlsConn) socketError(err error) error {
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case c.closed.Load():
		return net.ErrClosed
	case errors.As(err, &timeout) && timeout.Timeout():
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return explainDTLS(err, false)
}

func (c *dtlsConn) certExpiry() time.Time { return c.expiry }

// check drops what is left of the answer before. What is still queued below
// can't be seen without waiting.
func (c *dtlsConn) check() error {
	c.in.drop()
	return nil
}

// explainDTLS is explainTLS for pion's errors.
func explainDTLS(err error, asked bool) error {
	kind := certificateError(err, asked)
	if kind == nil && refusesDTLS(err.Error(), asked) {
		kind = ErrClientCertificate
	}
	if kind == nil {
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// refusesDTLS knows the alerts about our certificate by the names that pion gives them.
func refusesDTLS(text string, asked bool) bool {
	for _, alert := range [...]string{
		"BadCertificate", "UnsupportedCertificate", "CertificateRevoked", "CertificateExpired",
		"CertificateUnknown", "UnknownCA", "AccessDenied", "NoCertificate",
	} {
		if strings.HasSuffix(text, ": "+alert) {
			return true
		}
	}
	return asked && strings.HasSuffix(text, ": HandshakeFailure") // it got none
}
