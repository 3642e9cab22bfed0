package admin

import (
	"context"
	"fmt"
	"io"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// diagnosticsService is the backend's, nil if it has none, with what needs no backend.
type diagnosticsService struct {
	pb.DiagnosticsServiceServer
	all      Backend
	gatherer prometheus.Gatherer
	metrics  *metrics
}

// GetLogLevel says so if there is none.
func (s *diagnosticsService) GetLogLevel(ctx context.Context, r *pb.GetLogLevelRequest) (*pb.GetLogLevelResponse, error) {
	if s.DiagnosticsServiceServer == nil {
		return nil, missing("log level to change")
	}
	return s.DiagnosticsServiceServer.GetLogLevel(ctx, r)
}

// LogLevels are the levels, the most talkative first.
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// SetLogLevel checks the level.
func (s *diagnosticsService) SetLogLevel(ctx context.Context, r *pb.SetLogLevelRequest) (*pb.SetLogLevelResponse, error) {
	if s.DiagnosticsServiceServer == nil {
		return nil, missing("log level to change")
	}
	if !slices.Contains(LogLevels(), r.GetLevel()) {
		return nil, fmt.Errorf("log level %q: %w: expected %s", r.GetLevel(), errkind.Invalid, strings.Join(LogLevels(), ", "))
	}
	return s.DiagnosticsServiceServer.SetLogLevel(ctx, r)
}

// traceQueue bounds the bytes that wait for a client of TraceEndpoint; an event
// weighs 64 more than its data.
const traceQueue = 1 << 20

// TraceEndpoint drops what a slow client has no room for.
func (s *diagnosticsService) TraceEndpoint(r *pb.TraceEndpointRequest, out grpc.ServerStreamingServer[pb.TraceEndpointResponse]) error {
	if s.DiagnosticsServiceServer == nil {
		return missing("trace")
	}
	counted := uint64(0)
	q := newQueue(traceQueue, func(e *pb.TraceEndpointResponse) int { return len(e.Data) + len(e.Text) + 64 })
	return pump(out, q, func(l lossy[pb.TraceEndpointResponse]) error { return s.DiagnosticsServiceServer.TraceEndpoint(r, l) },
		func(list []*pb.TraceEndpointResponse, dropped uint64) error {
			s.metrics.dropped.WithLabelValues("trace").Add(float64(dropped - counted))
			counted = dropped
			if len(list) == 0 {
				list = append(list, &pb.TraceEndpointResponse{Time: Timestamp(time.Now()), Event: "dropped"})
			}
			for _, e := range list {
				e.Dropped = dropped
				if err := out.Send(e); err != nil {
					return err
				}
			}
			return nil
		})
}

// chunkWriter sends what is written in messages, which are encoded before Send
// returns.
type chunkWriter func([]byte) error

// Write sends p, large ones in pieces.
func (w chunkWriter) Write(p []byte) (int, error) {
	const chunk = 64 << 10
	for done := 0; done < len(p); done += chunk {
		if err := w(p[done:min(done+chunk, len(p))]); err != nil {
			return done, err
		}
	}
	return len(p), nil
}

func (s *diagnosticsService) GetProfile(r *pb.GetProfileRequest, out grpc.ServerStreamingServer[pb.GetProfileResponse]) error {
	w := chunkWriter(func(p []byte) error { return out.Send(&pb.GetProfileResponse{Data: p}) })
	if r.GetKind() == "cpu" {
		return cpuProfile(out.Context(), w, r.GetDuration().AsDuration())
	}
	p := pprof.Lookup(r.GetKind())
	if p == nil {
		return fmt.Errorf("profile %q: %w: expected cpu, heap, goroutine, allocs, block or mutex", r.GetKind(), errkind.Invalid)
	}
	return p.WriteTo(w, 0)
}

func cpuProfile(ctx context.Context, w io.Writer, d time.Duration) error {
	if d == 0 {
		d = 10 * time.Second
	}
	if d < time.Second || d > time.Minute {
		return fmt.Errorf("profile for %v: %w: expected 1s to 1m", d, errkind.Invalid)
	}
	if err := pprof.StartCPUProfile(w); err != nil {
		return fmt.Errorf("cpu profile: %w: %w", errkind.Conflict, err)
	}
	defer pprof.StopCPUProfile()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *diagnosticsService) GetBundle(_ *pb.GetBundleRequest, out grpc.ServerStreamingServer[pb.GetBundleResponse]) error {
	w := chunkWriter(func(p []byte) error { return out.Send(&pb.GetBundleResponse{Data: p}) })
	return s.all.writeBundle(out.Context(), w, s.gatherer)
}
