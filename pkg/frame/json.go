package frame

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// TimestampUnit is the unit of ts in a payload: one of the constants below.
type TimestampUnit string

// The units of ts.
const (
	Milliseconds TimestampUnit = "ms"
	Microseconds TimestampUnit = "us"
	Nanoseconds  TimestampUnit = "ns"
)

// ParseTimestampUnit returns the unit that s names; "" is [Milliseconds].
func ParseTimestampUnit(s string) (TimestampUnit, error) {
	switch u := TimestampUnit(s); u {
	case "":
		return Milliseconds, nil
	case Milliseconds, Microseconds, Nanoseconds:
		return u, nil
	}
	return "", fmt.Errorf("timestamp unit %q: expected ms, us or ns", s)
}

// nanoseconds returns how many nanoseconds the unit has; the zero value counts
// as milliseconds.
func (u TimestampUnit) nanoseconds() int64 {
	switch u {
	case Nanoseconds:
		return 1
	case Microseconds:
		return int64(time.Microsecond)
	}
	return int64(time.Millisecond)
}

// from converts Unix nanoseconds, rounding down.
func (u TimestampUnit) from(ns int64) int64 {
	d := u.nanoseconds()
	q := ns / d
	if ns%d < 0 {
		q-- // times before 1970 round the same way as those after
	}
	return q
}

// JSONEncoder writes frames in the JSON payload's shape (docs/payload.md). It
// keeps the escaped names of the tag sets that it has seen, so that a frame costs
// no allocation. It is for one goroutine.
type JSONEncoder struct {
	unit TimestampUnit
	sets map[*TagSet][]jsonTag
}

// jsonTag is what does not change between the frames of a tag.
type jsonTag struct {
	name string // `,"tag":"…","ts":`
	unit string // `,"unit":"…"}` or `}`
}

// maxCachedSets bounds the names an encoder keeps: a reconfiguration makes a new
// set for each driver, and old ones are of no use once their frames are gone.
const maxCachedSets = 512

// NewJSONEncoder returns an encoder that writes ts in the given unit.
func NewJSONEncoder(unit TimestampUnit) *JSONEncoder {
	return &JSONEncoder{unit: unit, sets: map[*TagSet][]jsonTag{}}
}

// AppendFrame appends frame i of b as one JSON object.
func (e *JSONEncoder) AppendFrame(dst []byte, b *Batch, i int) []byte {
	var ts jsonTime
	return e.appendFrame(dst, b.FirstSeq+uint64(i), &e.tags(b.Set)[b.Frames[i].Tag], b, &b.Frames[i], &ts)
}

// AppendFrames appends all frames of b as JSON objects with a comma behind each:
// a caller that puts brackets around several batches drops the last one.
func (e *JSONEncoder) AppendFrames(dst []byte, b *Batch) []byte {
	var ts jsonTime
	tags := e.tags(b.Set)
	for i := range b.Frames {
		f := &b.Frames[i]
		dst = e.appendFrame(dst, b.FirstSeq+uint64(i), &tags[f.Tag], b, f, &ts)
		dst = append(dst, ',')
	}
	return dst
}

// jsonTime remembers the text of the last time: the values of one answer of a
// device share theirs.
type jsonTime struct {
	ns   int64
	text [20]byte
	n    int
}

func (e *JSONEncoder) appendFrame(dst []byte, seq uint64, tag *jsonTag, b *Batch, f *Frame, ts *jsonTime) []byte {
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, tag.name...)
	if ts.n == 0 || ts.ns != f.TS {
		ts.ns = f.TS
		ts.n = len(strconv.AppendInt(ts.text[:0], e.unit.from(f.TS), 10))
	}
	dst = append(dst, ts.text[:ts.n]...)
	dst = append(dst, `,"value":`...)
	dst = f.Value.AppendJSON(dst)
	switch f.Quality {
	case Good:
		dst = append(dst, `,"quality":"good"`...)
		return append(dst, tag.unit...)
	case Uncertain:
		dst = append(dst, `,"quality":"uncertain"`...)
	default:
		dst = append(dst, `,"quality":"bad"`...)
	}
	if n := int(f.Status); n > 0 && n <= len(b.Statuses) {
		dst = appendJSONString(append(dst, `,"status":`...), b.Statuses[n-1])
	}
	return append(dst, tag.unit...)
}

// tags returns the prepared names of s.
func (e *JSONEncoder) tags(s *TagSet) []jsonTag {
	if tags, ok := e.sets[s]; ok {
		return tags
	}
	if len(e.sets) >= maxCachedSets {
		clear(e.sets)
	}
	tags := make([]jsonTag, len(s.Tags))
	for i, t := range s.Tags {
		name := appendJSONString([]byte(`,"tag":`), t.Name)
		tags[i].name = string(append(name, `,"ts":`...))
		tags[i].unit = "}"
		if t.Unit != "" {
			tags[i].unit = string(appendJSONString([]byte(`,"unit":`), t.Unit)) + "}"
		}
	}
	e.sets[s] = tags
	return tags
}

// AppendJSON appends v as a JSON value: null for none, and for a number that JSON
// cannot write; bytes as a base64 string.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(dst, v.num != 0)
	case KindInt:
		return strconv.AppendInt(dst, int64(v.num), 10)
	case KindUint:
		return strconv.AppendUint(dst, v.num, 10)
	case KindFloat:
		return appendJSONFloat(dst, math.Float64frombits(v.num))
	case KindString:
		return appendJSONString(dst, v.str)
	case KindBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.str))
		return append(dst, '"')
	case KindObject, KindArray:
		return append(dst, v.str...)
	}
	return append(dst, "null"...)
}

// appendJSONFloat appends the shortest decimal that reads back as f.
func appendJSONFloat(dst []byte, f float64) []byte {
	// Most values of a plant have few decimals. n/10^d, rounded once, is the
	// number nearest to that decimal, so when it equals f the digits of n say
	// f exactly, at a third of the price of the general algorithm.
	if a := math.Abs(f); a < 1e9 {
		for d, scale := range [...]float64{1, 10, 100, 1000, 1e4} {
			n := math.RoundToEven(f * scale)
			if n/scale == f && (n != 0 || !math.Signbit(f)) {
				return appendDecimal(dst, int64(n), d)
			}
		}
	} else if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendDecimal appends n/10^decimals.
func appendDecimal(dst []byte, n int64, decimals int) []byte {
	if decimals == 0 {
		return strconv.AppendInt(dst, n, 10)
	}
	if n < 0 {
		dst = append(dst, '-')
		n = -n
	}
	var digits [24]byte
	s := strconv.AppendInt(digits[:0], n, 10)
	whole := len(s) - decimals
	if whole <= 0 {
		dst = append(dst, "0.0000"[:2-whole]...)
		return append(dst, s...)
	}
	dst = append(dst, s[:whole]...)
	dst = append(dst, '.')
	return append(dst, s[whole:]...)
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends s quoted; bytes that are not UTF-8 become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c < ' ':
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, "\ufffd"...)
		}
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
