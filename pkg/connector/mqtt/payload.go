package mqtt

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// encoding says how frames become a payload; it is a part of each stored message,
// so that a message that is sent again is the same.
type encoding struct {
	Payload  string              `json:"payload"`
	Unit     frame.TimestampUnit `json:"unit"`
	Envelope bool                `json:"envelope,omitempty"`
	Filter   string              `json:"filter,omitempty"` // as JSON; "": everything
}

func (e encoding) contentType() string {
	if strings.HasPrefix(e.Payload, payloadProtobuf) {
		return "application/x-protobuf"
	}
	return "application/json"
}

func (e encoding) compressed() bool { return strings.HasSuffix(e.Payload, "+zstd") }

// frameEncoder writes frames one after the other, each complete with what stands
// between two of them.
type frameEncoder interface {
	AppendFrame(dst []byte, b *frame.Batch, i int) []byte
	AppendFrames(dst []byte, b *frame.Batch) []byte
}

// codec makes payloads of one encoding. It is for one goroutine.
type codec struct {
	encoding
	frames frameEncoder
	json   bool
	zstd   *zstd.Encoder  // nil: not compressed
	filter *frame.Matcher // nil: everything
}

func newCodec(e encoding) (*codec, error) {
	c := &codec{encoding: e, json: e.contentType() == "application/json"}
	if e.Filter != "" {
		var f Filter
		err := json.Unmarshal([]byte(e.Filter), &f)
		if err == nil {
			c.filter, err = f.matcher()
		}
		if err != nil {
			return nil, fmt.Errorf("filter %s: %w", e.Filter, err)
		}
	}
	if c.json {
		c.frames = jsonFrames{frame.NewJSONEncoder(e.Unit)}
	} else {
		c.frames = frame.NewProtoEncoder(e.Unit)
	}
	if e.compressed() {
		// The fastest level compresses these payloads about ten times, better
		// than the default level does and in less time (docs/mqtt.md). A
		// checksum would guard what TCP guards already.
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		c.zstd = z
	}
	return c, nil
}

// zstdWindow is how far back the compressor looks, in bytes: some 600 frames. A
// larger one costs memory and compresses no better.
const zstdWindow = 64 << 10

// begin starts a payload in dst.
func (c *codec) begin(dst []byte) []byte {
	if c.json {
		return append(dst, '[')
	}
	return dst
}

// finish ends the payload plain, which holds at least one frame, and compresses
// it into dst if the encoding says so; the result shares memory with one of both.
// With an envelope the rest is left to seal.
func (c *codec) finish(dst, plain []byte) []byte {
	if c.json {
		plain[len(plain)-1] = ']' // was the comma behind the last frame
	}
	if c.zstd == nil || c.Envelope {
		return append(dst, plain...)
	}
	return c.zstd.EncodeAll(plain, dst)
}

// size returns how large a payload that finish has made will be, about.
func (c *codec) size(finished []byte) int {
	if c.Envelope && c.zstd != nil {
		return len(c.zstd.EncodeAll(finished, nil))
	}
	return len(finished)
}

// seal puts the frames of a payload into an envelope, if the encoding says so. That
// comes after finish, because only the sender knows prev_seq.
func (c *codec) seal(frames []byte, e frame.Envelope) []byte {
	if !c.Envelope {
		return frames
	}
	var out []byte
	if c.json {
		out = e.AppendJSON(nil, frames)
	} else {
		out = e.AppendProto(frames)
	}
	if c.zstd == nil {
		return out
	}
	return c.zstd.EncodeAll(out, nil)
}

// jsonFrames puts a comma behind single frames too.
type jsonFrames struct{ *frame.JSONEncoder }

func (j jsonFrames) AppendFrame(dst []byte, b *frame.Batch, i int) []byte {
	return append(j.JSONEncoder.AppendFrame(dst, b, i), ',')
}

// part is the frames of one topic on their way into a message.
type part struct {
	topic     string
	plain     []byte // the payload before compression
	first     uint64 // seq of the first frame
	last      uint64
	frames    int
	configRev uint64 // of the last frame
}

// builder sorts the frames of a window by topic and encodes them. The order of
// the parts is that of each topic's first frame, so that the same frames always
// make the same parts. It is for one goroutine.
type builder struct {
	codec  *codec
	router *router
	limit  int    // bytes of plain payload over all parts; 0: none
	most   int    // parts; 0: any number
	only   string // if not empty, frames of other topics are left out

	parts  []*part
	byName map[string]*part
	size   int
	passed []*frame.Batch // reused
	free   [][]byte       // plain buffers to use again
}

func newBuilder(c *codec, r *router) *builder {
	return &builder{codec: c, router: r, byName: map[string]*part{}}
}

// reset forgets the parts, keeping their memory.
func (b *builder) reset() {
	for _, p := range b.parts {
		if len(b.free) < maxFreeBuffers {
			b.free = append(b.free, p.plain[:0])
		}
	}
	b.parts, b.size = b.parts[:0], 0
	clear(b.byName)
}

const maxFreeBuffers = 64

// add encodes frames of batch from the beginning until the limit is reached, and
// returns how many it took; the first frame of a window is always taken. Commands
// are passed over: they go to devices, not to the broker.
func (b *builder) add(batch *frame.Batch) int {
	if batch.Kind != frame.Data {
		return len(batch.Frames)
	}
	if b.codec.filter == nil || batch.Set.Driver == "" { // the gateway's own
		return b.addAll(batch)
	}
	b.passed = b.codec.filter.Split(b.passed[:0], batch)
	for _, part := range b.passed {
		if n := b.addAll(part); n < len(part.Frames) {
			return int(part.FirstSeq-batch.FirstSeq) + n
		}
	}
	return len(batch.Frames)
}

// addAll is add for frames of data that are all wanted.
func (b *builder) addAll(batch *frame.Batch) int {
	if topic, ok := b.router.uniform(batch.Set); ok {
		return b.addUniform(topic, batch)
	}
	for i := range batch.Frames {
		if !b.addFrame(b.router.topic(batch.Set, batch.Frames[i].Tag), batch, i) {
			return i
		}
	}
	return len(batch.Frames)
}

// chunk is how many frames are encoded before it is looked whether they fit.
const chunk = 128

// addUniform takes frames of one topic, in chunks as far as they fit.
func (b *builder) addUniform(topic string, batch *frame.Batch) int {
	n := len(batch.Frames)
	if b.only != "" && b.only != topic {
		return n
	}
	for from := 0; from < n; from += chunk {
		part := batch
		if n > chunk {
			part = batch.Slice(batch.FirstSeq+uint64(from), batch.FirstSeq+uint64(from+chunk-1))
		}
		if b.addChunk(topic, part) {
			continue
		}
		for i := range part.Frames {
			if !b.addFrame(topic, part, i) {
				return from + i
			}
		}
	}
	return n
}

// addChunk takes all frames of batch or none.
func (b *builder) addChunk(topic string, batch *frame.Batch) bool {
	if !b.takes(topic) {
		return false
	}
	p := b.part(topic)
	before := len(p.plain)
	p.plain = b.codec.frames.AppendFrames(p.plain, batch)
	grown := len(p.plain) - before
	if !b.fits(grown) {
		p.plain = p.plain[:before]
		return false
	}
	b.took(p, batch, grown, 0, len(batch.Frames))
	return true
}

func (b *builder) addFrame(topic string, batch *frame.Batch, i int) bool {
	if b.only != "" && b.only != topic {
		return true
	}
	if !b.takes(topic) {
		return false
	}
	p := b.part(topic)
	before := len(p.plain)
	p.plain = b.codec.frames.AppendFrame(p.plain, batch, i)
	grown := len(p.plain) - before
	if !b.fits(grown) && b.size > 0 {
		p.plain = p.plain[:before]
		if p.frames == 0 {
			b.drop(p)
		}
		return false
	}
	b.took(p, batch, grown, i, i+1)
	return true
}

// takes reports whether there is room for a part of topic.
func (b *builder) takes(topic string) bool {
	return b.most == 0 || len(b.parts) < b.most || b.byName[topic] != nil
}

func (b *builder) fits(more int) bool { return b.limit == 0 || b.size+more <= b.limit }

// took notes frames from…to (exclusive) of batch as part of p.
func (b *builder) took(p *part, batch *frame.Batch, bytes, from, to int) {
	if p.frames == 0 {
		p.first = batch.FirstSeq + uint64(from)
	}
	p.last = batch.FirstSeq + uint64(to) - 1
	p.frames += to - from
	p.configRev = batch.ConfigRev
	b.size += bytes
}

// part returns the part of a topic, a new one if need be.
func (b *builder) part(topic string) *part {
	if p, ok := b.byName[topic]; ok {
		return p
	}
	p := &part{topic: topic}
	if n := len(b.free); n > 0 {
		p.plain, b.free = b.free[n-1], b.free[:n-1]
	}
	p.plain = b.codec.begin(p.plain)
	b.parts = append(b.parts, p)
	b.byName[topic] = p
	return p
}

// drop takes the part that was added last away again.
func (b *builder) drop(p *part) {
	b.parts = b.parts[:len(b.parts)-1]
	delete(b.byName, p.topic)
}

// largest returns the largest number of frames that a part holds.
func (b *builder) largest() int {
	n := 0
	for _, p := range b.parts {
		n = max(n, p.frames)
	}
	return n
}
