package center

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Defaults of [Config].
const (
	DefaultDialTimeout    = 3 * time.Second
	DefaultRequestTimeout = 10 * time.Second
	DefaultKeepReleases   = 50

	// etcd's own defaults; a server may allow more, none allows less by default.
	defaultMaxTxnOps   = 128
	defaultMaxTxnBytes = 1 << 20 // of 1.5 MiB, so that keys and envelopes fit
)

// TLS names the files of a TLS connection; empty ones are left out. A server must
// have a certificate of CA, or of the system's if CA is empty.
type TLS struct {
	CA, Cert, Key string
}

// Config says how to reach a store.
type Config struct {
	Endpoints []string // HOST:PORT or unix:PATH
	Prefix    string   // "": DefaultPrefix
	// Own: the store is this gateway's own, in its data_dir, so that nobody else can hold
	// its gateway_id there.
	Own      bool
	User     string
	Password string
	// ReadPassword, if not nil, is called for the password at each connect, so that a
	// new one counts from then on.
	ReadPassword func() (string, error)
	TLS          *TLS // nil: no TLS. Its files are read at each connect

	// Settings are what errors call the settings; without a Peer they are those of
	// gateway.yml.
	Settings clienttls.Settings

	DialTimeout    time.Duration // until the first answer of a server; 0: DefaultDialTimeout
	RequestTimeout time.Duration // of one request with its repetitions; 0: DefaultRequestTimeout
	KeepReleases   int           // documents of at least so many releases are kept; 0: DefaultKeepReleases

	// MaxTxnOps and MaxTxnBytes bound one transaction; 0: what etcd allows by
	// default.
	MaxTxnOps   int
	MaxTxnBytes int

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: nothing is logged
}

func (c *Config) setDefaults() {
	setDefault(&c.DialTimeout, DefaultDialTimeout)
	setDefault(&c.RequestTimeout, DefaultRequestTimeout)
	setDefault(&c.KeepReleases, DefaultKeepReleases)
	setDefault(&c.MaxTxnOps, defaultMaxTxnOps)
	setDefault(&c.MaxTxnBytes, defaultMaxTxnBytes)
	if c.Settings.Peer == "" {
		c.Settings = clienttls.Settings{Peer: "etcd", CA: "config.etcd.tls.ca", Cert: "config.etcd.tls.client_cert", Key: "config.etcd.tls.client_key",
			Address: "config.etcd.endpoints", Plain: "leave config.etcd.tls out", User: "config.etcd.username", Password: "config.etcd.password"}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Store is a client of the tables under one prefix. Its methods may be called from
// any goroutine.
type Store struct {
	cfg   Config
	keys  keyspace
	etcd  *clientv3.Client
	codec *codec
	certs string // common name of the client's certificate

	// fault is a test's: called before each transaction and after it, it breaks
	// the push off there.
	fault func(op string, done bool) error
}

// Check returns what can't work in c, whatever answers at the endpoints. Files are
// not read.
func (c Config) Check() error {
	if t := c.TLS; t != nil && (t.Cert == "") != (t.Key == "") {
		return errHalfPair
	}
	for _, e := range c.Endpoints {
		u, err := url.Parse(e)
		if err == nil && u.User != nil {
			return fmt.Errorf("endpoint %q: user name and password are settings of their own", config.MaskUser(e))
		}
		if err == nil && u.Scheme == "unix" || err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "unixs") {
			continue
		}
		if _, _, err := net.SplitHostPort(e); err != nil {
			return fmt.Errorf("endpoint %q: expected HOST:PORT, a URL with http or https, or unix:PATH", config.MaskUser(e))
		}
	}
	_, err := newKeyspace(c.Prefix)
	return err
}

var errHalfPair = errors.New("tls: a client certificate needs its key, and a key its certificate: set client_cert and client_key, or none")

// Open connects and waits for the first answer. The error says why there is none.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.setDefaults()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	keys, err := newKeyspace(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("no etcd endpoints are given; expected HOST:PORT or unix:PATH")
	}
	s := &Store{cfg: cfg, keys: keys}
	if s.codec, err = newCodec(); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		s.codec.close()
		return nil, err
	}
	return s, nil
}

func (s *Store) connect(ctx context.Context) error {
	tlsConfig, err := s.tlsConfig()
	if err != nil {
		return err
	}
	if read := s.cfg.ReadPassword; read != nil {
		if s.cfg.Password, err = read(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout)
	defer cancel()
	return s.retry(ctx, "connect", func(ctx context.Context) error {
		etcd, err := clientv3.New(clientv3.Config{
			Endpoints:            s.cfg.Endpoints,
			Username:             s.cfg.User,
			Password:             s.cfg.Password,
			TLS:                  tlsConfig,
			DialTimeout:          s.cfg.DialTimeout,
			DialKeepAliveTime:    10 * time.Second, // a dead server is noticed by watches
			DialKeepAliveTimeout: 5 * time.Second,
			MaxUnaryRetries:      3, // s.retry goes on, and remembers the cause
			Logger:               zap.NewNop(),
			DialOptions: []grpc.DialOption{
				grpc.WithConnectParams(grpc.ConnectParams{
					Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
					MinConnectTimeout: s.cfg.DialTimeout,
				}),
				grpc.WithChainUnaryInterceptor(failFast),
			},
		})
		if err != nil {
			return err
		}
		if _, err := etcd.Get(ctx, s.keys.commit(), clientv3.WithCountOnly()); err != nil {
			_ = etcd.Close() // it never worked
			return err
		}
		s.etcd = etcd
		return nil
	})
}

// failFast makes a request fail with its cause when there is no connection. etcd's
// client would wait, and say "deadline exceeded".
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

func (s *Store) tlsConfig() (*tls.Config, error) {
	files := s.cfg.TLS
	if files == nil || strings.HasPrefix(s.cfg.Endpoints[0], "unix:") {
		return nil, nil
	}
	out, err := clienttls.Files{CA: files.CA, Cert: files.Cert, Key: files.Key}.Config()
	if err != nil {
		return nil, err
	}
	if len(out.Certificates) > 0 {
		s.certs = out.Certificates[0].Leaf.Subject.CommonName
	}
	return out, nil
}

// Close ends the connection. Watches end with it.
func (s *Store) Close() error {
	err := s.etcd.Close()
	s.codec.close()
	if errors.Is(err, context.Canceled) {
		return nil // that is how the client says that it is closed
	}
	return err
}

// Identity is who the store's server takes the client for: the etcd user, or the
// common name of its certificate.
func (s *Store) Identity() string {
	if s.cfg.User != "" {
		return s.cfg.User
	}
	return s.certs
}

// retry calls fn until it succeeds, is refused, or the request timeout is over. fn
// must have the same effect when it is done twice.
func (s *Store) retry(ctx context.Context, op string, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	var last error
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		attempt, done := context.WithTimeout(ctx, max(s.cfg.RequestTimeout/2, time.Second))
		err := fn(attempt)
		done()
		if err == nil {
			return nil
		}
		// The end of ctx hides the cause that the attempts before it had.
		if last == nil || !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		if refused(err) {
			return s.classify(op, err)
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return fmt.Errorf("%s: %w", op, ctx.Err())
			}
			return s.classify(op, last)
		case <-time.After(wait/2 + rand.N(wait)): // around wait, not up to it as supervise.Delay: a fleet meets one cluster
		}
	}
}

// get reads with retries.
func (s *Store) get(ctx context.Context, op, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	var resp *clientv3.GetResponse
	err := s.retry(ctx, op, func(ctx context.Context) (err error) {
		resp, err = s.etcd.Get(ctx, key, opts...)
		return err
	})
	return resp, err
}

// watchKey watches a key, and everything below it with the options that say so, until ctx
// ends. etcd's client waits without end for a server that does not open the watch.
func (s *Store) watchKey(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.WatchChan, error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	late := time.AfterFunc(s.cfg.DialTimeout, cancel)
	events := s.etcd.Watch(ctx, key, append(opts, clientv3.WithProgressNotify())...)
	if !late.Stop() {
		return nil, s.classify("watch", context.DeadlineExceeded)
	}
	return events, nil
}

// txn is a transaction that may be done twice.
type txn struct {
	compare      []clientv3.Cmp
	then, orElse []clientv3.Op
}

func (s *Store) commit(ctx context.Context, op string, t txn) (*clientv3.TxnResponse, error) {
	var resp *clientv3.TxnResponse
	err := s.retry(ctx, op, func(ctx context.Context) (err error) {
		if s.fault != nil {
			if err := s.fault(op, false); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.fault(op, true)) }()
		}
		resp, err = s.etcd.Txn(ctx).If(t.compare...).Then(t.then...).Else(t.orElse...).Commit()
		return err
	})
	return resp, err
}

// absent and unchanged are the comparisons that transactions are made of.
func absent(key string) clientv3.Cmp  { return clientv3.Compare(clientv3.CreateRevision(key), "=", 0) }
func present(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(key), ">", 0) }
func createdAt(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", rev)
}
func modifiedAt(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

// SaveTo writes a snapshot of all of the server's data to w, of every prefix: what
// etcdctl snapshot save writes, checksum included. embedded.Restore reads it.
func (s *Store) SaveTo(ctx context.Context, w io.Writer) error {
	r, err := s.etcd.Snapshot(ctx)
	if err != nil {
		return s.classify("snapshot", err)
	}
	defer func() { _ = r.Close() }() // read to its end
	if _, err := io.Copy(w, r); err != nil {
		return s.classify("snapshot", err)
	}
	return nil
}
