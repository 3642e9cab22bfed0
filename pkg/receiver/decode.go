package receiver

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Message is a message as it came from the broker.
type Message struct {
	Topic       string
	ContentType string
	Properties  map[string]string // user properties
	Payload     []byte
	Received    time.Time
}

// Batch is a message decoded.
type Batch struct {
	Topic    string
	Gateway  string
	Epoch    string
	Stream   string // "", "live" or "backlog"
	Replay   string // id of the replay that it belongs to, "" for none
	Received time.Time

	FirstSeq, LastSeq, PrevSeq uint64
	ConfigRev                  uint64
	Samples                    []frame.Sample
}

// ErrNotData is returned for messages that carry no frames by intention: those
// of a connector's test, those that remove a retained one, and what gateways say and hear
// beside their data.
var ErrNotData = errors.New("no data message")

// maxPayload bounds a payload after decompression, in bytes: a message is whatever
// somebody publishes. A gateway whose max_bytes is larger can't be verified.
const maxPayload = 64 << 20

// Decoder decodes messages. It may be used from any goroutine.
type Decoder struct {
	unit frame.TimestampUnit
	zstd *zstd.Decoder
}

// NewDecoder returns a decoder for gateways whose timestamp_unit is the given
// one.
func NewDecoder(unit frame.TimestampUnit) (*Decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &Decoder{unit: unit, zstd: z}, nil
}

// removed reports whether a message only takes a retained one away: it is empty, and
// says nothing of itself.
func removed(m *Message) bool { return len(m.Payload) == 0 && m.Properties["first_seq"] == "" }

// Close releases the decoder's memory.
func (d *Decoder) Close() { d.zstd.Close() }

// Decode decodes a message and checks that what it says of itself and its frames
// agree. What it says stands in its properties or, where it has none, in the
// envelope of its payload; where both are there, they must say the same.
func (d *Decoder) Decode(m *Message) (*Batch, error) {
	if m.Properties["test"] != "" || beside(m.Topic) || removed(m) {
		return nil, ErrNotData
	}
	b, err := d.open(m)
	if errors.Is(err, ErrNotData) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("message on %s: %w", m.Topic, err)
	}
	return b, b.check()
}

// open finds envelope and frames.
func (d *Decoder) open(m *Message) (*Batch, error) {
	payload, err := d.decompress(m)
	if err != nil {
		return nil, err
	}
	told, err := fromProperties(m.Properties)
	if err != nil {
		return nil, err
	}
	isJSON, err := isJSON(m.ContentType, payload)
	if err != nil {
		return nil, err
	}
	var e *frame.Envelope
	if isJSON {
		e, payload, err = frame.OpenJSON(payload)
	} else {
		e, err = frame.OpenProto(payload)
	}
	switch {
	case err != nil:
		return nil, err
	case told == nil && e == nil && strings.TrimSpace(string(payload)) == "[]":
		return nil, ErrNotData // of a connector's test, where it cannot say so
	case told == nil && e == nil:
		return nil, errors.New("properties gw and epoch are missing, and there is no envelope: is it one of a gateway's?")
	case told == nil:
		told = e
	case e != nil && *e != *told:
		return nil, fmt.Errorf("its envelope says %+v, its properties %+v", *e, *told)
	}
	b := &Batch{Topic: m.Topic, Gateway: told.Gateway, Epoch: told.Epoch, Stream: told.Stream, Replay: told.Replay, Received: m.Received,
		FirstSeq: told.FirstSeq, LastSeq: told.LastSeq, PrevSeq: told.PrevSeq, ConfigRev: told.ConfigRev}
	if isJSON {
		b.Samples, err = frame.DecodeJSON(payload, d.unit)
	} else {
		b.Samples, err = frame.DecodeProto(payload, d.unit)
	}
	if err != nil {
		return nil, fmt.Errorf("seq %d to %d: %w", b.FirstSeq, b.LastSeq, err)
	}
	return b, nil
}

// fromProperties reads the envelope from user properties; nil if they hold none.
func fromProperties(p map[string]string) (*frame.Envelope, error) {
	e := &frame.Envelope{Gateway: p["gw"], Epoch: p["epoch"], Stream: p["stream"], Replay: p["replay"]}
	if e.Gateway == "" || e.Epoch == "" {
		return nil, nil
	}
	for name, to := range map[string]*uint64{"first_seq": &e.FirstSeq, "last_seq": &e.LastSeq, "prev_seq": &e.PrevSeq, "config_rev": &e.ConfigRev} {
		n, err := strconv.ParseUint(p[name], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("property %s is %q; expected a number", name, p[name])
		}
		*to = n
	}
	return e, nil
}

// beside reports whether a topic is one of those that gateways use for something
// else than data, unless they are configured otherwise: a subscription to /edge/#
// gets these too.
func beside(topic string) bool {
	return slices.ContainsFunc([]string{"/edge/status/", "/edge/cmd/", "/edge/cmd-result/"}, func(prefix string) bool {
		return strings.HasPrefix(topic, prefix)
	})
}

// zstdMagic is how a zstd frame begins (RFC 8878, 3.1.1), and no other payload.
const zstdMagic = "\x28\xb5\x2f\xfd"

// decompress returns the payload as it was before compression. Without the property
// encoding the payload itself shows it.
func (d *Decoder) decompress(m *Message) ([]byte, error) {
	switch enc := m.Properties["encoding"]; {
	case enc == "identity", enc == "" && !strings.HasPrefix(string(m.Payload[:min(4, len(m.Payload))]), zstdMagic):
		return m.Payload, nil
	case enc == "zstd", enc == "":
		payload, err := d.zstd.DecodeAll(m.Payload, nil)
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return payload, nil
	default:
		return nil, fmt.Errorf("encoding %q: expected zstd or identity", enc)
	}
}

// isJSON reports whether a payload is JSON and not protobuf, which begins with no
// such byte.
func isJSON(contentType string, payload []byte) (bool, error) {
	switch contentType {
	case "application/json":
		return true, nil
	case "application/x-protobuf":
		return false, nil
	case "":
		return len(payload) == 0 || payload[0] == '[' || payload[0] == '{', nil
	}
	return false, fmt.Errorf("content type %q: expected application/json or application/x-protobuf", contentType)
}

// check holds properties and frames against each other.
func (b *Batch) check() error {
	n := len(b.Samples)
	if n == 0 {
		return fmt.Errorf("message on %s: no frames", b.Topic)
	}
	if b.Samples[0].Seq != b.FirstSeq || b.Samples[n-1].Seq != b.LastSeq {
		return fmt.Errorf("message on %s: its frames are %d to %d, its properties say %d to %d", b.Topic, b.Samples[0].Seq, b.Samples[n-1].Seq, b.FirstSeq, b.LastSeq)
	}
	for i := 1; i < n; i++ {
		if b.Samples[i].Seq <= b.Samples[i-1].Seq {
			return fmt.Errorf("message on %s: frame %d follows %d", b.Topic, b.Samples[i].Seq, b.Samples[i-1].Seq)
		}
	}
	if b.PrevSeq >= b.FirstSeq {
		return fmt.Errorf("message on %s: prev_seq %d is not before its first frame, %d", b.Topic, b.PrevSeq, b.FirstSeq)
	}
	return nil
}
