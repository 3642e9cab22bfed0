package admin

import (
	"context"
	"fmt"
	"path"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

type tagService struct {
	pb.UnimplementedTagServiceServer
	b       TagBackend
	sampler *tagSampler
}

// tagChunk bounds the tags of one message.
const tagChunk = 1000

// checkGlob returns a matcher for glob; "" matches everything.
func checkGlob(glob string) (func(string) bool, error) {
	if glob == "" || glob == "*" {
		return func(string) bool { return true }, nil
	}
	if _, err := path.Match(glob, ""); err != nil {
		return nil, fmt.Errorf("tag pattern %q: %w: expected a glob such as plant.* or line?.temp", glob, ErrInvalid)
	}
	return func(name string) bool {
		ok, _ := path.Match(glob, name) // the pattern was checked
		return ok
	}, nil
}

func (s *tagService) ListTags(r *pb.ListTagsRequest, out grpc.ServerStreamingServer[pb.ListTagsResponse]) error {
	if s.b == nil {
		return missing("tags")
	}
	match, err := checkGlob(r.GetGlob())
	if err != nil {
		return err
	}
	tags, err := s.b.Tags(out.Context())
	if err != nil {
		return err
	}
	chunk := make([]*pb.Tag, 0, min(len(tags), tagChunk))
	for i := range tags {
		if !match(tags[i].Name) {
			continue
		}
		if chunk = append(chunk, toTag(&tags[i])); len(chunk) == tagChunk {
			if err := out.Send(&pb.ListTagsResponse{Tags: chunk}); err != nil {
				return err
			}
			chunk = make([]*pb.Tag, 0, tagChunk)
		}
	}
	if len(chunk) == 0 {
		return nil
	}
	return out.Send(&pb.ListTagsResponse{Tags: chunk})
}

// The bounds of a watch's interval.
const (
	minWatch     = 100 * time.Millisecond
	maxWatch     = time.Hour
	defaultWatch = time.Second
)

func (s *tagService) WatchTags(r *pb.WatchTagsRequest, out grpc.ServerStreamingServer[pb.WatchTagsResponse]) error {
	if s.b == nil {
		return missing("tags")
	}
	match, err := checkGlob(r.GetGlob())
	if err != nil {
		return err
	}
	interval := r.GetInterval().AsDuration()
	if interval == 0 {
		interval = defaultWatch
	}
	if interval < minWatch || interval > maxWatch {
		return fmt.Errorf("interval %v: %w: expected %v to %v", interval, ErrInvalid, minWatch, maxWatch)
	}
	w := &tagWatch{match: match, out: out}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx, first := out.Context(), true; ; first = false {
		tags, err := s.sampler.sample(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := w.send(tags, first); err != nil {
			return err
		}
		w.skipped += uint64(time.Since(began) / interval)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// tagSampler shares one sample among all watches.
type tagSampler struct {
	backend TagBackend

	mu   sync.Mutex
	tags []Tag
	at   time.Time
}

// sample returns the tags as they were at most 100 ms ago.
func (s *tagSampler) sample(ctx context.Context) ([]Tag, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && time.Since(s.at) < minWatch {
		return s.tags, nil
	}
	tags, err := s.backend.Tags(ctx)
	if err != nil {
		return nil, err
	}
	s.tags, s.at = tags, time.Now()
	return tags, nil
}

// tagWatch knows what one client has seen.
type tagWatch struct {
	match   func(string) bool
	out     grpc.ServerStreamingServer[pb.WatchTagsResponse]
	seen    []seenTag // one for each tag of the last sample
	skipped uint64
}

type seenTag struct {
	name   string
	match  bool
	sent   bool
	ts     int64
	frames uint64
}

// send sends what is new in tags; the first time, at least one message.
func (w *tagWatch) send(tags []Tag, first bool) error {
	w.align(tags)
	chunk := make([]*pb.Tag, 0, min(len(tags), tagChunk))
	for i := range tags {
		t, seen := &tags[i], &w.seen[i]
		if !seen.match || seen.sent && seen.ts == t.TS && seen.frames == t.Frames {
			continue
		}
		seen.sent, seen.ts, seen.frames = true, t.TS, t.Frames
		if chunk = append(chunk, toTag(t)); len(chunk) == tagChunk {
			if err := w.out.Send(&pb.WatchTagsResponse{Tags: chunk, Skipped: w.skipped}); err != nil {
				return err
			}
			chunk, first = make([]*pb.Tag, 0, tagChunk), false
		}
	}
	if len(chunk) == 0 && !first {
		return nil
	}
	return w.out.Send(&pb.WatchTagsResponse{Tags: chunk, Skipped: w.skipped})
}

// align makes w.seen parallel to tags. Both are sorted by name.
func (w *tagWatch) align(tags []Tag) {
	if len(w.seen) == len(tags) {
		same := true
		for i := range tags {
			if tags[i].Name != w.seen[i].name {
				same = false
				break
			}
		}
		if same {
			return
		}
	}
	old := w.seen
	w.seen = make([]seenTag, len(tags))
	for i := range tags {
		name := tags[i].Name
		for len(old) > 0 && old[0].name < name {
			old = old[1:]
		}
		if len(old) > 0 && old[0].name == name {
			w.seen[i] = old[0]
		} else {
			w.seen[i] = seenTag{name: name, match: w.match(name)}
		}
	}
}

func (s *tagService) ReadTag(ctx context.Context, r *pb.ReadTagRequest) (*pb.ReadTagResponse, error) {
	if s.b == nil {
		return nil, missing("tags")
	}
	v, err := s.b.Read(ctx, r.GetTag())
	if err != nil {
		return nil, err
	}
	return &pb.ReadTagResponse{Raw: v.Raw, Value: toValue(v.Value), Quality: toQuality(v.Quality), TsNs: v.TS}, nil
}

func (s *tagService) WriteTag(ctx context.Context, r *pb.WriteTagRequest) (*pb.WriteTagResponse, error) {
	if s.b == nil {
		return nil, missing("tags")
	}
	v := fromValue(r.GetValue())
	if v.IsNone() {
		return nil, fmt.Errorf("write %q: %w: there is no value", r.GetTag(), ErrInvalid)
	}
	res, err := s.b.Write(ctx, r.GetTag(), v)
	if err != nil {
		return nil, err
	}
	return &pb.WriteTagResponse{ReadBack: toValue(res.ReadBack), TsNs: res.TS}, nil
}
