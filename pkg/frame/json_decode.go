package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// Sample is a frame as a payload carries it: with its names and its number.
type Sample struct {
	Seq     uint64
	Tag     string
	TS      int64 // Unix nanoseconds; no finer than the payload's unit
	Value   Value
	Quality Quality
	Status  string // the device's own reason for a quality that isn't good, "" if it gave none
	Unit    string // "" if none
}

// MaxSamples bounds the frames of a payload that is decoded: the smallest take two
// bytes there and a hundred here.
const MaxSamples = 1 << 20

var errTooMany = fmt.Errorf("a payload of more than %d frames", MaxSamples)

// jsonSample is a frame of a JSON payload.
type jsonSample struct {
	Seq     *uint64         `json:"seq"`
	Tag     *string         `json:"tag"`
	TS      *int64          `json:"ts"`
	Value   json.RawMessage `json:"value"`
	Quality *string         `json:"quality"`
	Status  string          `json:"status"`
	Unit    string          `json:"unit"`
}

// DecodeJSON reads a JSON payload: an array of frames whose ts is in the given
// unit. JSON does not tell integers from whole floats nor bytes from text: whole
// numbers become integers and strings text.
func DecodeJSON(payload []byte, unit TimestampUnit) ([]Sample, error) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	t, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("JSON payload: expected an array of frames: %w", err)
	}
	if t != json.Delim('[') {
		return nil, fmt.Errorf("JSON payload: expected an array of frames, got %v", t)
	}
	var out []Sample
	for dec.More() {
		if len(out) == MaxSamples {
			return nil, errTooMany
		}
		var j jsonSample
		if err := dec.Decode(&j); err != nil {
			return nil, fmt.Errorf("JSON payload: frame %d: %w", len(out), err)
		}
		s, err := j.sample(unit)
		if err != nil {
			return nil, fmt.Errorf("JSON payload: frame %d: %w", len(out), err)
		}
		out = append(out, s)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("JSON payload: the array does not end: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("JSON payload: something follows the array")
	}
	return out, nil
}

func (j *jsonSample) sample(unit TimestampUnit) (Sample, error) {
	for _, k := range []struct {
		name    string
		missing bool
	}{{"seq", j.Seq == nil}, {"tag", j.Tag == nil}, {"ts", j.TS == nil}, {"value", j.Value == nil}, {"quality", j.Quality == nil}} {
		if k.missing {
			return Sample{}, fmt.Errorf("key %s is missing", k.name)
		}
	}
	scale := unit.nanoseconds()
	if *j.TS > math.MaxInt64/scale || *j.TS < math.MinInt64/scale {
		return Sample{}, fmt.Errorf("ts %d is out of range: is the unit %s?", *j.TS, unit)
	}
	q, err := ParseQuality(*j.Quality)
	if err != nil {
		return Sample{}, err
	}
	v, err := ParseJSONValue(j.Value)
	if err != nil {
		return Sample{}, err
	}
	return Sample{Seq: *j.Seq, Tag: *j.Tag, TS: *j.TS * scale, Value: v, Quality: q, Status: j.Status, Unit: j.Unit}, nil
}

// ParseJSONValue reads one JSON value: a whole number that fits becomes an
// integer, null is none, and an object or array is kept as text without the spaces
// between its parts.
func ParseJSONValue(raw []byte) (Value, error) {
	raw = bytes.TrimSpace(raw)
	if !json.Valid(raw) {
		return Value{}, fmt.Errorf("value %q is not JSON", clip(raw))
	}
	switch raw[0] {
	case 'n':
		return Value{}, nil
	case 't', 'f':
		return BoolValue(raw[0] == 't'), nil
	case '{', '[':
		var text bytes.Buffer
		if err := json.Compact(&text, raw); err != nil {
			return Value{}, fmt.Errorf("value %q: %w", clip(raw), err)
		}
		if raw[0] == '[' {
			return ArrayValue(text.String()), nil
		}
		return ObjectValue(text.String()), nil
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return Value{}, fmt.Errorf("value %q: %w", clip(raw), err)
		}
		return StringValue(s), nil
	}
	text := string(raw)
	if i, err := strconv.ParseInt(text, 10, 64); err == nil && (i != 0 || raw[0] != '-') {
		return IntValue(i), nil
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return UintValue(u), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Value{}, fmt.Errorf("value %s is beyond a 64-bit float", clip(raw))
	}
	return FloatValue(f), nil
}

// clip shortens what others sent for an error message.
func clip(b []byte) string {
	if len(b) > 40 {
		return string(b[:40]) + "…"
	}
	return string(b)
}
