package endpoint

import (
	"context"
	"fmt"
	"time"
)

// decorator puts a layer around a connection. A nil decorator is a layer that
// isn't asked for.
type decorator func(Conn) Conn

// Transport opens the lowest layer of an endpoint: address is "host:port" on a
// network (of the backup, when it is the backup's turn) and the device's path on
// a serial line. It returns when ctx ends.
type Transport func(ctx context.Context, u URL, address string) (Conn, error)

// DialOptions are what [Dial] needs besides the URL.
type DialOptions struct {
	// Secret resolves references such as ${file:NAME}; nil refuses them.
	Secret func(reference string) (string, error)
	// Transport replaces the system's own transports; nil keeps them.
	Transport Transport
}

// Dial opens one connection, outside of any pool, to the endpoint or, failing
// that, to its backup. Each attempt takes at most the option timeout.
func Dial(ctx context.Context, u URL, opts DialOptions) (Conn, error) {
	d, err := newDialer(u, PoolOptions{Secret: opts.Secret, Transport: opts.Transport})
	if err != nil {
		return nil, err
	}
	l, _, err := d.dial(ctx, true)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// checker is a connection that can tell, without a round trip and without
// waiting, whether it is still good for a request: open, and with nothing to
// read. It is called while nobody reads.
type checker interface{ check() error }

// expirer is a connection with a peer certificate.
type expirer interface{ certExpiry() time.Time }

// link is a dialled connection with all its layers.
type link struct {
	Conn
	reset      func() // forgets the last user's deadlines
	check      func() error
	always     bool // check before every use, not only after a rest
	certExpiry time.Time
}

// dialer makes links to one endpoint.
type dialer struct {
	url       URL
	options   Options
	secret    func(reference, address string) (string, error)
	guard     Guard // may be nil
	transport Transport
	certs     certificates
	limit     *limiter
}

func newDialer(u URL, opts PoolOptions) (*dialer, error) {
	transport := opts.Transport
	if transport == nil {
		if s := u.Undialable(); s != "" {
			return nil, fmt.Errorf("%s: scheme %s: %w; this version has tcp, udp, serial, tls, dtls and quic", u, s, ErrUnsupportedScheme)
		}
		transport = SystemTransport
	}
	d := &dialer{
		url: u, options: u.options, guard: opts.Guard, transport: transport,
		certs: certificates{options: u.options, guard: opts.Guard, log: opts.Log}, limit: newLimiter(u.options),
	}
	switch {
	case opts.Guard != nil:
		d.secret = opts.Guard.Secret
	case opts.Secret != nil:
		d.secret = func(reference, _ string) (string, error) { return opts.Secret(reference) }
	}
	return d, nil
}

// dial tries the endpoint itself and then, if allowed, its backup.
func (d *dialer) dial(ctx context.Context, backup bool) (l *link, onBackup bool, err error) {
	if l, err = d.dialAddress(ctx, d.url.Address(), d.url.host); err == nil {
		return l, false, nil
	}
	if d.options.Backup == "" || !backup || ctx.Err() != nil {
		return nil, false, err
	}
	host, _, splitErr := splitHostPort(d.options.Backup)
	if splitErr != nil {
		return nil, false, splitErr
	}
	l, backupErr := d.dialAddress(ctx, d.options.Backup, host)
	if backupErr != nil {
		return nil, false, fmt.Errorf("%w; backup: %w", err, backupErr)
	}
	return l, true, nil
}

// dialAddress makes one attempt, within the timeout.
func (d *dialer) dialAddress(ctx context.Context, address, host string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	target := address
	if d.guard != nil {
		var err error
		if target, err = d.guard.Target(ctx, d.url, address); err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
	}
	conn, err := d.transport(ctx, d.url, target)
	if err != nil {
		return nil, err
	}
	secured, err := d.secure(ctx, conn, host, address)
	if err != nil {
		_ = conn.Close() // the handshake's error is the one that counts
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return d.link(secured), nil
}

// secure adds TLS, DTLS or QUIC.
func (d *dialer) secure(ctx context.Context, c Conn, host, address string) (Conn, error) {
	switch {
	case d.url.schemes.has(TLS):
		return d.certs.tlsClient(ctx, c, host)
	case d.url.schemes.has(QUIC):
		return d.certs.quicClient(ctx, c, host)
	case d.url.schemes.has(DTLS):
		password, err := resolve("password", d.url.password, address, d.secret)
		if err != nil {
			return nil, err
		}
		return d.certs.dtlsClient(ctx, c, host, d.url.username, password)
	}
	return c, nil
}

// link puts the inner decorators around a secured connection; the pool adds
// meter and trace.
func (d *dialer) link(c Conn) *link {
	l := &link{check: func() error { return nil }}
	if k, ok := c.(checker); ok {
		l.check = k.check
	}
	if e, ok := c.(expirer); ok {
		l.certExpiry = e.certExpiry()
	}
	l.always = !d.url.schemes.stream()
	for _, wrap := range []decorator{limitRate(d.limit), halfDuplex(d.options)} {
		if wrap != nil {
			c = wrap(c)
		}
	}
	bounded := limitTime(d.options.Timeout)(c).(*deadlineConn)
	l.Conn, l.reset = bounded, bounded.reset
	return l
}

// SystemTransport opens sockets and devices.
func SystemTransport(ctx context.Context, u URL, address string) (Conn, error) {
	switch u.schemes.base() {
	case TCP:
		return dialTCP(ctx, u.options, address)
	case UDP:
		if u.schemes.has(QUIC) {
			return dialLooseUDP(ctx, u.options, address)
		}
		return dialUDP(ctx, u.options, address)
	case Serial:
		if err := ctx.Err(); err != nil { // opening takes no context
			return nil, fmt.Errorf("open %s: %w", address, err)
		}
		return openSerial(address, u.options)
	}
	return nil, fmt.Errorf("%s: %w", u, ErrUnsupportedScheme)
}
