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
	o.text("byte_order", v.ByteOrder)
	o.text("datatype", string(v.Datatype))
	if v.Deadband != 0 {
		o.key("deadband")
		o.b = appendValue(o.b, v.Deadband)
	}
	o.text("driver_id", v.DriverID)
	if v.Heartbeat != 0 {
		o.text("heartbeat", v.Heartbeat.String())
	}
	if v.Polling != 0 {
		o.text("polling", v.Polling.String())
	}
	o.text("report", string(v.Report))
	o.text("scale", v.Scale)
	o.text("tag", v.Tag)
	o.text("unit", v.Unit)
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
		if a.Bit != nil {
			o.number("bit", int64(*a.Bit))
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

// UnmarshalJSON reads an item as [DecodeEndpoint] does.
func (e *Endpoint) UnmarshalJSON(b []byte) (err error) {
	*e, err = DecodeEndpoint("endpoint", b)
	return err
}

// UnmarshalJSON reads an item as [DecodeDriver] does.
func (d *Driver) UnmarshalJSON(b []byte) (err error) {
	*d, err = DecodeDriver("driver", b)
	return err
}

// UnmarshalJSON reads an item as [DecodeVariable] does.
func (v *Variable) UnmarshalJSON(b []byte) error {
	tree, err := parseJSON(b)
	if err != nil {
		return jsonFinding(string(Variables), err)
	}
	var findings Findings
	*v, findings = variableOfTree(itemName(tree, 0), tree)
	return findings.Err()
}

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

// DecodeEndpoint reads an item of the endpoints table from JSON.
func DecodeEndpoint(id string, b []byte) (Endpoint, error) {
	m, err := decodeItem(Endpoints, id, b)
	if err != nil {
		return Endpoint{}, err
	}
	return decodeEndpoint(m), nil
}

// DecodeDriver reads an item of the drivers table from JSON.
func DecodeDriver(id string, b []byte) (Driver, error) {
	m, err := decodeItem(Drivers, id, b)
	if err != nil {
		return Driver{}, err
	}
	return decodeDriver(m), nil
}

// DecodeSettings reads a group of settings from JSON.
func DecodeSettings(group string, b []byte) (map[string]any, error) {
	return decodeItem(Settings, group, b)
}

// DecodeVariable reads an item of the variables table from JSON. Its tag must be
// the id given.
func DecodeVariable(tag string, b []byte) (Variable, error) {
	tree, err := parseJSON(b)
	if err != nil {
		return Variable{}, jsonFinding(keyOf(Variables, []string{tag}), err)
	}
	v, findings := variableOfTree(tag, tree)
	if findings != nil {
		return Variable{}, findings
	}
	return v, nil
}

func variableOfTree(tag string, tree any) (Variable, Findings) {
	v, refused := decodeVariable(tree)
	if refused == nil && v.Tag != tag {
		refused = badField(fmt.Sprintf("is %s, but the item's name is %s", v.Tag, tag), "tag")
	}
	if refused == nil {
		return v, nil
	}
	var fs Findings
	for _, x := range variableViolations(tree, refused) {
		fs = append(fs, x.finding(Variables, append([]string{tag}, x.path...)))
	}
	fs.Sort()
	return v, fs
}

// decodeItem reads an item of a table that is a mapping.
func decodeItem(t Table, id string, b []byte) (map[string]any, error) {
	tree, err := parseJSON(b)
	if err != nil {
		return nil, jsonFinding(keyOf(t, []string{id}), err)
	}
	if err := checkTree(t, map[string]any{id: tree}).Err(); err != nil {
		return nil, err
	}
	m, _ := tree.(map[string]any)
	return m, nil
}

// checkTree checks a table that has no file.
func checkTree(t Table, tree any) Findings {
	var fs Findings
	for _, v := range checkSchema(string(t)+".schema.json", tree) {
		fs = append(fs, v.finding(t, v.path))
	}
	fs.Sort()
	return fs
}

func jsonFinding(key string, err error) Findings {
	return Findings{{Severity: SeverityError, Rule: "syntax", Key: key, Message: "not JSON: " + err.Error()}}
}

// parseJSON reads one JSON value as a tree.
func parseJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the value at byte %d", dec.InputOffset())
	}
	if n := hugeNumber(tree); n != "" {
		return nil, fmt.Errorf("the number %s is too large", n)
	}
	return normalise(tree), nil
}

// hugeNumber finds a number that no float64 holds, "" if there is none.
func hugeNumber(v any) string {
	switch v := v.(type) {
	case json.Number:
		if _, ok := parseNumber(v.String()); !ok {
			return v.String()
		}
	case map[string]any:
		for _, e := range v {
			if n := hugeNumber(e); n != "" {
				return n
			}
		}
	case []any:
		for _, e := range v {
			if n := hugeNumber(e); n != "" {
				return n
			}
		}
	}
	return ""
}

// ParseDocument reads what [Snapshot.Document] wrote, as strictly as the YAML
// tables are read. Its error is a [Findings].
func ParseDocument(b []byte) (*Snapshot, error) {
	tree, err := parseJSON(b)
	if err != nil {
		return nil, jsonFinding("", err)
	}
	doc, ok := tree.(map[string]any)
	if !ok {
		return nil, jsonFinding("", fmt.Errorf("expected an object of tables, got %s", describe(tree)))
	}
	r := newReader()
	for key, tree := range doc {
		t := Table(key)
		if !slices.Contains(Tables(), t) {
			r.add(Finding{Severity: SeverityError, Rule: "unknown-key", Key: key, Message: "unknown table " + key})
			continue
		}
		if t == Variables {
			r.jsonVariables(tree)
			continue
		}
		if fs := checkTree(t, tree); len(fs) > 0 {
			r.add(fs...)
			continue
		}
		items, _ := tree.(map[string]any)
		for id, item := range items {
			m, _ := item.(map[string]any)
			switch t {
			case Endpoints:
				r.endpoints[id] = decodeEndpoint(m)
			case Drivers:
				r.drivers[id] = decodeDriver(m)
			case Settings:
				r.settings[id] = m
			}
		}
	}
	r.src = nil
	snap, _, findings := r.finish()
	if err := findings.Err(); err != nil {
		return nil, err
	}
	return snap, nil
}

func (r *reader) jsonVariables(tree any) {
	items, ok := tree.(map[string]any)
	if !ok && tree != nil {
		r.add(Finding{Severity: SeverityError, Rule: "type", Key: "variables", Message: "expected an object, got " + describe(tree)})
	}
	r.variables = make([]Variable, 0, len(items))
	for tag, item := range items {
		v, err := variableOfTree(tag, item)
		if err != nil {
			r.add(err...)
			continue
		}
		r.variables = append(r.variables, v)
	}
}
