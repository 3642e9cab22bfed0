package mqtt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// The streams of live_first: each is a chain of its own.
const (
	streamLive    = "live"
	streamBacklog = "backlog"
)

const (
	// behindFor is how long the live stream may lag before what has piled up
	// becomes backlog.
	behindFor = 5 * time.Second
	// heldFor is how long a limit holds a backlog before it is looked whether the
	// limit has changed.
	heldFor = time.Second
	// behindBy is how many frames it must lag too.
	behindBy = 4096
)

// reader reads the log on a connection and makes windows of messages from it. It
// is one goroutine.
type reader struct {
	source  connector.Source
	options readerOptions
	pace    pace // of the window that is being made
	make    *maker
	codec   *codec
	builder *builder
	windows chan *window // to the sender

	skip     []bus.Range      // windows that were stored before the connection began, sorted
	chains   map[chain]uint64 // as they were then
	live     stream
	backlog  []stream  // with live_first: what is behind the live stream, oldest first
	caughtUp time.Time // when the live stream was last at the head
	dueAt    time.Time // with a backlog: when the live stream must be looked at; zero: nothing waits
	wakeAt   time.Time // when the live stream is not waited for any more; zero: never
	at       uint64    // the consumer's cursor; 0: unknown

	bytesPerFrame int // a running estimate

	throttle throttle // of what is behind
	marked   time.Time
	marks    [2]uint64 // the head of the log when marked, and behindFor or more before that
}

type readerOptions struct {
	record    windowRecord // stream, template and encoding of new windows
	qos       byte
	liveFirst bool
	pace      func() pace // asked before each window
	warn      func(error) // of a backlog that grows; nil: it does not
}

// pace is how frames are gathered into a window.
type pace struct {
	maxFrames   int           // waiting frames that close it
	maxInterval time.Duration // after its first frame
	limit       int           // of its payload, in bytes before compression
	backlog     allowance     // of what has waited
}

// stream is a run of the log that is sent in order.
type stream struct {
	name   string
	cursor uint64         // next seq to read
	end    uint64         // last seq; 0: none
	ready  []*frame.Batch // read and not in a window yet
	gaps   []bus.Range    // passed over: delivered already, or gone
}

// aheadBy is how many windows wait for the sender at most: enough that one sync
// of a slow disk covers several, few enough that what waits in the log meanwhile
// joins larger messages.
const aheadBy = 6

// ended reports whether all of the stream is in windows.
func (s *stream) ended() bool { return s.end != 0 && s.cursor > s.end && len(s.ready) == 0 }

// newReader prepares a reader that continues behind what is delivered, leaving
// out the windows in skip.
func newReader(c connector.Source, skip []bus.Range, o readerOptions, k *maker) (*reader, error) {
	cd, err := k.codec(o.record.encoding)
	if err != nil {
		return nil, err
	}
	r := &reader{source: c, options: o, make: k, codec: cd, skip: skip, windows: make(chan *window, aheadBy), bytesPerFrame: 128}
	r.builder = newBuilder(cd, newRouter(o.record.Template))
	slices.SortFunc(r.skip, func(a, b bus.Range) int { return cmp.Compare(a.First, b.First) })
	r.skip = slices.Compact(r.skip)
	r.live = stream{name: o.record.Stream, cursor: c.Acked() + 1}
	return r, nil
}

// goOn has the live stream begin behind the last frame that it has sent, so that
// it never goes back: what is left before that is backlog.
func (r *reader) goOn() {
	sent := uint64(0)
	for ch, last := range r.chains {
		if ch.stream == streamLive {
			sent = max(sent, last)
		}
	}
	if r.live.cursor <= sent {
		r.split(sent)
	}
}

// run makes windows until ctx ends. rest are windows of which some messages were
// never stored: they go first.
func (r *reader) run(ctx context.Context, rest []*window) error {
	for _, w := range rest {
		if err := r.complete(w); err != nil {
			return err
		}
		if !r.hand(ctx, w) {
			return nil
		}
	}
	for {
		w, err := r.next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if !r.hand(ctx, w) {
			return nil
		}
	}
}

// hand waits until the sender takes w.
func (r *reader) hand(ctx context.Context, w *window) bool {
	select {
	case r.windows <- w:
		return true
	case <-ctx.Done():
		return false
	}
}

// complete makes the messages of w that were never stored again.
func (r *reader) complete(w *window) error {
	c, err := r.make.codec(w.record.encoding)
	if err != nil {
		return err
	}
	batches, err := r.source.Fetch(w.record.First, w.record.Last)
	if err != nil && !isGone(err) {
		return fmt.Errorf("frames %d to %d: %w", w.record.First, w.record.Last, err)
	}
	b := newBuilder(c, newRouter(w.record.Template))
	for _, batch := range batches {
		b.add(batch)
	}
	if err != nil {
		left := slices.DeleteFunc(b.parts, func(p *part) bool { return w.stored(r.chains[chain{p.topic, w.record.Stream}]) })
		w.lost = w.record.Total - w.record.Next - len(left)
		if w.lost < 0 {
			return fmt.Errorf("frames %d to %d make %d messages, expected %d at most", w.record.First, w.record.Last, len(left), w.record.Total-w.record.Next)
		}
		r.parts(w, c, left)
		return nil
	}
	if len(b.parts) != w.record.Total {
		return fmt.Errorf("frames %d to %d make %d messages, %d when they were first read", w.record.First, w.record.Last, len(b.parts), w.record.Total)
	}
	r.parts(w, c, b.parts[w.record.Next:])
	return nil
}

// parts makes messages of the parts of a window.
func (r *reader) parts(w *window, c *codec, parts []*part) {
	for _, p := range parts {
		m := &message{window: w, made: r.make.finish(c, p)}
		m.record = messageRecord{QoS: r.options.qos, Topic: p.topic, Stream: w.record.Stream, First: w.record.First, Last: w.record.Last,
			Template: w.record.Template, encoding: w.record.encoding}
		w.parts = append(w.parts, m)
	}
}

// next waits for frames and returns the next window.
func (r *reader) next(ctx context.Context) (*window, error) {
	for {
		r.builder.reset()
		r.pace = r.options.pace()
		s, wait := r.pick()
		held := r.pace.backlog.limited() && r.behind(s)
		r.builder.limit, r.builder.most = r.pace.limit, 0
		if held {
			if now := time.Now(); now.Before(r.throttle.due) {
				if !sleep(ctx, min(r.throttle.due.Sub(now), heldFor)) {
					return nil, ctx.Err()
				}
				continue
			}
			r.builder.limit, r.builder.most = r.throttle.portion(r.pace.backlog, r.pace.limit)
		}
		r.watch(held, s)
		w := &window{record: r.options.record}
		w.record.Stream = s.name
		if err := r.gather(ctx, s, w, wait); err != nil {
			return nil, err
		}
		if s.ended() {
			r.live.gaps = append(r.live.gaps, s.gaps...)
			r.backlog = r.backlog[1:]
		}
		if w.record.First == 0 {
			continue // the rest of a backlog was delivered before
		}
		w.record.Total = len(r.builder.parts)
		w.pending = w.record.Total
		if frames := int(w.record.Last - w.record.First + 1); r.builder.size > 0 {
			r.bytesPerFrame = max(16, (3*r.bytesPerFrame+r.builder.size/frames)/4)
		}
		plain := r.builder.size
		r.parts(w, r.codec, r.builder.parts)
		if held {
			r.spend(w, plain)
		}
		return w, nil
	}
}

// behind reports whether what s holds has waited for long: longer than behindFor, or
// since before the connection.
func (r *reader) behind(s *stream) bool {
	head := r.source.Head()
	if now := time.Now(); r.marked.IsZero() {
		r.marked, r.marks = now, [2]uint64{head, head}
	} else if now.Sub(r.marked) >= behindFor {
		r.marked, r.marks = now, [2]uint64{head, r.marks[0]}
	}
	if s.name == streamBacklog {
		return true
	}
	next := s.cursor
	if len(s.ready) > 0 {
		next = s.ready[0].FirstSeq
	}
	return !r.options.liveFirst && next <= r.marks[1]
}

// spend takes a window off what may be sent of the backlog.
func (r *reader) spend(w *window, plain int) {
	bytes := 0
	for _, m := range w.parts {
		bytes += r.codec.size(m.made.body)
	}
	r.throttle.spend(r.pace.backlog, time.Now(), bytes, plain, len(w.parts))
}

// watch tells of a backlog that new frames join faster than it is sent.
func (r *reader) watch(held bool, s *stream) {
	if !held || r.options.liveFirst {
		if !r.throttle.since.IsZero() {
			r.throttle.since = time.Time{}
			r.options.warn(nil)
		}
		return
	}
	lag := r.source.Head() + 1 - min(s.cursor, r.source.Head()+1)
	if known, grows := r.throttle.grows(time.Now(), lag); grows {
		r.options.warn(errGrows(lag))
	} else if known {
		r.options.warn(nil)
	}
}

// pick chooses the stream of the next window, and whether the window may stay
// open for more frames to come.
func (r *reader) pick() (s *stream, wait bool) {
	r.wakeAt = time.Time{}
	if !r.options.liveFirst {
		return &r.live, true
	}
	now, head := time.Now(), r.source.Head()
	waiting := uint64(frame.CountFrames(r.live.ready))
	if head >= r.live.cursor {
		waiting += head - r.live.cursor + 1
	}
	if waiting == 0 {
		r.caughtUp = now
	}
	enough := uint64(behindBy)
	if r.pace.backlog.limited() { // what is not a backlog is not held back
		enough = uint64(r.pace.maxFrames)
	}
	if waiting > enough && now.Sub(r.caughtUp) > behindFor {
		r.split(head)
		waiting, r.caughtUp = 0, now
	}
	switch {
	case len(r.backlog) == 0:
		return &r.live, true
	case r.pace.backlog.limited() && now.Before(r.throttle.due):
		r.wakeAt = now.Add(min(r.throttle.due.Sub(now), heldFor))
		return &r.live, true
	case waiting == 0:
		r.dueAt = time.Time{}
		return &r.backlog[0], false
	case r.dueAt.IsZero():
		r.dueAt = now.Add(r.pace.maxInterval)
	}
	if waiting >= uint64(r.pace.maxFrames) || !now.Before(r.dueAt) {
		r.dueAt = time.Time{}
		return &r.live, false
	}
	return &r.backlog[0], false
}

// split makes backlog of what the live stream has not sent.
func (r *reader) split(head uint64) {
	behind := r.live
	behind.name, behind.end = streamBacklog, head
	r.backlog = append(r.backlog, behind)
	r.live = stream{name: streamLive, cursor: head + 1}
}

// gather fills a window from s: until max_frames wait for one topic and the log
// has no more to offer, or the builder is full, or max_interval has passed since
// the first frame.
func (r *reader) gather(ctx context.Context, s *stream, w *window, wait bool) error {
	until := r.wakeAt // for the first frame
	for {
		if len(s.ready) == 0 {
			enough := !wait || r.builder.largest() >= r.pace.maxFrames
			if s.ended() || w.record.First != 0 && enough && s.cursor > r.source.Head() {
				return nil
			}
			if err := r.fill(ctx, s, until); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				return nil
			} else if err != nil {
				return err
			}
			if s.cursor > r.source.Head() {
				r.caughtUp = time.Now()
			}
		}
		if w.record.First == 0 {
			until = time.Now().Add(r.pace.maxInterval)
		}
		if full := r.take(s, w); full || r.codec.filter != nil && w.record.Last-w.record.First >= maxRead {
			return nil // a message that is made again reads all of its window
		}
	}
}

// take moves one batch from s to w, or a part of it; full reports that the window
// ends here.
func (r *reader) take(s *stream, w *window) (full bool) {
	if len(s.ready) == 0 {
		return false // all that was read is in flight already
	}
	b := s.ready[0]
	if w.record.First != 0 && b.FirstSeq != w.record.Last+1 {
		return true // a window has no gaps
	}
	n := r.builder.add(b)
	if n > 0 {
		if w.record.First == 0 {
			w.record.First = b.FirstSeq
			w.gaps, s.gaps = s.gaps, nil
		}
		w.record.Last = b.FirstSeq + uint64(n) - 1
	}
	if n < len(b.Frames) {
		s.ready[0] = b.Slice(b.FirstSeq+uint64(n), b.LastSeq())
		return true
	}
	s.ready = s.ready[1:]
	return false
}

// fill reads the next frames of s, waiting for them until the time given.
func (r *reader) fill(ctx context.Context, s *stream, until time.Time) error {
	if r.at != s.cursor {
		r.source.Seek(max(s.cursor, r.source.Acked()+1))
		r.at = s.cursor
	}
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	room := r.builder.limit - r.builder.size
	batches, err := r.source.Read(ctx, max(r.pace.maxFrames, min(room/r.bytesPerFrame, maxRead)))
	if err != nil {
		return err
	}
	for _, b := range batches {
		if b.FirstSeq > s.cursor {
			// What Read passes over was delivered before or is gone.
			s.gaps = append(s.gaps, bus.Range{First: s.cursor, Last: b.FirstSeq - 1})
		}
		s.cursor = b.LastSeq() + 1
		s.ready = append(s.ready, r.outside(b, s.end)...)
	}
	r.at = s.cursor
	return nil
}

// maxRead bounds one read, in frames.
const maxRead = 1 << 16

// outside returns the parts of b up to end that are not in flight already.
func (r *reader) outside(b *frame.Batch, end uint64) []*frame.Batch {
	first, last := b.FirstSeq, b.LastSeq()
	if end != 0 {
		last = min(last, end)
	}
	var out []*frame.Batch
	for _, s := range r.skip {
		if s.Last < first || s.First > last {
			continue
		}
		if s.First > first {
			out = append(out, b.Slice(first, s.First-1))
		}
		first = s.Last + 1
	}
	if first <= last {
		out = append(out, b.Slice(first, last))
	}
	return out
}
