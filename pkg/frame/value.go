package frame

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
)

// ValueKind is the type of a [Value].
type ValueKind uint8

// The types of values. The numbers are part of the log's format.
const (
	KindNone   ValueKind = 0 // no value known
	KindBool   ValueKind = 1
	KindInt    ValueKind = 2 // int64
	KindUint   ValueKind = 3 // uint64; for what does not fit an int64
	KindFloat  ValueKind = 4 // float64, never NaN or infinite in a published frame
	KindString ValueKind = 5 // UTF-8 text
	KindBytes  ValueKind = 6 // anything
	KindObject ValueKind = 7 // a JSON object: a structure, or what a sys.* frame tells
	KindArray  ValueKind = 8 // a JSON array
)

// Value is a value of one of the kinds above. The zero Value is "none". Values
// are small (32 bytes) and copied; numbers and booleans allocate nothing.
type Value struct {
	num  uint64
	str  string
	kind ValueKind
}

// TextBytes is how many bytes v leads to: those of a text, an object or an array.
func (v Value) TextBytes() int { return len(v.str) }

// BoolValue returns b as a Value.
func BoolValue(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.num = 1
	}
	return v
}

// IntValue returns i as a Value.
func IntValue(i int64) Value { return Value{kind: KindInt, num: uint64(i)} }

// UintValue returns u as a Value: of kind int where it fits, so that equal
// numbers are equal Values.
func UintValue(u uint64) Value {
	if u <= math.MaxInt64 {
		return Value{kind: KindInt, num: u}
	}
	return Value{kind: KindUint, num: u}
}

// FloatValue returns f as a Value.
func FloatValue(f float64) Value { return Value{kind: KindFloat, num: math.Float64bits(f)} }

// StringValue returns s as a Value.
func StringValue(s string) Value { return Value{kind: KindString, str: s} }

// BytesValue returns a copy of p as a Value.
func BytesValue(p []byte) Value { return Value{kind: KindBytes, str: string(p)} }

// ObjectValue returns the JSON object json, which must be valid, as a Value.
func ObjectValue(json string) Value { return Value{kind: KindObject, str: json} }

// ArrayValue returns the JSON array json, which must be valid, as a Value. Arrays and
// objects are kept as text, so that their numbers stay exact and a batch decodes them
// without an allocation each.
func ArrayValue(json string) Value { return Value{kind: KindArray, str: json} }

// Kind returns the type of v.
func (v Value) Kind() ValueKind { return v.kind }

// IsNone reports whether v holds no value.
func (v Value) IsNone() bool { return v.kind == KindNone }

// Bool returns the boolean of a KindBool, false otherwise.
func (v Value) Bool() bool { return v.kind == KindBool && v.num != 0 }

// Int returns the integer of a KindInt, 0 otherwise.
func (v Value) Int() int64 {
	if v.kind != KindInt {
		return 0
	}
	return int64(v.num)
}

// Uint returns the bits of a KindUint or KindInt, 0 otherwise.
func (v Value) Uint() uint64 {
	if v.kind != KindUint && v.kind != KindInt {
		return 0
	}
	return v.num
}

// Float returns the number of a KindFloat, 0 otherwise.
func (v Value) Float() float64 {
	if v.kind != KindFloat {
		return 0
	}
	return math.Float64frombits(v.num)
}

// Text returns the text of a KindString, KindBytes, KindObject or KindArray, "" otherwise.
func (v Value) Text() string { return v.str }

// Number returns any number or boolean (0 or 1) as a float64; ok is false for
// other kinds. Integers above 2^53 lose precision.
func (v Value) Number() (f float64, ok bool) {
	switch v.kind {
	case KindBool:
		return float64(v.num), true
	case KindInt:
		return float64(int64(v.num)), true
	case KindUint:
		return float64(v.num), true
	case KindFloat:
		return math.Float64frombits(v.num), true
	}
	return 0, false
}

// String formats v for people: numbers as in JSON, in shortest form, bytes in base64.
func (v Value) String() string {
	switch v.kind {
	case KindNone:
		return "-"
	case KindBool:
		return strconv.FormatBool(v.num != 0)
	case KindInt:
		return strconv.FormatInt(int64(v.num), 10)
	case KindUint:
		return strconv.FormatUint(v.num, 10)
	case KindFloat:
		f := math.Float64frombits(v.num)
		if math.IsNaN(f) || math.IsInf(f, 0) { // of a device, in no frame
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
		return string(appendJSONFloat(nil, f))
	case KindString, KindObject, KindArray:
		return v.str
	case KindBytes:
		return base64.StdEncoding.EncodeToString([]byte(v.str))
	}
	return fmt.Sprintf("value(%d)", uint8(v.kind))
}
