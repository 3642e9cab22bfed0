package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// The canonical form of an item is its decoded fields as JSON: keys sorted,
// numbers in shortest form, no blanks, defaults not filled in, what equals
// "absent" left out. What a [Document] is in canonical form stands there.

// object appends the fields of a JSON object.
type object struct {
	b    []byte
	used bool
}

func newObject(b []byte) *object { return &object{b: append(b, '{')} }

func (o *object) key(k string) {
	if o.used {
		o.b = append(o.b, ',')
	}
	o.used = true
	o.b = appendString(o.b, k)
	o.b = append(o.b, ':')
}

func (o *object) text(k, v string) {
	if v != "" {
		o.key(k)
		o.b = appendString(o.b, v)
	}
}

func (o *object) number(k string, v int64) {
	o.key(k)
	o.b = strconv.AppendInt(o.b, v, 10)
}

func (o *object) end() []byte { return append(o.b, '}') }

func (e *Endpoint) appendCanonical(b []byte) []byte {
	o := newObject(b)
	o.text("host", e.Host)
	if len(e.Opts) > 0 {
		o.key("opts")
		opts := newObject(o.b)
		for _, k := range slices.Sorted(maps.Keys(e.Opts)) {
			opts.key(k)
			opts.b = appendString(opts.b, e.Opts[k])
		}
		o.b = opts.end()
	}
	if e.Port != 0 {
		o.number("port", int64(e.Port))
	}
	o.text("scheme", e.Scheme)
	return o.end()
}

func (d *Driver) appendCanonical(b []byte) []byte {
	o := newObject(b)
	if len(d.Cfg) > 0 {
		o.key("cfg")
		o.b = appendValue(o.b, d.Cfg)
	}
	o.text("endpoint_id", d.EndpointID)
	o.text("kind", string(d.Kind))
	o.text("path", d.Path)
	o.text("proto", d.Proto)
	o.text("sha256", d.SHA256)
	return o.end()
}

func (v *Variable) appendCanonical(b []byte) []byte {
	o := newObject(b)
	o.text("access", string(v.Access))
	o.key("address")
	o.b = v.Address.appendCanonical(o.b)
	if v.Block.Len > 0 {
		o.key("block")
		block := newObject(o.b)
		block.number("len", int64(v.Block.Len))
		block.number("start", int64(v.Block.Start))
		o.b = block.end()
	}
	o.text("byte_order", v.ByteOrder)
	o.text("charset", v.Charset)
	o.text("datatype", string(v.Datatype))
	if v.Deadband != 0 {
		o.key("deadband")
		o.b = appendValue(o.b, v.Deadband)
	}
	o.text("driver_id", v.DriverID)
	if v.Heartbeat != 0 {
		o.text("heartbeat", v.Heartbeat.String())
	}
	if v.Merge != Open {
		o.key("merge")
		o.b = append(o.b, v.Merge...)
	}
	if v.NA != "" {
		o.key("na")
		o.b = v.NA.appendCanonical(o.b)
	}
	o.text("pad", v.Pad)
	if v.Polling != 0 {
		o.text("polling", v.Polling.String())
	}
	o.text("report", string(v.Report))
	o.text("scale", v.Scale)
	o.text("scale_from", v.ScaleFrom)
	o.text("tag", v.Tag)
	o.text("unit", v.Unit)
	if v.VerifyAddress != nil {
		o.key("verify_address")
		o.b = v.VerifyAddress.appendCanonical(o.b)
	}
	return o.end()
}

func (a *Address) appendCanonical(b []byte) []byte {
	o := newObject(b)
	switch a.Type {
	case AddrOPCNode:
		if n, ok := a.Index.Of(); ok {
			o.number("index", int64(n))
		}
		o.text("node", a.Node)
	case AddrS7DB:
		o.text("area", a.Area)
		if a.Bit != nil {
			o.number("bit", int64(*a.Bit))
		}
		if a.DB != 0 {
			o.number("db", int64(a.DB))
		}
		o.text("s7", a.S7)
		if a.Size != 0 {
			o.number("size", int64(a.Size))
		}
		if a.S7 == "" {
			o.number("start", int64(a.Start))
		}
	case AddrPlugin:
		o.key("plugin")
		o.b = append(o.b, a.Plugin...)
	default:
		o.number("addr", int64(a.Addr))
		if a.Addr2 != 0 {
			o.number("addr2", int64(a.Addr2))
		}
		if a.Bit != nil {
			o.number("bit", int64(*a.Bit))
		}
		o.text("byte", a.Byte)
		if a.Chars != 0 {
			o.number("chars", int64(a.Chars))
		}
		if a.Len != 0 {
			o.number("len", int64(a.Len))
		}
	}
	o.text("type", string(a.Type))
	return o.end()
}

// MarshalJSON returns the canonical form.
func (e Endpoint) MarshalJSON() ([]byte, error) { return e.appendCanonical(nil), nil }

// MarshalJSON returns the canonical form.
func (d Driver) MarshalJSON() ([]byte, error) { return d.appendCanonical(nil), nil }

// MarshalJSON returns the canonical form.
func (v Variable) MarshalJSON() ([]byte, error) { return v.appendCanonical(nil), nil }

// MarshalJSON returns the canonical form.
func (a Address) MarshalJSON() ([]byte, error) { return a.appendCanonical(nil), nil }

// appendValue appends a tree of plain values in canonical form.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendString(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float64:
		return appendFloat(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, e)
		}
		return append(b, ']')
	case map[string]any:
		o := newObject(b)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			o.key(k)
			o.b = appendValue(o.b, v[k])
		}
		return o.end()
	}
	panic(fmt.Sprintf("config: a tree holds a %T", v)) // only decoded trees come here
}

// appendFloat writes f in shortest form, as an integer where it is one.
func appendFloat(b []byte, f float64) []byte {
	if i, ok := wholeNumber(f).(int64); ok {
		return strconv.AppendInt(b, i, 10)
	}
	j, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprintf("config: %v in a tree", f)) // the decoder refuses NaN and infinities
	}
	return append(b, j...)
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			var buf bytes.Buffer
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(s); err != nil {
				panic(fmt.Sprintf("config: encode string: %v", err)) // strings always encode
			}
			return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
