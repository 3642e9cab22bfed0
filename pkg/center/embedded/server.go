package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
)

// Defaults of [Config].
const (
	// DefaultQuota is far more than a site needs: 100,000 variables take 27 MiB,
	// and as much again for each push within DefaultHistory that changes them all.
	DefaultQuota = 512 << 20
	// DefaultHistory is how long old revisions can be read.
	DefaultHistory = time.Hour
)

const (
	memberName = "edge-gw"
	// The peer address is a name only: nothing listens there. It is part of the
	// member's identity on disk and must never change.
	peerURL = "http://localhost:2380"
	// A lone member elects itself; short ticks make that quick, and cost processor
	// time for ever: 20 ms start 150 ms sooner, for half a percent more of a core.
	tick     = 50 * time.Millisecond
	election = 500 * time.Millisecond
	// maxSocketPath is the longest path of a unix socket (sun_path, less its
	// terminating zero).
	maxSocketPath = 107
	stopTimeout   = 10 * time.Second
)

// Config says where the server keeps its data and who may reach it.
type Config struct {
	Dir    string // its data; made with mode 0700
	Socket string // path of the unix socket; its directory must exist
	Listen string // "" or "unix": the socket alone; else HOST:PORT, beside the socket (an IP address or localhost)

	Quota   int64         // bytes of the database; 0: DefaultQuota. Beyond it, pushes are refused
	History time.Duration // how long old revisions can be read; 0: DefaultHistory

	Log *slog.Logger // etcd's warnings and errors
}

// Server is an etcd server of one member.
type Server struct {
	cfg   Config
	ready chan struct{}
	fatal *fatalHook
	quiet atomic.Bool // no more logging: the server is being stopped
	addr  atomic.Pointer[string]
	usage atomic.Pointer[Usage]
	look  time.Duration // how often the sizes are looked at
}

// New checks cfg. Nothing is opened before [Server.Run].
func New(cfg Config) (*Server, error) {
	if cfg.Dir == "" || cfg.Socket == "" || cfg.Log == nil {
		return nil, errors.New("embedded etcd: Dir, Socket and Log must be set")
	}
	if len(cfg.Socket) > maxSocketPath {
		return nil, fmt.Errorf("embedded etcd: the path of its socket, %s, has %d bytes and may have %d; choose a shorter data_dir",
			cfg.Socket, len(cfg.Socket), maxSocketPath)
	}
	if cfg.Listen == "unix" {
		cfg.Listen = ""
	}
	if cfg.Listen != "" {
		if _, _, err := net.SplitHostPort(cfg.Listen); err != nil {
			return nil, fmt.Errorf("config.etcd.listen %q: %w; expected unix or HOST:PORT", cfg.Listen, err)
		}
	}
	if cfg.Quota == 0 {
		cfg.Quota = DefaultQuota
	}
	if cfg.History == 0 {
		cfg.History = DefaultHistory
	}
	return &Server{cfg: cfg, ready: make(chan struct{}), fatal: newFatalHook(), look: lookEvery}, nil
}

// httpSocket is where etcd serves what nobody needs: it is a file of this process's
// user in a directory of its own.
func (s *Server) httpSocket() string { return filepath.Join(s.cfg.Dir, "http") }

// Endpoint is where clients reach the server: "unix:PATH".
func (s *Server) Endpoint() string { return "unix:" + s.cfg.Socket }

// Ready is closed when the server serves.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr returns the TCP address that is listened on, "" if there is none or the
// server isn't ready.
func (s *Server) Addr() string {
	if p := s.addr.Load(); p != nil {
		return *p
	}
	return ""
}

// Run serves until ctx ends, then stops in order and returns nil. It returns an
// error when the server cannot start or fails for good; the process goes on.
func (s *Server) Run(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	if err := s.begin(); err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	streams, endStreams := context.WithCancel(context.Background())
	defer endStreams()
	e, err := s.start(s.etcdConfig(streams))
	if err != nil {
		return fmt.Errorf("embedded etcd in %s: %w", s.cfg.Dir, err)
	}
	// Watches never end by themselves: without this, stopping would wait seconds
	// for every client that watches.
	defer func() {
		s.quiet.Store(true)
		endStreams()
		s.stop(e)
	}()

	select {
	case <-ctx.Done():
		return nil
	case err := <-e.Err():
		return fmt.Errorf("embedded etcd in %s: %w", s.cfg.Dir, err)
	case err := <-s.fatal.failed:
		return fmt.Errorf("embedded etcd in %s: %w", s.cfg.Dir, err)
	case <-e.Server.ReadyNotify():
	}
	if err := os.Chmod(s.cfg.Socket, 0o600); err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	for _, l := range e.Clients {
		if l.Addr().Network() == "tcp" {
			a := l.Addr().String()
			s.addr.Store(&a)
		}
	}
	if err := s.begun(); err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	close(s.ready)

	var keeper sync.WaitGroup
	keeping, endKeeping := context.WithCancel(ctx)
	defer keeper.Wait()
	defer endKeeping()
	keeper.Go(func() { s.keep(keeping, e) })

	select {
	case <-ctx.Done():
		return nil
	case err := <-e.Err():
		return fmt.Errorf("embedded etcd in %s stopped: %w", s.cfg.Dir, err)
	case err := <-s.fatal.failed:
		return fmt.Errorf("embedded etcd in %s stopped: %w", s.cfg.Dir, err)
	}
}

// beginning is a file in Dir as long as the store has not been ready once.
const beginning = "BEGINNING"

// begin removes what a first start has left that was cut off: etcd can't complete that, and
// would wait for a leader for ever. Nobody has had an answer from a store that was never ready.
func (s *Server) begin() error {
	mark, member := filepath.Join(s.cfg.Dir, beginning), filepath.Join(s.cfg.Dir, "member")
	if _, err := os.Stat(member); errors.Is(err, fs.ErrNotExist) {
		return durable.WriteFile(mark, nil, 0o600)
	} else if err != nil {
		return err
	}
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	s.cfg.Log.Warn("the first start of the embedded etcd was cut off; it begins anew", "dir", s.cfg.Dir)
	return os.RemoveAll(member)
}

// begun notes, durably, that the store is made.
func (s *Server) begun() error {
	err := os.Remove(filepath.Join(s.cfg.Dir, beginning))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was ready before
	}
	return errors.Join(err, durable.SyncDir(s.cfg.Dir))
}

func (s *Server) etcdConfig(streams context.Context) *embed.Config {
	c := embed.NewConfig()
	c.Name = memberName
	c.Dir = s.cfg.Dir
	c.ListenPeerUrls = nil
	peer, _ := url.Parse(peerURL) // a constant
	c.AdvertisePeerUrls = []url.URL{*peer}
	c.InitialCluster = c.InitialClusterFromName(memberName)
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: s.cfg.Socket}}
	if s.cfg.Listen != "" {
		c.ListenClientUrls = append(c.ListenClientUrls, url.URL{Scheme: "http", Host: s.cfg.Listen})
	}
	c.AdvertiseClientUrls = c.ListenClientUrls
	if s.cfg.Listen != "" {
		// etcd serves the process's command line and memory (/debug/vars) beside its
		// API. With an address of its own for HTTP, the others speak gRPC only.
		c.ListenClientHttpUrls = []url.URL{{Scheme: "unix", Path: s.httpSocket()}}
	}

	c.TickMs, c.ElectionMs = uint(tick/time.Millisecond), uint(election/time.Millisecond)
	c.SnapshotCount, c.SnapshotCatchUpEntries = 1000, 10
	c.QuotaBackendBytes = s.cfg.Quota
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, s.cfg.History.String()
	c.EnableGRPCGateway = false
	c.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(endWith(streams))}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newZap(s.cfg.Log, &s.quiet, s.fatal))
	return c
}

// start calls StartEtcd on a goroutine of its own, which a fatal error ends.
func (s *Server) start(c *embed.Config) (*embed.Etcd, error) {
	type result struct {
		e   *embed.Etcd
		err error
	}
	done := make(chan result, 1)
	go func() {
		res := result{err: errors.New("the start was cancelled")}
		defer func() { done <- res }()
		// Sockets are born with the mode that the umask leaves: nobody slips in before
		// it is set.
		defer syscall.Umask(syscall.Umask(0o077))
		e, err := embed.StartEtcd(c)
		res = result{e, err}
	}()
	res := <-done
	if res.err == nil {
		return res.e, nil
	}
	select {
	case res.err = <-s.fatal.failed:
	default:
	}
	if opErr := (*net.OpError)(nil); errors.As(res.err, &opErr) {
		return nil, res.err // the address, not the data
	}
	return nil, fmt.Errorf("%w; if its data is damaged, restore a backup, or move the directory away to begin with an empty store",
		res.err)
}

// stop closes e. After a fatal error inside, closing may hang; it is left behind
// then.
func (s *Server) stop(e *embed.Etcd) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.Close()
	}()
	select {
	case <-done:
	case <-time.After(stopTimeout):
		s.cfg.Log.Error("embedded etcd did not stop in time", "timeout", stopTimeout)
	}
}

// endWith ends the context of every stream with ctx.
func endWith(ctx context.Context) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		both, cancel := context.WithCancel(ss.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return handler(srv, &endingStream{ServerStream: ss, ctx: both})
	}
}

type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *endingStream) Context() context.Context { return s.ctx }
