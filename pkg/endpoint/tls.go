package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
)

// certificates holds the files of one endpoint, read again when one of them has
// changed on disk.
type certificates struct {
	options Options
	guard   Guard        // may be nil
	log     *slog.Logger // told what is wrong with files where there is a guard

	mu     sync.Mutex
	stamps [3]fileStamp
	config *tls.Config // without server name; nil: read the files
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// forget makes the next handshake read the files, whatever their dates.
func (c *certificates) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config = nil
}

// load returns the configuration that the files as they are now make. A person who
// chooses the files may not be allowed to know which files exist: where there is a guard,
// only the log says what is wrong.
func (c *certificates) load() (*tls.Config, error) {
	if c.guard == nil {
		return c.read()
	}
	for _, name := range [...]string{c.options.CA, c.options.ClientCert, c.options.ClientKey} {
		if name == "" {
			continue
		}
		if err := c.guard.File(name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCertificateFile, err)
		}
	}
	config, err := c.read()
	if err != nil {
		c.log.Warn("certificates or keys that an endpoint names can't be used", "error", err)
		return nil, fmt.Errorf("%w: opts.ca, opts.client_cert or opts.client_key; the gateway's log says why", ErrCertificateFile)
	}
	return config, nil
}

func (c *certificates) read() (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := &c.options
	var stamps [3]fileStamp
	for i, name := range [...]string{o.CA, o.ClientCert, o.ClientKey} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCertificateFile, err)
		}
		stamps[i] = fileStamp{info.ModTime(), info.Size()}
	}
	if c.config != nil && stamps == c.stamps {
		return c.config, nil
	}
	config, err := o.tlsConfig()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificateFile, err)
	}
	c.config, c.stamps = config, stamps
	return config, nil
}

// tlsConfig reads the files.
func (o *Options) tlsConfig() (*tls.Config, error) {
	config, err := clienttls.Files{CA: o.CA, Cert: o.ClientCert, Key: o.ClientKey}.Config()
	switch {
	case errors.Is(err, clienttls.ErrCA):
		return nil, fmt.Errorf("opts.ca: %w", err)
	case err != nil:
		return nil, fmt.Errorf("opts.client_cert, opts.client_key: %w", err)
	}
	if o.MinVersion == "1.3" {
		config.MinVersion = tls.VersionTLS13
	}
	return config, nil
}

// serverName is the name that a peer's certificate must be for.
func (o *Options) serverName(host string) string {
	if o.ServerName != "" {
		return o.ServerName
	}
	host, _, _ = strings.Cut(host, "%") // no zone
	return host
}

// tlsConn is a TLS connection over a checkable one.
type tlsConn struct {
	*tls.Conn
	below Conn
}

func (c *certificates) tlsClient(ctx context.Context, below Conn, host string) (Conn, error) {
	shared, err := c.load()
	if err != nil {
		return nil, err
	}
	config := shared.Clone()
	config.ServerName = c.options.serverName(host)
	if c.options.ALPN != "" {
		config.NextProtos = []string{c.options.ALPN}
	}
	asked := false
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return clientCertificate(config), nil
	}
	conn := tls.Client(below, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", explainTLS(err, asked))
	}
	return &tlsConn{conn, below}, nil
}

// clientCertificate is what we show to a peer that asks: ours even if it isn't of
// an authority that the peer names, for a refusal says more than silence.
func clientCertificate(config *tls.Config) *tls.Certificate {
	if len(config.Certificates) > 0 {
		return &config.Certificates[0]
	}
	return new(tls.Certificate) // none
}

func (c *tlsConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, explainTLS(err, true)
}

func (c *tlsConn) certExpiry() time.Time {
	return c.ConnectionState().PeerCertificates[0].NotAfter
}

// settle is how long check waits for records that carry no data.
const settle = time.Millisecond

// check looks below. Bytes there may be a session ticket, which is fine, or the
// end of the session: only reading tells.
func (c *tlsConn) check() error {
	below, ok := c.below.(*tcpConn)
	if !ok {
		return nil
	}
	if !below.pending() {
		return nil
	}
	return unasked(c)
}

// unasked returns errUnasked where c has something to read, and why it is closed where
// it is.
func unasked(c Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(settle)); err != nil {
		return err
	}
	var buf [1]byte
	n, err := c.Read(buf[:])
	switch {
	case n > 0:
		return errUnasked
	case errors.Is(err, os.ErrDeadlineExceeded):
		return c.SetReadDeadline(time.Time{})
	}
	return fmt.Errorf("found closed: %w", err)
}

// explainTLS gives the failures that people meet an error of their own. asked
// tells that the peer wanted a certificate of us.
func explainTLS(err error, asked bool) error {
	if kind := certificateError(err, asked); kind != nil {
		return fmt.Errorf("%w: %w", kind, err)
	}
	return err
}

// certificateError is the sentinel for a failure, or nil.
func certificateError(err error, asked bool) error {
	switch clienttls.CauseOf(err) {
	case clienttls.UnknownAuthority:
		return ErrUnknownAuthority
	case clienttls.OtherName:
		return ErrCertificateName
	case clienttls.NotValidNow:
		return ErrCertificateExpired
	case clienttls.CertWanted, clienttls.CertExpired, clienttls.CertRefused, clienttls.CertUnknown, clienttls.CertRevoked:
		return ErrClientCertificate
	case clienttls.NoCipher: // before TLS 1.3 a peer says so that got no certificate
		if asked {
			return ErrClientCertificate
		}
	}
	return nil
}
