package consumer

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
// of a connector's test, and what gateways say and hear beside their data.
var ErrNotData = errors.New("no data message")

// maxPayload bounds a payload after decompression, in bytes.
const maxPayload = 1 << 30

// Decoder decodes messages. It may be used from any goroutine.
type Decoder struct {
	unit frame.TimestampUnit
	zstd *zstd.Decoder
}

// NewDecoder returns a decoder for gateways whose timestamp_unit is the given
// one.
func NewDecoder(unit frame.TimestampUnit) (*Decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &Decoder{unit: unit, zstd: z}, nil
}

// Close releases the decoder's memory.
func (d *Decoder) Close() { d.zstd.Close() }

// Decode decodes a message and checks that properties and frames agree.
func (d *Decoder) Decode(m *Message) (*Batch, error) {
	if m.Properties["test"] != "" || beside(m.Topic) {
		return nil, ErrNotData
	}
	b := &Batch{Topic: m.Topic, Gateway: m.Properties["gw"], Epoch: m.Properties["epoch"], Stream: m.Properties["stream"],
		Replay: m.Properties["replay"], Received: m.Received}
	if b.Gateway == "" || b.Epoch == "" {
		return nil, fmt.Errorf("message on %s: properties gw and epoch are missing: is it one of a gateway's?", m.Topic)
	}
	for _, p := range []struct {
		name string
		to   *uint64
	}{{"first_seq", &b.FirstSeq}, {"last_seq", &b.LastSeq}, {"prev_seq", &b.PrevSeq}, {"config_rev", &b.ConfigRev}} {
		n, err := strconv.ParseUint(m.Properties[p.name], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("message on %s: property %s is %q; expected a number", m.Topic, p.name, m.Properties[p.name])
		}
		*p.to = n
	}
	var err error
	if b.Samples, err = d.samples(m); err != nil {
		return nil, fmt.Errorf("message on %s, seq %d to %d: %w", m.Topic, b.FirstSeq, b.LastSeq, err)
	}
	return b, b.check()
}

// beside reports whether a topic is one of those that gateways use for something
// else than data, unless they are configured otherwise: a subscription to /edge/#
// gets these too.
func beside(topic string) bool {
	return slices.ContainsFunc([]string{"/edge/status/", "/edge/cmd/", "/edge/cmd-result/"}, func(prefix string) bool {
		return strings.HasPrefix(topic, prefix)
	})
}

func (d *Decoder) samples(m *Message) ([]frame.Sample, error) {
	payload := m.Payload
	switch enc := m.Properties["encoding"]; enc {
	case "identity":
	case "zstd":
		var err error
		if payload, err = d.zstd.DecodeAll(payload, nil); err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
	default:
		return nil, fmt.Errorf("encoding %q: expected zstd or identity", enc)
	}
	switch m.ContentType {
	case "application/json":
		return frame.DecodeJSON(payload, d.unit)
	case "application/x-protobuf":
		return frame.DecodeProto(payload, d.unit)
	}
	return nil, fmt.Errorf("content type %q: expected application/json or application/x-protobuf", m.ContentType)
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
