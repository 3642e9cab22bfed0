package point

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// ErrNotInvertible means that a tag's scale cannot be run backwards, so that no
// engineering value can be written to it.
var ErrNotInvertible = errkind.New(errkind.Invalid, "the scale is not a linear function of value, so it cannot be inverted for a write")

// ErrRange means that a value does not fit the tag's data type.
var ErrRange = errkind.New(errkind.Invalid, "out of range")

// Invert turns an engineering value for point i into the raw value to write. For
// integers it rounds to the nearest, for float32 to the nearest float32. It fails
// with [ErrNotInvertible], with [ErrRange], or because v is of the wrong kind: a
// bool takes a boolean or the numbers 0 and 1, a string takes text, a binary
// takes bytes or their base64 text, everything else takes a number.
func (t *Table) Invert(i int, v frame.Value) (frame.Value, error) {
	p := &t.points[i]
	given := v
	v, err := t.withoutFactor(p, v)
	raw := v
	if err == nil {
		raw, err = p.invert(t.vars[i].Datatype, v)
	}
	if err == nil && p.na != nil && slices.Contains(p.na, raw) {
		err = fmt.Errorf("%w: %s is what the device says when it has no value", ErrRange, given)
	}
	if err != nil {
		return frame.Value{}, fmt.Errorf("tag %s: %w", t.vars[i].Tag, err)
	}
	return raw, nil
}

// InvertArray is [Table.Invert] for an array of n values, element by element.
func (t *Table) InvertArray(i int, v frame.Value, n int) (frame.Value, error) {
	list, err := v.Elements()
	if err == nil && len(list) != n {
		err = fmt.Errorf("%w: the array has %d elements, expected %d", ErrRange, len(list), n)
	}
	if err != nil {
		return frame.Value{}, fmt.Errorf("tag %s: %w", t.vars[i].Tag, err)
	}
	for k := range list {
		if list[k], err = t.Invert(i, list[k]); err != nil {
			return frame.Value{}, fmt.Errorf("element %d: %w", k, err)
		}
	}
	return frame.ArrayOf(list), nil
}

func (p *point) invert(dt config.DataType, v frame.Value) (frame.Value, error) {
	switch dt {
	case config.TypeBool:
		return toBool(v)
	case config.TypeBinary:
		return toBytes(v)
	}
	if dt.Text() {
		if v.Kind() != frame.KindString {
			return frame.Value{}, wrongKind(v, "text")
		}
		return v, nil
	}
	if !dt.Numeric() {
		return frame.Value{}, fmt.Errorf("datatype %q cannot be written", dt)
	}
	switch v.Kind() {
	case frame.KindInt, frame.KindUint, frame.KindFloat:
	default:
		return frame.Value{}, wrongKind(v, "a number")
	}
	if p.scale == nil {
		return toNumber(dt, v, v)
	}
	if a, _, ok := p.scale.Linear(); !ok || a == 0 {
		return frame.Value{}, fmt.Errorf("%w: %s", ErrNotInvertible, p.text)
	}
	if p.integer {
		if raw, ok := p.scale.backwardInteger(v); ok {
			return toNumber(dt, raw, v)
		}
	}
	f, _ := v.Number()
	return toNumber(dt, frame.FloatValue(p.scale.backward(f)), v)
}

// toNumber makes raw, a number, fit dt; asked is what the person gave.
func toNumber(dt config.DataType, raw, asked frame.Value) (frame.Value, error) {
	l, integer := dt.Integer()
	if !integer {
		return toFloat(dt, raw, asked)
	}
	outside := func() (frame.Value, error) {
		return frame.Value{}, fmt.Errorf("%w: %s needs the raw value %s, %s holds %d to %d",
			ErrRange, asked, raw, dt, l.Min, l.Max)
	}
	switch raw.Kind() {
	case frame.KindInt:
		if i := raw.Int(); i < l.Min || i > 0 && uint64(i) > l.Max {
			return outside()
		}
		return raw, nil
	case frame.KindUint:
		if raw.Uint() > l.Max {
			return outside()
		}
		return raw, nil
	}
	// As a float, max+1 is exact for every type (2^64 for a uint64, whose max is
	// not), so the upper bound is open. NaN fails both.
	f := math.Round(raw.Float())
	if !(f >= float64(l.Min) && f < float64(l.Max)+1) {
		return outside()
	}
	if f < 0 {
		return frame.IntValue(int64(f)), nil
	}
	return frame.UintValue(uint64(f)), nil
}

// toFloat makes raw, a number, fit a float data type.
func toFloat(dt config.DataType, raw, asked frame.Value) (frame.Value, error) {
	f, _ := raw.Number()
	limit := math.MaxFloat64
	switch dt {
	case config.TypeFloat32:
		limit = math.MaxFloat32
	case config.TypeFloat16:
		limit = 65504
	}
	if !(math.Abs(f) <= limit) {
		return frame.Value{}, fmt.Errorf("%w: %s needs the raw value %s, %s holds %g to %g",
			ErrRange, asked, raw, dt, -limit, limit)
	}
	if dt == config.TypeFloat32 {
		f = float64(float32(f))
	}
	return frame.FloatValue(f), nil
}

func toBool(v frame.Value) (frame.Value, error) {
	if v.Kind() == frame.KindBool {
		return v, nil
	}
	if n, ok := v.Number(); ok && (n == 0 || n == 1) {
		return frame.BoolValue(n == 1), nil
	}
	return frame.Value{}, wrongKind(v, "true, false, 1 or 0")
}

func toBytes(v frame.Value) (frame.Value, error) {
	switch v.Kind() {
	case frame.KindBytes:
		return v, nil
	case frame.KindString:
		p, err := base64.StdEncoding.DecodeString(v.Text())
		if err != nil {
			return frame.Value{}, fmt.Errorf("%q is not base64: %w", v.Text(), err)
		}
		return frame.BytesValue(p), nil
	}
	return frame.Value{}, wrongKind(v, "bytes or their base64 text")
}

func wrongKind(v frame.Value, expected string) error {
	return fmt.Errorf("%q is not a value of this tag, expected %s", v.String(), expected)
}
