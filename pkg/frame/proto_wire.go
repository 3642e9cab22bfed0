package frame

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	errProtoType    = errors.New("a field has another type than in frame.proto")
	errProtoTS      = errors.New("ts is out of range for its unit")
	errProtoQuality = errors.New("unknown quality")
)

func protoError(frame int, err error) error {
	return fmt.Errorf("protobuf payload: frame %d: %w", frame, err)
}

// protoFields calls f for each field of a message: n is the value of a varint or
// of a fixed field, data that of a length-delimited one.
func protoFields(p []byte, f func(num protowire.Number, typ protowire.Type, n uint64, data []byte) error) error {
	for len(p) > 0 {
		num, typ, size := protowire.ConsumeTag(p)
		if size < 0 {
			return protowire.ParseError(size)
		}
		p = p[size:]
		var n uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(p)
		case protowire.Fixed64Type:
			n, size = protowire.ConsumeFixed64(p)
		case protowire.BytesType:
			data, size = protowire.ConsumeBytes(p)
		default:
			size = protowire.ConsumeFieldValue(num, typ, p)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		p = p[size:]
		if err := f(num, typ, n, data); err != nil {
			return err
		}
	}
	return nil
}
