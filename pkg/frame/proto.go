package frame

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The field numbers of schemas/frame/v1/frame.proto.
const (
	protoFrames   = 1 // Frames.frames
	protoEnvelope = 2 // Frames.envelope

	protoSeq     = 1
	protoTag     = 2
	protoTS      = 3
	protoQuality = 4
	protoUnit    = 5
	protoBool    = 6
	protoInt     = 7
	protoUint    = 8
	protoDouble  = 9
	protoString  = 10
	protoBytes   = 11
	protoObject  = 12
	protoArray   = 13
	protoStatus  = 14
)

// ProtoEncoder writes frames as the protobuf payload's message Frames
// (docs/payload.md), which is the encodings of its frames one after the other.
// The generated code would allocate a message and its strings for each frame. It
// is for one goroutine.
type ProtoEncoder struct {
	unit TimestampUnit
	sets map[*TagSet][]protoTagFields
}

// protoTagFields is what does not change between the frames of a tag.
type protoTagFields struct{ tag, unit string }

// NewProtoEncoder returns an encoder that writes ts in the given unit.
func NewProtoEncoder(unit TimestampUnit) *ProtoEncoder {
	return &ProtoEncoder{unit: unit, sets: map[*TagSet][]protoTagFields{}}
}

// AppendFrame appends frame i of b as an element of Frames.frames.
func (e *ProtoEncoder) AppendFrame(dst []byte, b *Batch, i int) []byte {
	return e.appendFrame(dst, b.FirstSeq+uint64(i), &e.tags(b.Set)[b.Frames[i].Tag], b, &b.Frames[i])
}

// AppendFrames appends all frames of b as elements of Frames.frames.
func (e *ProtoEncoder) AppendFrames(dst []byte, b *Batch) []byte {
	tags := e.tags(b.Set)
	for i := range b.Frames {
		f := &b.Frames[i]
		dst = e.appendFrame(dst, b.FirstSeq+uint64(i), &tags[f.Tag], b, f)
	}
	return dst
}

func (e *ProtoEncoder) appendFrame(dst []byte, seq uint64, tag *protoTagFields, b *Batch, f *Frame) []byte {
	ts := uint64(e.unit.from(f.TS))
	size := 1 + protowire.SizeVarint(seq) + len(tag.tag) + 1 + protowire.SizeVarint(ts) + len(tag.unit) + f.Value.protoSize()
	status := ""
	if f.Quality != Good {
		size += 2
		if n := int(f.Status); n > 0 && n <= len(b.Statuses) {
			status = b.Statuses[n-1]
			size += 1 + protowire.SizeBytes(len(status))
		}
	}
	dst = protowire.AppendTag(dst, protoFrames, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = protowire.AppendTag(dst, protoSeq, protowire.VarintType)
	dst = protowire.AppendVarint(dst, seq)
	dst = append(dst, tag.tag...)
	dst = protowire.AppendTag(dst, protoTS, protowire.VarintType)
	dst = protowire.AppendVarint(dst, ts)
	if f.Quality != Good {
		dst = protowire.AppendTag(dst, protoQuality, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(f.Quality))
	}
	dst = append(dst, tag.unit...)
	if status != "" {
		dst = protowire.AppendString(protowire.AppendTag(dst, protoStatus, protowire.BytesType), status)
	}
	return f.Value.appendProto(dst)
}

// protoSize returns the length of what appendProto appends.
func (v Value) protoSize() int {
	switch v.kind {
	case KindBool:
		return 2
	case KindInt:
		return 1 + protowire.SizeVarint(protowire.EncodeZigZag(int64(v.num)))
	case KindUint:
		return 1 + protowire.SizeVarint(v.num)
	case KindFloat:
		return 9
	case KindString, KindBytes, KindObject, KindArray:
		return 1 + protowire.SizeBytes(len(v.str))
	}
	return 0
}

func (v Value) appendProto(dst []byte) []byte {
	text := func(field protowire.Number) []byte {
		return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), v.str)
	}
	number := func(field protowire.Number, n uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), n)
	}
	switch v.kind {
	case KindBool:
		return number(protoBool, v.num)
	case KindInt:
		return number(protoInt, protowire.EncodeZigZag(int64(v.num)))
	case KindUint:
		return number(protoUint, v.num)
	case KindFloat:
		return protowire.AppendFixed64(protowire.AppendTag(dst, protoDouble, protowire.Fixed64Type), v.num)
	case KindString:
		return text(protoString)
	case KindBytes:
		return text(protoBytes)
	case KindObject:
		return text(protoObject)
	case KindArray:
		return text(protoArray)
	}
	return dst
}

// tags returns the prepared fields of s.
func (e *ProtoEncoder) tags(s *TagSet) []protoTagFields {
	if tags, ok := e.sets[s]; ok {
		return tags
	}
	if len(e.sets) >= maxCachedSets {
		clear(e.sets)
	}
	field := func(n protowire.Number, text string) string {
		return string(protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), text))
	}
	tags := make([]protoTagFields, len(s.Tags))
	for i, t := range s.Tags {
		tags[i].tag = field(protoTag, t.Name)
		if t.Unit != "" {
			tags[i].unit = field(protoUnit, t.Unit)
		}
	}
	e.sets[s] = tags
	return tags
}

// DecodeProto reads a protobuf payload whose ts is in the given unit. Unknown
// fields are passed over.
func DecodeProto(payload []byte, unit TimestampUnit) ([]Sample, error) {
	var out []Sample
	err := protoFields(payload, func(num protowire.Number, typ protowire.Type, _ uint64, data []byte) error {
		if num != protoFrames || typ != protowire.BytesType {
			return nil
		}
		if len(out) == MaxSamples {
			return errTooMany
		}
		s, err := decodeProtoFrame(data, unit)
		out = append(out, s)
		return err
	})
	if err != nil {
		return nil, protoError(len(out), err)
	}
	return out, nil
}

func decodeProtoFrame(p []byte, unit TimestampUnit) (Sample, error) {
	var s Sample
	err := protoFields(p, func(num protowire.Number, typ protowire.Type, n uint64, data []byte) error {
		want, known := protoType(num)
		if !known {
			return nil
		}
		if typ != want {
			return errProtoType
		}
		switch num {
		case protoSeq:
			s.Seq = n
		case protoTag:
			s.Tag = string(data)
		case protoTS:
			scale := unit.nanoseconds()
			if ts := int64(n); ts > math.MaxInt64/scale || ts < math.MinInt64/scale {
				return errProtoTS
			}
			s.TS = int64(n) * scale
		case protoQuality:
			if n > uint64(Bad) {
				return errProtoQuality
			}
			s.Quality = Quality(n)
		case protoUnit:
			s.Unit = string(data)
		case protoStatus:
			s.Status = string(data)
		default:
			s.Value = protoValue(num, n, data)
		}
		return nil
	})
	return s, err
}

// protoValue returns the value that one of the oneof's fields holds.
func protoValue(num protowire.Number, n uint64, data []byte) Value {
	switch num {
	case protoBool:
		return BoolValue(n != 0)
	case protoInt:
		return IntValue(protowire.DecodeZigZag(n))
	case protoUint:
		return UintValue(n)
	case protoDouble:
		return FloatValue(math.Float64frombits(n))
	case protoString:
		return StringValue(string(data))
	case protoBytes:
		return BytesValue(data)
	}
	if num == protoArray {
		return ArrayValue(string(data))
	}
	return ObjectValue(string(data))
}

// protoType returns the wire type of a field of Frame.
func protoType(num protowire.Number) (protowire.Type, bool) {
	switch num {
	case protoSeq, protoTS, protoQuality, protoBool, protoInt, protoUint:
		return protowire.VarintType, true
	case protoDouble:
		return protowire.Fixed64Type, true
	case protoTag, protoUnit, protoString, protoBytes, protoObject, protoArray, protoStatus:
		return protowire.BytesType, true
	}
	return 0, false
}
