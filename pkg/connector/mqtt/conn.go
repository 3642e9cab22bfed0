package mqtt

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/mqtt311"
	"github.com/edge-gateway/edge-gateway/pkg/mqttwire"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

const (
	// dialTimeout bounds each step of making a connection.
	dialTimeout = 10 * time.Second
	// writeTimeout bounds one write: a broker that takes nothing for so long
	// is as good as gone.
	writeTimeout = 20 * time.Second
)

// conn is a connection to a broker as paho, its pinger and the sender share it:
// whoever writes holds the lock for whole packets. paho locks it through
// [sync.Locker]. Reads are buffered, since paho reads byte by byte. It knows why it
// has ended, which paho does not tell: whoever notices first closes it, and the
// others see a closed connection.
type conn struct {
	net.Conn
	sync.Mutex
	under *bounded // what Conn is made on
	r     *bufio.Reader
	w     *bufio.Writer  // for the sender; empty whenever the lock is free
	heard bool           // the first packet has come; for the one who reads
	sizes mqttwire.Sizes // likewise

	sent, received atomic.Int64 // when, in nanoseconds since opened
	opened         time.Time

	reason struct {
		sync.Mutex
		err error
	}
}

// newConn returns a connection of c, which is under itself or a layer on it.
func newConn(c net.Conn, under *bounded) *conn {
	k := &conn{Conn: c, under: under, r: bufio.NewReaderSize(c, 16<<10), opened: time.Now(), sizes: mqttwire.Sizes{Max: maxPacket}}
	k.w = bufio.NewWriterSize(writerFunc(k.Write), 64<<10)
	return k
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Read reads through the buffer. The first packet shows whom we speak with.
func (c *conn) Read(p []byte) (int, error) {
	if !c.heard {
		if err := c.listen(); err != nil {
			c.fail(explainEnd(err))
			return 0, err
		}
		c.heard = true
	}
	n, err := c.r.Read(p)
	if err == nil {
		if err = c.sizes.Follow(p[:n]); err != nil {
			n = 0 // else io.ReadFull would take n bytes for a success
		}
	}
	if err != nil {
		c.fail(explainEnd(err))
	}
	c.received.Store(int64(time.Since(c.opened)))
	return n, err
}

// Write writes with a deadline. The caller holds the lock, if others write too.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		c.fail(explainEnd(err))
	}
	c.sent.Store(int64(time.Since(c.opened)))
	return n, err
}

// activity returns when something was last sent and received.
func (c *conn) activity() (sent, received time.Time) {
	return c.opened.Add(time.Duration(c.sent.Load())), c.opened.Add(time.Duration(c.received.Load()))
}

// fail notes why the connection has ended. The first reason counts; that it was
// closed from this side is none.
func (c *conn) fail(err error) {
	c.reason.Lock()
	defer c.reason.Unlock()
	if c.reason.err == nil && err != nil && !errors.Is(err, net.ErrClosed) {
		c.reason.err = err
	}
}

// why returns the reason for the end of the connection, nil while there is none.
func (c *conn) why() error {
	c.reason.Lock()
	defer c.reason.Unlock()
	return c.reason.err
}

// buffer adds p to what flush writes. The caller holds the lock until flush.
func (c *conn) buffer(p []byte) error {
	_, err := c.w.Write(p)
	return err
}

func (c *conn) flush() error { return c.w.Flush() }

// endWrites has every write end within d, those under way and those to come.
func (c *conn) endWrites(d time.Duration) { c.under.endWrites(d) }

// bounded is a connection on which writes can be given an end that no later
// deadline moves: whoever writes next sets one, and so does TLS when it closes.
type bounded struct {
	net.Conn
	mu  sync.Mutex
	end time.Time // zero: none
}

// SetWriteDeadline sets a deadline that is not behind the end.
func (b *bounded) SetWriteDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.end.IsZero() && (t.IsZero() || t.After(b.end)) {
		t = b.end
	}
	return b.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both deadlines.
func (b *bounded) SetDeadline(t time.Time) error {
	if err := b.SetReadDeadline(t); err != nil {
		return err
	}
	return b.SetWriteDeadline(t)
}

func (b *bounded) endWrites(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end = time.Now().Add(d)
	_ = b.Conn.SetWriteDeadline(b.end) // fails only on a closed connection
}

// secretFunc resolves a configuration value that may be a secret reference.
type secretFunc func(string) (string, error)

// dialer makes connections to a server in steps that are told apart by a person
// who looks for a fault.
type dialer struct {
	server server
	tls    TLS
	secret secretFunc
	old    bool // MQTT 3.1.1

	proxy   string            // as configured
	headers map[string]string // of a WebSocket

	certified func(end time.Time) // told of the broker's certificate; nil: nobody is
}

// step is what a dialer is doing, in words.
type step func(name string, do func() (detail string, err error)) error

// plainStep runs a step and names it in its error.
func plainStep(name string, do func() (string, error)) error {
	if _, err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// dial connects up to and including TLS and WebSocket.
func (d *dialer) dial(ctx context.Context, run step) (*conn, error) {
	under, err := d.dialTCP(ctx, run)
	if err != nil {
		return nil, err
	}
	var c net.Conn = under
	if d.server.encrypted() {
		err = run("tls", func() (string, error) {
			t, detail, err := d.handshake(ctx, under)
			c = t
			return detail, err
		})
	}
	if err == nil && (d.server.scheme == "ws" || d.server.scheme == "wss") {
		below := c
		err = run("websocket", func() (string, error) {
			c, err = d.websocket(ctx, below)
			return "subprotocol mqtt", err
		})
	}
	if err != nil {
		_ = under.Close() // the handshake's error says more
		return nil, err
	}
	if d.old {
		c = mqtt311.New(c, 2*maxCommand) // longer than any that is taken
	}
	return newConn(c, under), nil
}

// dialTCP looks the name up and connects.
func (d *dialer) dialTCP(ctx context.Context, run step) (*bounded, error) {
	if d.proxy != "" {
		return d.dialProxy(ctx, run)
	}
	var addrs []string
	host, port, err := net.SplitHostPort(d.server.addr)
	if err != nil {
		return nil, err
	}
	err = run("name", func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		addrs, err = net.DefaultResolver.LookupHost(ctx, host)
		return strings.Join(addrs, ", "), err
	})
	if err != nil {
		return nil, err
	}
	var c net.Conn
	err = run("tcp", func() (string, error) {
		c, err = dialAny(ctx, addrs, port)
		if err != nil {
			return "", err
		}
		return c.RemoteAddr().String(), nil
	})
	if err != nil {
		return nil, err
	}
	return &bounded{Conn: c}, nil
}

// dialAny tries the addresses in order.
func dialAny(ctx context.Context, addrs []string, port string) (net.Conn, error) {
	var errs []error
	for _, a := range addrs {
		nd := net.Dialer{Timeout: dialTimeout / time.Duration(len(addrs)), KeepAlive: 15 * time.Second}
		c, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(a, port))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (d *dialer) handshake(ctx context.Context, plain net.Conn) (net.Conn, string, error) {
	cfg, err := d.tlsConfig(d.server.url.Hostname())
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c := tls.Client(plain, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, "", brokerSettings().ExplainedHandshake(err)
	}
	s := c.ConnectionState()
	if d.certified != nil {
		d.certified(s.PeerCertificates[0].NotAfter)
	}
	return c, fmt.Sprintf("%s, %s, certificate of %s valid until %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite),
		s.PeerCertificates[0].Subject.CommonName, s.PeerCertificates[0].NotAfter.Format(time.DateOnly)), nil
}

func (d *dialer) tlsConfig(host string) (*tls.Config, error) {
	files := clienttls.Files{CA: d.tls.CA, Cert: d.tls.ClientCert, Key: d.tls.ClientKey, Read: d.pem, Password: func() (string, error) {
		password, err := d.secret(d.tls.ClientKeyPassword)
		if err != nil {
			err = fmt.Errorf("tls.client_key_password: %w", err)
		}
		return password, err
	}}
	cfg, err := files.Config()
	switch {
	case errors.Is(err, clienttls.ErrCA):
		return nil, fmt.Errorf("tls.ca: %w", err)
	case errors.Is(err, clienttls.ErrEncrypted):
		return nil, fmt.Errorf("tls.client_key: %w; set tls.client_key_password", err)
	case errors.Is(err, clienttls.ErrKey):
		return nil, fmt.Errorf("tls.client_key and tls.client_key_password: %w", err)
	case err != nil:
		return nil, fmt.Errorf("tls.client_cert and tls.client_key: %w", err)
	}
	cfg.ServerName, cfg.NextProtos = cmp.Or(d.tls.ServerName, host), d.tls.ALPN
	if len(cfg.Certificates) > 0 {
		if err := checkClientCert(&cfg.Certificates[0], time.Now()); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// pem returns PEM text: what a secret reference stands for, or a file's content.
func (d *dialer) pem(value string) ([]byte, error) {
	text, err := d.secret(value)
	switch {
	case err != nil:
		return nil, err
	case strings.Contains(text, "-----BEGIN "):
		return []byte(text), nil
	case text != value:
		return nil, errors.New("the secret is not PEM")
	}
	return regular.ReadFile(text, clienttls.MaxFile)
}

// websocket opens MQTT's subprotocol over a connection (6.0).
func (d *dialer) websocket(ctx context.Context, under net.Conn) (net.Conn, error) {
	u := *d.server.url.Reveal()
	header := http.Header{}
	for name, value := range d.headers {
		text, err := d.secret(value)
		if err != nil {
			return nil, fmt.Errorf("ws_headers.%s: %w", name, err)
		}
		if name == "Host" {
			u.Host = text
			continue
		}
		header.Set(name, text)
	}
	return mqttwire.WebSocket(ctx, under, u, header, dialTimeout, 4*maxPacket)
}
