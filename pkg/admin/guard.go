package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// AuditRecord describes a call that changes something.
type AuditRecord struct {
	Time     time.Time // when it began
	Method   string    // "TagService/WriteTag"
	Request  string    // JSON, cut after 1 KiB; "" for an import
	Peer     Peer
	User     string // name of the caller's user, or its number
	Code     string // "OK", "NotFound", …; "OutcomeUnknown" for a write that may have been executed
	Error    string
	Duration time.Duration
}

// guard stands before every call: it bounds, counts, audits, turns errors into
// statuses and keeps a panic from ending the gateway.
type guard struct {
	running  context.Context // of the server: streams end with it
	log      *slog.Logger
	audit    func(AuditRecord)
	metrics  *metrics
	unarySem chan struct{}
	streams  chan struct{}
	limiter  *rate.Limiter
	methods  map[string]method // by full name
}

// method is what the guard knows of a method of ours.
type method struct {
	mutates bool
	uploads bool // the client streams
	name    string
	needs   Role
}

func newGuard(running context.Context, deps Deps, m *metrics) *guard {
	return &guard{
		running: running, log: deps.Log, audit: deps.Audit, metrics: m,
		unarySem: make(chan struct{}, maxUnary),
		streams:  make(chan struct{}, maxStreams),
		limiter:  rate.NewLimiter(maxMutations, mutationBurst),
		methods:  methodsOf(apiFiles()...),
	}
}

// apiFiles lists the files of the API.
func apiFiles() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		pb.File_v1_status_proto, pb.File_v1_endpoints_proto, pb.File_v1_drivers_proto, pb.File_v1_tags_proto,
		pb.File_v1_bus_proto, pb.File_v1_connectors_proto, pb.File_v1_config_proto, pb.File_v1_diagnostics_proto,
	}
}

// methodsOf reads from the schema which methods change something: those that do
// not say NO_SIDE_EFFECTS.
func methodsOf(files ...protoreflect.FileDescriptor) map[string]method {
	all := map[string]method{}
	for _, f := range files {
		for i := range f.Services().Len() {
			svc := f.Services().Get(i)
			for j := range svc.Methods().Len() {
				m := svc.Methods().Get(j)
				opts, _ := m.Options().(*descriptorpb.MethodOptions)
				mutates := opts.GetIdempotencyLevel() != descriptorpb.MethodOptions_NO_SIDE_EFFECTS
				name := string(m.Name())
				all[fmt.Sprintf("/%s/%s", svc.FullName(), name)] = method{
					mutates: mutates, uploads: m.IsStreamingClient(), name: name, needs: needed(name, mutates),
				}
			}
		}
	}
	return all
}

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	err = g.call(ctx, info.FullMethod, neededBy(req), g.unarySem, func() any { return req }, func() error {
		resp, err = handle(ctx, req)
		return err
	})
	return resp, err
}

func (g *guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(g.running, cancel)()
	s := &guardedStream{ServerStream: ss, ctx: ctx, keep: !g.methods[info.FullMethod].uploads}
	return g.call(ctx, info.FullMethod, RoleNone, g.streams, func() any { return s.request }, func() error {
		err := handle(srv, s)
		if g.running.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			return fmt.Errorf("%w: %w", errkind.Stopping, errkind.Unavailable)
		}
		return err
	})
}

// call runs one call under the guard's rules. It needs the role of its method, and need.
func (g *guard) call(ctx context.Context, full string, need Role, sem chan struct{}, request func() any, run func() error) error {
	began := time.Now()
	m, ours := g.methods[full]
	if !ours && !strings.HasPrefix(full, "/grpc.") { // health and reflection are everybody's
		m = method{mutates: true, name: full, needs: RoleMaintain}
	}
	err := allow(callerOf(ctx), m.name, max(m.needs, need))
	if err == nil {
		err = g.admit(sem, m)
	}
	if err == nil {
		err = g.recovered(full, run)
		<-sem
	}
	err = toStatus(err)
	g.metrics.calls.WithLabelValues(shortName(full), status.Code(err).String()).Inc()
	if m.mutates {
		g.record(ctx, began, full, request(), err)
	}
	return err
}

// admit takes a place in sem; nil means that the caller has to give it back.
func (g *guard) admit(sem chan struct{}, m method) error {
	if m.mutates && !g.limiter.Allow() {
		return fmt.Errorf("%w that change something: more than %d in a second; try again in a moment", errkind.TooMany, maxMutations)
	}
	select {
	case sem <- struct{}{}:
		return nil
	default:
		return fmt.Errorf("%w at once: %d are running; try again in a moment", errkind.TooMany, cap(sem))
	}
}

func (g *guard) recovered(full string, run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("admin call panicked", "method", full, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "the gateway has a fault in this call; its log has the details")
		}
	}()
	return run()
}

func (g *guard) record(ctx context.Context, began time.Time, full string, request any, err error) {
	who := callerOf(ctx)
	r := AuditRecord{
		Time: began, Method: shortName(full), Request: requestText(request), Peer: who, User: userName(who.UID),
		Code: status.Code(err).String(), Duration: time.Since(began),
	}
	if err != nil {
		r.Error = status.Convert(err).Message()
	}
	if errors.Is(fromStatus(err), errkind.OutcomeUnknown) {
		r.Code = "OutcomeUnknown"
	}
	g.audit(r)
}

// shortName takes the package off: "TagService/WriteTag".
func shortName(full string) string {
	full = strings.TrimPrefix(full, "/")
	if i := strings.LastIndex(full[:strings.IndexByte(full+"/", '/')], "."); i >= 0 {
		return full[i+1:]
	}
	return full
}

func requestText(request any) string {
	m, ok := request.(proto.Message)
	if !ok {
		return ""
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return ""
	}
	const longest = 1 << 10
	if len(text) > longest {
		return strings.ToValidUTF8(string(text[:longest]), "") + "…"
	}
	return string(text)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// guardedStream has a context that ends when the server stops, and remembers the
// request for the audit log.
type guardedStream struct {
	grpc.ServerStream
	ctx     context.Context
	keep    bool
	request any
}

// Context returns the guarded context.
func (s *guardedStream) Context() context.Context { return s.ctx }

// RecvMsg remembers the first message.
func (s *guardedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if s.keep && s.request == nil && err == nil {
		s.request = m
	}
	return err
}
