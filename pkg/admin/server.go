package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/intake"
)

// The bounds of the server.
const (
	maxConnections = 256
	// One user has half of the connections at most, and what is idle for longer than
	// idleGrace makes room when there are too many: nobody locks others out.
	maxConnectionsPeer = maxConnections * 3 / 4
	idleGrace          = 10 * time.Second
	handshakeTimeout   = 5 * time.Second
	maxUnary           = 64      // calls at once
	maxStreams         = 256     // calls at once that stream
	maxStreamsPerCon   = 64      // calls at once of one client
	maxRequestBytes    = 4 << 20 // of one message
	connBuffer         = 8 << 10 // of a connection, each way
	maxMutations       = 50      // per second, calls that change something
	mutationBurst      = 100     //
	unaryTimeout       = 2 * time.Minute
	stopTimeout        = time.Second // for calls to end when the gateway stops
)

// Config says where the server listens.
type Config struct {
	Socket string      // path; at most 107 bytes
	Mode   fs.FileMode // of the socket; 0 means 0600
	Group  string      // name or number of the group that owns it; "": the process's
	Roles  Roles       // who may do what
}

// Deps are what the server works with.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer // for support archives; may be nil
	// Audit is called after each call that changes something, in the call's
	// goroutine, and writes the audit log. Nil writes to Log.
	Audit func(AuditRecord)
}

// Server serves the admin API.
type Server struct {
	cfg     Config
	backend Backend
	deps    Deps
	metrics *metrics
	grants  *grants
	tags    *tagService // nil: there are none
	ready   chan struct{}
}

// NewServer checks cfg and registers the metrics; nothing is opened before Run.
func NewServer(cfg Config, backend Backend, deps Deps) (*Server, error) {
	if cfg.Socket == "" || strings.HasPrefix(cfg.Socket, "@") {
		return nil, fmt.Errorf("admin socket %q: expected the path of a file", cfg.Socket)
	}
	if !filepath.IsAbs(cfg.Socket) {
		return nil, fmt.Errorf("admin socket %q: expected an absolute path", cfg.Socket)
	}
	if cfg.Mode == 0 {
		cfg.Mode = 0o600
	}
	if cfg.Mode&^0o777 != 0 {
		return nil, fmt.Errorf("admin socket mode %#o: expected three octal digits, such as 0660", uint32(cfg.Mode))
	}
	if cfg.Group != "" {
		if _, err := groupID(cfg.Group); err != nil {
			return nil, err
		}
	}
	grants, err := cfg.Roles.resolve()
	if err != nil {
		return nil, err
	}
	if deps.Log == nil || deps.Registerer == nil {
		return nil, errors.New("admin server: a logger and a registerer are needed")
	}
	if deps.Audit == nil {
		deps.Audit = func(r AuditRecord) {
			deps.Log.Info("audit", "method", r.Method, "request", r.Request, "peer", r.Peer.String(), "user", r.User, "code", r.Code, "error", r.Error)
		}
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, backend: backend, deps: deps, metrics: m, grants: grants, ready: make(chan struct{})}
	if backend.Tags != nil {
		s.tags = newTagService(backend.Tags)
	}
	return s, nil
}

// Ready is closed when the socket accepts connections.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run listens and serves until ctx ends; then it lets calls finish for a second,
// ends those that go on, removes the socket and returns nil. It returns an error
// if it cannot listen. It is called once.
func (s *Server) Run(ctx context.Context) error {
	l, err := listen(ctx, s.cfg)
	if err != nil {
		return err
	}
	bounded := intake.Listen(l, intake.Config{
		Max: maxConnections, MaxPeer: maxConnectionsPeer, Peer: userOf, Grace: idleGrace, Refused: s.metrics.refused.Inc,
	})

	// Streams end with this context, which ends with ctx.
	streams, endStreams := context.WithCancel(ctx)
	defer endStreams()
	g := newGuard(streams, s.deps, s.metrics)
	srv := grpc.NewServer(
		grpc.Creds(peerCredentials{s.grants}),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(maxStreamsPerCon),
		grpc.ReadBufferSize(connBuffer),
		grpc.WriteBufferSize(connBuffer),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: time.Hour}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(g.unary),
		grpc.StreamInterceptor(g.stream),
		grpc.UnknownServiceHandler(unknown),
	)
	healthy := health.NewServer()
	s.register(srv, healthy)
	for service, info := range srv.GetServiceInfo() {
		for _, method := range info.Methods {
			s.metrics.calls.WithLabelValues(shortName("/"+service+"/"+method.Name), codes.OK.String())
		}
	}
	close(s.ready)
	s.deps.Log.Info("admin socket listens", "socket", s.cfg.Socket, "mode", fmt.Sprintf("%#o", uint32(s.cfg.Mode)), "group", s.cfg.Group)

	served := make(chan error, 1)
	go func() { served <- srv.Serve(bounded) }()
	select {
	case err := <-served:
		srv.Stop()
		return fmt.Errorf("admin socket %s: %w", s.cfg.Socket, err)
	case <-ctx.Done():
	}
	healthy.Shutdown()
	kill := time.AfterFunc(stopTimeout, srv.Stop)
	srv.GracefulStop()
	kill.Stop()
	<-served //nolint:errcheck // nil, or that the server was stopped
	return nil
}

// userOf names the user at the other end of a connection.
func userOf(c net.Conn) string {
	p, err := peerOf(c)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(uint64(p.UID), 10)
}

// register adds the services that there are. Reflection lists them.
func (s *Server) register(srv *grpc.Server, healthy *health.Server) {
	b := s.backend
	pb.RegisterStatusServiceServer(srv, &statusService{b: b})
	if b.Endpoints != nil {
		pb.RegisterEndpointServiceServer(srv, endpointService{b.Endpoints})
	}
	if b.Drivers != nil {
		pb.RegisterDriverServiceServer(srv, b.Drivers)
	}
	if s.tags != nil {
		pb.RegisterTagServiceServer(srv, s.tags)
	}
	if b.Bus != nil {
		pb.RegisterBusServiceServer(srv, &busService{b: b.Bus, metrics: s.metrics})
	}
	if b.Connectors != nil {
		pb.RegisterConnectorServiceServer(srv, b.Connectors)
	}
	if b.Config != nil {
		pb.RegisterConfigServiceServer(srv, configService{b.Config, s.metrics})
	}
	pb.RegisterDiagnosticsServiceServer(srv,
		&diagnosticsService{DiagnosticsServiceServer: b.Diagnostics, all: b, gatherer: s.deps.Gatherer, metrics: s.metrics})
	for name := range srv.GetServiceInfo() {
		healthy.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	healthpb.RegisterHealthServer(srv, healthy)
	reflection.Register(srv)
}

// unknown answers calls of services that this gateway does not have, and of methods
// that it does not know.
func unknown(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	return missing(shortName(name))
}

// missing is the answer of a part that this gateway does not have.
func missing(part string) error {
	return fmt.Errorf("this gateway has no %s: %w", part, errkind.Unsupported)
}
