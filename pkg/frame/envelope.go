package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Envelope is what a message says of itself. With MQTT 5 it stands in user
// properties; where these are missing, in the payload (docs/payload.md).
type Envelope struct {
	Gateway   string `json:"gw"`
	Epoch     string `json:"epoch"`
	FirstSeq  uint64 `json:"first_seq"`
	LastSeq   uint64 `json:"last_seq"`
	PrevSeq   uint64 `json:"prev_seq"`
	ConfigRev uint64 `json:"config_rev"`
	Stream    string `json:"stream,omitempty"`
	Replay    string `json:"replay,omitempty"`
}

// AppendJSON appends the JSON payload that holds the envelope around frames, which is
// a JSON array.
func (e *Envelope) AppendJSON(dst, frames []byte) []byte {
	text := func(key, value string) {
		dst = appendJSONString(append(append(append(dst, '"'), key...), `":`...), value)
	}
	number := func(key string, n uint64) {
		dst = strconv.AppendUint(append(append(append(dst, `,"`...), key...), `":`...), n, 10)
	}
	dst = append(dst, '{')
	text("gw", e.Gateway)
	dst = append(dst, ',')
	text("epoch", e.Epoch)
	number("first_seq", e.FirstSeq)
	number("last_seq", e.LastSeq)
	number("prev_seq", e.PrevSeq)
	number("config_rev", e.ConfigRev)
	if e.Stream != "" {
		dst = append(dst, ',')
		text("stream", e.Stream)
	}
	if e.Replay != "" {
		dst = append(dst, ',')
		text("replay", e.Replay)
	}
	dst = append(append(dst, `,"frames":`...), frames...)
	return append(dst, '}')
}

// AppendProto appends the envelope as a field of the protobuf message Frames.
func (e *Envelope) AppendProto(dst []byte) []byte {
	var m []byte
	for i, s := range []string{1: e.Gateway, 2: e.Epoch, 7: e.Stream, 8: e.Replay} {
		if s != "" {
			m = protowire.AppendString(protowire.AppendTag(m, protowire.Number(i), protowire.BytesType), s)
		}
	}
	for i, n := range []uint64{3: e.FirstSeq, 4: e.LastSeq, 5: e.PrevSeq, 6: e.ConfigRev} {
		if n != 0 {
			m = protowire.AppendVarint(protowire.AppendTag(m, protowire.Number(i), protowire.VarintType), n)
		}
	}
	dst = protowire.AppendTag(dst, protoEnvelope, protowire.BytesType)
	return protowire.AppendBytes(dst, m)
}

// OpenJSON returns the envelope of a JSON payload and the array of frames in it. A
// payload without one, which is that array, has a nil envelope.
func OpenJSON(payload []byte) (*Envelope, []byte, error) {
	if trimmed := bytes.TrimLeft(payload, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, payload, nil
	}
	var m struct {
		Envelope
		Frames json.RawMessage `json:"frames"`
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return nil, nil, fmt.Errorf("JSON envelope: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("JSON envelope: something follows it")
	}
	if m.Frames == nil {
		return nil, nil, errors.New("JSON envelope: key frames is missing")
	}
	return &m.Envelope, m.Frames, nil
}

// OpenProto returns the envelope of a protobuf payload, nil if it has none.
func OpenProto(payload []byte) (*Envelope, error) {
	var e *Envelope
	err := protoFields(payload, func(num protowire.Number, typ protowire.Type, _ uint64, data []byte) error {
		if num != protoEnvelope {
			return nil
		}
		if typ != protowire.BytesType {
			return errProtoType
		}
		e = &Envelope{}
		return protoFields(data, e.setProto)
	})
	if err != nil {
		return nil, fmt.Errorf("protobuf envelope: %w", err)
	}
	return e, nil
}

func (e *Envelope) setProto(num protowire.Number, typ protowire.Type, n uint64, data []byte) error {
	texts := map[protowire.Number]*string{1: &e.Gateway, 2: &e.Epoch, 7: &e.Stream, 8: &e.Replay}
	numbers := map[protowire.Number]*uint64{3: &e.FirstSeq, 4: &e.LastSeq, 5: &e.PrevSeq, 6: &e.ConfigRev}
	if to, ok := texts[num]; ok && typ == protowire.BytesType {
		*to = string(data)
	} else if to, ok := numbers[num]; ok && typ == protowire.VarintType {
		*to = n
	} else if ok || texts[num] != nil {
		return errProtoType
	}
	return nil
}
