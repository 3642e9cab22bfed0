package admin

import (
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc/metadata"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Look is the part of the API that looks, for readers in this process. It shares its
// samples of the tags with the watches of the socket. Its methods may be called from
// many goroutines at once.
type Look struct {
	b       Backend
	sampler *tagSampler // nil: there are no tags
}

// Look returns what the socket shows to those who may only look.
func (s *Server) Look() *Look {
	l := &Look{b: s.backend}
	if s.tags != nil {
		l.sampler = s.tags.sampler
	}
	return l
}

// Overview is every part of the gateway but its tags, each as the API has it.
type Overview struct {
	Status     *pb.GetStatusResponse
	Endpoints  []*pb.Endpoint
	Drivers    []*pb.Driver
	Connectors []*pb.Connector
	Bus        *pb.GetBusStatsResponse
	Config     *pb.ConfigStatus
	Applies    []*pb.ConfigApply // newest first
}

// Overview asks every part. What the gateway doesn't have stays nil.
func (l *Look) Overview(ctx context.Context, applies int) (o Overview, err error) {
	if o.Status, err = l.b.summary(ctx); err != nil {
		return o, err
	}
	if l.b.Endpoints != nil {
		r, err := l.b.Endpoints.ListEndpoints(ctx, &pb.ListEndpointsRequest{})
		if err != nil {
			return o, err
		}
		o.Endpoints = r.GetEndpoints()
	}
	if l.b.Drivers != nil {
		r, err := l.b.Drivers.ListDrivers(ctx, &pb.ListDriversRequest{})
		if err != nil {
			return o, err
		}
		o.Drivers = r.GetDrivers()
	}
	if l.b.Connectors != nil {
		r, err := l.b.Connectors.ListConnectors(ctx, &pb.ListConnectorsRequest{})
		if err != nil {
			return o, err
		}
		o.Connectors = r.GetConnectors()
	}
	if l.b.Bus != nil {
		if o.Bus, err = l.b.Bus.Stats(ctx); err != nil {
			return o, err
		}
	}
	if l.b.Config == nil {
		return o, nil
	}
	st, err := l.b.Config.GetConfigStatus(ctx, &pb.GetConfigStatusRequest{})
	if err != nil {
		return o, err
	}
	history, err := l.b.Config.ListConfigHistory(ctx, &pb.ListConfigHistoryRequest{Limit: uint32(applies)})
	o.Config, o.Applies = st.GetStatus(), history.GetApplies()
	return o, err
}

// Window is a part of the tags.
type Window struct {
	Text    string     // in the name, in any case; "": any
	Quality pb.Quality // of the last value; unspecified: any
	From, N int        // of those that match: how many to skip, and how many to show at most
}

// Tags returns the tags of w as they were a moment ago, sorted by name, and how many
// match in all.
func (l *Look) Tags(ctx context.Context, w Window) (tags []*pb.Tag, total int, err error) {
	if l.sampler == nil {
		return nil, 0, missing("tags")
	}
	sample, err := l.sampler.get(ctx)
	if err != nil {
		return nil, 0, err
	}
	text := strings.ToLower(w.Text)
	for i, name := range *sample.names {
		if text != "" && !strings.Contains(strings.ToLower(name), text) {
			continue
		}
		shown := total >= w.From && len(tags) < w.N
		if !shown && w.Quality == pb.Quality_QUALITY_UNSPECIFIED {
			total++
			continue
		}
		m := sample.tags.Message(i)
		if w.Quality != pb.Quality_QUALITY_UNSPECIFIED && m.Quality != w.Quality {
			continue
		}
		if shown {
			tags = append(tags, m)
		}
		total++
	}
	return tags, total, nil
}

// Tag returns one tag as it was a moment ago.
func (l *Look) Tag(ctx context.Context, name string) (*pb.Tag, error) {
	if l.sampler == nil {
		return nil, missing("tags")
	}
	sample, err := l.sampler.get(ctx)
	if err != nil {
		return nil, err
	}
	for i, n := range *sample.names {
		if n == name {
			return sample.tags.Message(i), nil
		}
	}
	return nil, fmt.Errorf("tag %q: %w", name, errkind.NotFound)
}

// Frames sends the frames of r from the log, in order.
func (l *Look) Frames(ctx context.Context, r Range, send func([]*frame.Batch) error) error {
	if l.b.Bus == nil {
		return missing("bus")
	}
	return l.b.Bus.Replay(ctx, r, func(p ReplayPart) error { return send(p.Batches) })
}

// WatchConfig calls tell with each phase and outcome of an apply until ctx ends. tell
// must not block.
func (l *Look) WatchConfig(ctx context.Context, tell func(*pb.WatchConfigResponse)) (err error) {
	if l.b.Config == nil {
		return missing("config")
	}
	defer func() {
		if p := recover(); p != nil { // as on the socket: the gateway goes on
			err = fmt.Errorf("the gateway has a fault in this call: %v", p)
		}
	}()
	return l.b.Config.WatchConfig(&pb.WatchConfigRequest{}, within[pb.WatchConfigResponse]{ctx, tell})
}

// within is a stream that stays in this process.
type within[M any] struct {
	ctx  context.Context
	tell func(*M)
}

func (w within[M]) Context() context.Context     { return w.ctx }
func (w within[M]) SetHeader(metadata.MD) error  { return nil }
func (w within[M]) SendHeader(metadata.MD) error { return nil }
func (w within[M]) SetTrailer(metadata.MD)       {}
func (w within[M]) RecvMsg(any) error            { return io.EOF }

func (w within[M]) SendMsg(m any) error {
	message, ok := m.(*M)
	if !ok {
		return fmt.Errorf("a %T is no message of this stream", m)
	}
	return w.Send(message)
}

func (w within[M]) Send(m *M) error {
	w.tell(m)
	return nil
}
