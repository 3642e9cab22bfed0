package admin

import (
	"context"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TagClient shows, reads and writes tags.
type TagClient struct{ c pb.TagServiceClient }

// Tags returns every tag, sorted by name.
func (c *TagClient) Tags(ctx context.Context) ([]Tag, error) { return c.List(ctx, "") }

// List returns the tags whose name matches glob, sorted by name; "" is all.
func (c *TagClient) List(ctx context.Context, glob string) ([]Tag, error) {
	tags := []Tag{}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ListTagsResponse], error) {
		return c.c.ListTags(ctx, &pb.ListTagsRequest{Glob: glob})
	}
	err := whole(ctx, receive(ctx, open, func(m *pb.ListTagsResponse) error {
		tags = append(tags, each(m.GetTags(), fromTag)...)
		return nil
	}))
	return tags, err
}

// TagChanges are the tags of a watch that have a new value.
type TagChanges struct {
	Tags    []Tag
	Skipped uint64 // intervals that this client was too slow for, in all
}

// Watch calls show with the tags that match glob, then with those that have
// changed, each interval (0: a second), until ctx ends, which is no error.
func (c *TagClient) Watch(ctx context.Context, glob string, interval time.Duration, show func(TagChanges) error) error {
	r := &pb.WatchTagsRequest{Glob: glob}
	if interval != 0 {
		r.Interval = durationpb.New(interval)
	}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchTagsResponse], error) {
		return c.c.WatchTags(ctx, r)
	}
	return receive(ctx, open, func(m *pb.WatchTagsResponse) error {
		return show(TagChanges{Tags: each(m.GetTags(), fromTag), Skipped: m.GetSkipped()})
	})
}

// Read reads a tag from the device.
func (c *TagClient) Read(ctx context.Context, tag string) (Reading, error) {
	m, err := c.c.ReadTag(ctx, &pb.ReadTagRequest{Tag: tag})
	return Reading{Raw: m.GetRaw(), Value: fromValue(m.GetValue()), Quality: fromQuality(m.GetQuality()), TS: m.GetTsNs()}, err
}

// Write writes a tag. A string is converted to the tag's type by the gateway.
func (c *TagClient) Write(ctx context.Context, tag string, v frame.Value) (WriteResult, error) {
	m, err := c.c.WriteTag(ctx, &pb.WriteTagRequest{Tag: tag, Value: toValue(v)})
	return WriteResult{ReadBack: fromValue(m.GetReadBack()), TS: m.GetTsNs(), Note: m.GetNote()}, err
}

// DiagnosticsClient helps to find faults.
type DiagnosticsClient struct{ c pb.DiagnosticsServiceClient }

// LogLevel returns the level.
func (c *DiagnosticsClient) LogLevel(ctx context.Context) (string, error) {
	m, err := c.c.GetLogLevel(ctx, &pb.GetLogLevelRequest{})
	return m.GetLevel(), err
}

// SetLogLevel changes the level until the next start.
func (c *DiagnosticsClient) SetLogLevel(ctx context.Context, level string) error {
	_, err := c.c.SetLogLevel(ctx, &pb.SetLogLevelRequest{Level: level})
	return err
}

// Trace emits what goes over an endpoint's connections until ctx ends, which is
// no error.
func (c *DiagnosticsClient) Trace(ctx context.Context, endpoint string, emit func(TraceEvent)) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.TraceEndpointResponse], error) {
		return c.c.TraceEndpoint(ctx, &pb.TraceEndpointRequest{Endpoint: endpoint})
	}
	return receive(ctx, open, func(m *pb.TraceEndpointResponse) error {
		emit(TraceEvent{Time: fromTime(m.GetTime()), Connection: m.GetConnection(), Event: m.GetEvent(), Data: m.GetData(),
			Text: m.GetText(), Dropped: m.GetDropped()})
		return nil
	})
}

// Profile writes a profile in pprof's format; kind is "cpu", "heap", "goroutine",
// "allocs", "block" or "mutex", d is for "cpu".
func (c *DiagnosticsClient) Profile(ctx context.Context, kind string, d time.Duration, w io.Writer) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.GetProfileResponse], error) {
		return c.c.GetProfile(ctx, &pb.GetProfileRequest{Kind: kind, Duration: durationpb.New(d)})
	}
	return whole(ctx, receive(ctx, open, func(m *pb.GetProfileResponse) error {
		_, err := w.Write(m.GetData())
		return err
	}))
}

// Bundle writes a support archive: a gzipped tar.
func (c *DiagnosticsClient) Bundle(ctx context.Context, w io.Writer) error {
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.GetBundleResponse], error) {
		return c.c.GetBundle(ctx, &pb.GetBundleRequest{})
	}
	return whole(ctx, receive(ctx, open, func(m *pb.GetBundleResponse) error {
		_, err := w.Write(m.GetData())
		return err
	}))
}

// whole makes an error of an end that came too early.
func whole(ctx context.Context, err error) error {
	if err == nil {
		return ctx.Err()
	}
	return err
}
