package admin

import (
	"context"
	"fmt"
	"path"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

type tagService struct {
	pb.UnimplementedTagServiceServer
	b       TagBackend
	sampler *tagSampler
	budget  *rate.Limiter // of tags shown to all watches together
}

func newTagService(b TagBackend) *tagService {
	return &tagService{b: b, sampler: &tagSampler{backend: b, every: minWatch}, budget: rate.NewLimiter(watchBudget, watchBurst)}
}

// What all watches together are shown, in tags: a tag costs about a microsecond,
// and polls come first. Clients that want more see some values less often.
const (
	watchBudget = 100_000 // in a second
	watchBurst  = 20_000
)

// tagChunk and tagBytes bound the tags of one message, in number and in bytes: a device
// decides how long their texts are. A message holds one tag at least.
const (
	tagChunk = 1000
	tagBytes = 1 << 20
)

// checkGlob returns a matcher for glob; "" matches everything.
func checkGlob(glob string) (func(string) bool, error) {
	if glob == "" || glob == "*" {
		return func(string) bool { return true }, nil
	}
	if _, err := path.Match(glob, ""); err != nil {
		return nil, fmt.Errorf("tag pattern %q: %w: expected a glob such as plant.* or line?.temp", glob, errkind.Invalid)
	}
	return func(name string) bool {
		ok, _ := path.Match(glob, name) // the pattern was checked
		return ok
	}, nil
}

func (s *tagService) ListTags(r *pb.ListTagsRequest, out grpc.ServerStreamingServer[pb.ListTagsResponse]) error {
	match, err := checkGlob(r.GetGlob())
	if err != nil {
		return err
	}
	tags, err := s.b.Tags(out.Context())
	if err != nil {
		return err
	}
	chunk, size := make([]*pb.Tag, 0, min(tags.Len(), tagChunk)), 0
	for i := range tags.Len() {
		if !match(tags.Name(i)) {
			continue
		}
		chunk = append(chunk, tags.Message(i))
		if size += proto.Size(chunk[len(chunk)-1]); len(chunk) == tagChunk || size >= tagBytes {
			if err := out.Send(&pb.ListTagsResponse{Tags: chunk}); err != nil {
				return err
			}
			chunk, size = make([]*pb.Tag, 0, tagChunk), 0
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
	match, err := checkGlob(r.GetGlob())
	if err != nil {
		return err
	}
	interval := r.GetInterval().AsDuration()
	if interval == 0 {
		interval = defaultWatch
	}
	if interval < minWatch || interval > maxWatch {
		return fmt.Errorf("interval %v: %w: expected %v to %v", interval, errkind.Invalid, minWatch, maxWatch)
	}
	w := &tagWatch{match: match}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx := out.Context(); ; {
		began := time.Now()
		err := w.round(ctx, s.sampler, func(m *pb.WatchTagsResponse) error {
			if err := out.Send(m); err != nil {
				return err
			}
			return s.budget.WaitN(ctx, len(m.Tags))
		})
		if ctx.Err() != nil {
			return ctx.Err() // the budget's own error says less
		}
		if err != nil {
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

	mu     sync.Mutex
	sample tagSample
	at     time.Time
	every  time.Duration // at least minWatch
}

// tagSample is every tag at one moment. Samples with the same tags share names.
type tagSample struct {
	tags  TagList
	names *[]string
}

// sampleShare is the part of a processor that sampling may take, one in so many.
const sampleShare = 20

// get returns the tags as they were at most 100 ms ago; longer, where it takes long
// to ask.
func (s *tagSampler) get(ctx context.Context) (tagSample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	if !s.at.IsZero() && began.Sub(s.at) < s.every {
		return s.sample, nil
	}
	tags, err := s.backend.Tags(ctx)
	if err != nil {
		return tagSample{}, err
	}
	names := s.sample.names
	if names == nil || !sameNames(*names, tags) {
		list := make([]string, tags.Len())
		for i := range list {
			list[i] = tags.Name(i)
		}
		names = &list
	}
	s.sample, s.at = tagSample{tags, names}, time.Now()
	s.every = max(minWatch, min(sampleShare*s.at.Sub(began), time.Second))
	return s.sample, nil
}

func sameNames(names []string, tags TagList) bool {
	if len(names) != tags.Len() {
		return false
	}
	for i := range names {
		if tags.Name(i) != names[i] {
			return false
		}
	}
	return true
}

// tagWatch knows what one client has seen. It is small, because many clients may watch
// many tags.
type tagWatch struct {
	match   func(string) bool
	names   *[]string // of the last sample
	seen    []seenTag // one for each of them
	told    bool      // the client has had a message
	skipped uint64
}

type seenTag struct {
	ts     int64
	frames uint32 // its lowest bits
	match  bool
	sent   bool
}

// watchChunk bounds the tags of one message of a watch: what a client that stalls
// holds on to.
const watchChunk = 250

// round sends once what is new, in messages of bounded size; the first round, at
// least one. Each message is made of a new sample: while a client stalls it keeps
// its message, and not every tag as it was.
func (w *tagWatch) round(ctx context.Context, s *tagSampler, send func(*pb.WatchTagsResponse) error) error {
	for next := 0; ; {
		m, at, end, err := w.message(ctx, s, next)
		if err != nil {
			return err
		}
		if len(m.Tags) == 0 && w.told {
			return nil
		}
		if err := send(m); err != nil {
			return err
		}
		if w.told, next = true, at; end {
			return nil
		}
	}
}

// message collects what is new from tag from on, and returns where it stopped, and
// whether that is the end.
func (w *tagWatch) message(ctx context.Context, s *tagSampler, from int) (m *pb.WatchTagsResponse, at int, end bool, err error) {
	sample, err := s.get(ctx)
	if err != nil {
		return nil, 0, false, err
	}
	if sample.names != w.names {
		w.align(sample.names)
		from = 0 // what was sent is marked as seen
	}
	m = &pb.WatchTagsResponse{Skipped: w.skipped}
	i, size := from, 0
	for ; i < len(*sample.names) && len(m.Tags) < watchChunk && size < tagBytes; i++ {
		seen := &w.seen[i]
		ts, frames := sample.tags.Version(i)
		if !seen.match || seen.sent && seen.ts == ts && seen.frames == uint32(frames) {
			continue
		}
		seen.sent, seen.ts, seen.frames = true, ts, uint32(frames)
		m.Tags = append(m.Tags, sample.tags.Message(i))
		size += proto.Size(m.Tags[len(m.Tags)-1])
	}
	return m, i, i == len(*sample.names), nil
}

// align makes w.seen parallel to names, which are sorted as those before were.
func (w *tagWatch) align(names *[]string) {
	var old []string
	if w.names != nil {
		old = *w.names
	}
	was := w.seen
	w.names, w.seen = names, make([]seenTag, len(*names))
	k := 0
	for i, name := range *names {
		for k < len(old) && old[k] < name {
			k++
		}
		if k < len(old) && old[k] == name {
			w.seen[i] = was[k]
		} else {
			w.seen[i] = seenTag{match: w.match(name)}
		}
	}
}

func (s *tagService) ReadTag(ctx context.Context, r *pb.ReadTagRequest) (*pb.ReadTagResponse, error) {
	return s.b.ReadTag(ctx, r)
}

func (s *tagService) WriteTag(ctx context.Context, r *pb.WriteTagRequest) (*pb.WriteTagResponse, error) {
	if r.GetValue().GetKind() == nil {
		return nil, fmt.Errorf("write %q: %w: there is no value", r.GetTag(), errkind.Invalid)
	}
	return s.b.WriteTag(ctx, r)
}
