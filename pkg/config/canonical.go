package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
)

// The canonical form of an item is its decoded fields as JSON: keys sorted,
// numbers in shortest form, no blanks, defaults not filled in, what equals
// "absent" left out. The canonical document is one JSON object of the tables, in
// the order of [Tables], each an object of its items by id, sorted by id.

// Document returns the canonical form of the whole snapshot. Its SHA-256 is
// s.SHA256. [ParseDocument] reads it.
func (s *Snapshot) Document() []byte {
	var b bytes.Buffer
	s.writeTo(&b)
	return b.Bytes()
}

// Items yields the ids and canonical forms of a table's items, sorted by id.
// The bytes are valid until the next step.
func (s *Snapshot) Items(t Table) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		var buf []byte
		each := func(id string, appendTo func([]byte) []byte) bool {
			buf = appendTo(buf[:0])
			return yield(id, buf)
		}
		switch t {
		case Endpoints:
			for _, id := range slices.Sorted(maps.Keys(s.Endpoints)) {
				e := s.Endpoints[id]
				if !each(id, e.appendCanonical) {
					return
				}
			}
		case Drivers:
			for _, id := range slices.Sorted(maps.Keys(s.Drivers)) {
				d := s.Drivers[id]
				if !each(id, d.appendCanonical) {
					return
				}
			}
		case Variables:
			for i := range s.Variables {
				if !each(s.Variables[i].Tag, s.Variables[i].appendCanonical) {
					return
				}
			}
		case Settings:
			for _, id := range slices.Sorted(maps.Keys(s.Settings)) {
				if !each(id, func(b []byte) []byte { return appendValue(b, s.Settings[id]) }) {
					return
				}
			}
		}
	}
}

// Len returns the number of items in a table.
func (s *Snapshot) Len(t Table) int {
	switch t {
	case Endpoints:
		return len(s.Endpoints)
	case Drivers:
		return len(s.Drivers)
	case Variables:
		return len(s.Variables)
	case Settings:
		return len(s.Settings)
	}
	return 0
}

// TableSHA256 returns the hex hash of one table's canonical form.
func (s *Snapshot) TableSHA256(t Table) string {
	h := sha256.New()
	w := &chunked{w: h}
	s.writeTable(w, t)
	w.flush()
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Snapshot) hash() string {
	h := sha256.New()
	s.writeTo(h)
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Snapshot) writeTo(out io.Writer) {
	w := &chunked{w: out}
	for i, t := range Tables() {
		w.text([]string{"{", ",", ",", ","}[i])
		w.buf = appendString(w.buf, string(t))
		w.text(":")
		s.writeTable(w, t)
	}
	w.text("}")
	w.flush()
}

func (s *Snapshot) writeTable(w *chunked, t Table) {
	w.text("{")
	first := true
	for id, item := range s.Items(t) {
		if !first {
			w.text(",")
		}
		first = false
		w.buf = appendString(w.buf, id)
		w.text(":")
		w.buf = append(w.buf, item...)
	}
	w.text("}")
}

// chunked gathers small writes to a writer that can't fail: a buffer or a hash.
type chunked struct {
	w   io.Writer
	buf []byte
}

func (c *chunked) text(s string) {
	c.buf = append(c.buf, s...)
	if len(c.buf) > 32<<10 {
		c.flush()
	}
}

func (c *chunked) flush() {
	_, _ = c.w.Write(c.buf) // neither bytes.Buffer nor hash.Hash returns errors
	c.buf = c.buf[:0]
}

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
	if v.NoMerge {
		o.key("merge")
		o.b = append(o.b, "false"...)
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
		o.text("node", a.Node)
	case AddrS7DB:
		o.text("area", a.Area)
		o.number("db", int64(a.DB))
		o.number("size", int64(a.Size))
		o.number("start", int64(a.Start))
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
