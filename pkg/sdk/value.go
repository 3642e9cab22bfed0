package sdk

import (
	"fmt"
	"math"

	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

const (
	qualityUncertain = byte(driverpb.Quality_QUALITY_UNCERTAIN)
	qualityBad       = byte(driverpb.Quality_QUALITY_BAD)
)

// Value is a raw value: what the device has, before any scale. The zero Value is none. The
// gateway converts numbers to the variable's data type, and calls those bad that it can't
// have.
type Value struct {
	kind driverpb.Kind
	num  uint64
	text string
}

// Bool returns b as a Value.
func Bool(b bool) Value {
	v := Value{kind: driverpb.Kind_KIND_BOOL}
	if b {
		v.num = 1
	}
	return v
}

// Int returns i as a Value.
func Int(i int64) Value { return Value{kind: driverpb.Kind_KIND_INT, num: uint64(i)} }

// Uint returns u as a Value.
func Uint(u uint64) Value { return Value{kind: driverpb.Kind_KIND_UINT, num: u} }

// Float returns f as a Value. NaN and infinities make a tag bad.
func Float(f float64) Value { return Value{kind: driverpb.Kind_KIND_FLOAT, num: math.Float64bits(f)} }

// Text returns s as a Value.
func Text(s string) Value { return Value{kind: driverpb.Kind_KIND_STRING, text: s} }

// Bytes returns a copy of p as a Value.
func Bytes(p []byte) Value { return Value{kind: driverpb.Kind_KIND_BYTES, text: string(p)} }

// JSON returns a JSON object or array as a Value, for variables of data type json.
func JSON(text string) Value { return Value{kind: driverpb.Kind_KIND_JSON, text: text} }

// IsNone reports whether there is no value.
func (v Value) IsNone() bool { return v.kind == driverpb.Kind_KIND_UNSPECIFIED }

// Bool returns a boolean, false for other values.
func (v Value) Bool() bool { return v.kind == driverpb.Kind_KIND_BOOL && v.num != 0 }

// Int returns an integer; ok is false for other values, and for one that is too large.
func (v Value) Int() (i int64, ok bool) {
	switch v.kind {
	case driverpb.Kind_KIND_INT:
		return int64(v.num), true
	case driverpb.Kind_KIND_UINT:
		return int64(v.num), v.num <= math.MaxInt64
	}
	return 0, false
}

// Uint returns an integer that is not negative; ok is false for other values.
func (v Value) Uint() (u uint64, ok bool) {
	switch v.kind {
	case driverpb.Kind_KIND_INT:
		return v.num, int64(v.num) >= 0
	case driverpb.Kind_KIND_UINT:
		return v.num, true
	}
	return 0, false
}

// Float returns any number; ok is false for other values.
func (v Value) Float() (f float64, ok bool) {
	switch v.kind {
	case driverpb.Kind_KIND_INT:
		return float64(int64(v.num)), true
	case driverpb.Kind_KIND_UINT:
		return float64(v.num), true
	case driverpb.Kind_KIND_FLOAT:
		return math.Float64frombits(v.num), true
	}
	return 0, false
}

// Text returns a text, bytes or JSON, "" for other values.
func (v Value) Text() string { return v.text }

// String formats v for people.
func (v Value) String() string {
	switch v.kind {
	case driverpb.Kind_KIND_UNSPECIFIED:
		return "-"
	case driverpb.Kind_KIND_BOOL:
		return fmt.Sprint(v.num != 0)
	case driverpb.Kind_KIND_INT:
		return fmt.Sprint(int64(v.num))
	case driverpb.Kind_KIND_UINT:
		return fmt.Sprint(v.num)
	case driverpb.Kind_KIND_FLOAT:
		return fmt.Sprint(math.Float64frombits(v.num))
	}
	return v.text
}

// columns makes the contract's columns of values.
func columns(values []Value) *driverpb.Values {
	out := &driverpb.Values{Kinds: make([]byte, len(values))}
	for i := range values {
		v := &values[i]
		out.Kinds[i] = byte(v.kind)
		switch v.kind {
		case driverpb.Kind_KIND_BOOL, driverpb.Kind_KIND_INT:
			out.Integers = append(room(out.Integers, len(values)-i), int64(v.num))
		case driverpb.Kind_KIND_UINT:
			out.Unsigneds = append(room(out.Unsigneds, len(values)-i), v.num)
		case driverpb.Kind_KIND_FLOAT:
			out.Floats = append(room(out.Floats, len(values)-i), math.Float64frombits(v.num))
		case driverpb.Kind_KIND_STRING, driverpb.Kind_KIND_BYTES, driverpb.Kind_KIND_JSON:
			out.Texts = append(room(out.Texts, len(values)-i), []byte(v.text))
		}
	}
	return out
}

// room makes a column for n values when its first one comes: most groups have one kind.
func room[T any](column []T, n int) []T {
	if column == nil {
		return make([]T, 0, n)
	}
	return column
}

// single reads the one value of a request.
func single(v *driverpb.Values) (Value, error) {
	if len(v.GetKinds()) != 1 {
		return Value{}, fmt.Errorf("%d values came, expected one", len(v.GetKinds()))
	}
	out := Value{kind: driverpb.Kind(v.GetKinds()[0])}
	ok := false
	switch out.kind {
	case driverpb.Kind_KIND_BOOL, driverpb.Kind_KIND_INT:
		if ok = len(v.GetIntegers()) == 1; ok {
			out.num = uint64(v.GetIntegers()[0])
		}
	case driverpb.Kind_KIND_UINT:
		if ok = len(v.GetUnsigneds()) == 1; ok {
			out.num = v.GetUnsigneds()[0]
		}
	case driverpb.Kind_KIND_FLOAT:
		if ok = len(v.GetFloats()) == 1; ok {
			out.num = math.Float64bits(v.GetFloats()[0])
		}
	case driverpb.Kind_KIND_STRING, driverpb.Kind_KIND_BYTES, driverpb.Kind_KIND_JSON:
		if ok = len(v.GetTexts()) == 1; ok {
			out.text = string(v.GetTexts()[0])
		}
	}
	if !ok {
		return Value{}, fmt.Errorf("a value of kind %d came without its column", out.kind)
	}
	return out, nil
}
