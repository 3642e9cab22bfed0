package config

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxTag is the largest number of characters in a tag.
const MaxTag = 128

// ValidTag reports whether s may be a tag: 1 to [MaxTag] letters or digits of any
// script, with the marks that belong to them, _ . and -. It is in Unicode's composed form
// (NFC): else two tags that look the same would be two.
func ValidTag(s string) bool {
	n, ascii := 0, true
	for i, r := range s {
		if r < utf8.RuneSelf {
			if !isIDByte(byte(r)) && r != '.' {
				return false
			}
			n++
			continue
		}
		ascii = false
		broken := r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError))
		if broken || !unicode.In(r, unicode.L, unicode.N) && (i == 0 || !unicode.In(r, unicode.M)) {
			return false
		}
		n++
	}
	return n >= 1 && n <= MaxTag && (ascii || norm.NFC.IsNormalString(s))
}

// decomposed names the first character of s that isn't in Unicode's composed form, and
// what it is in that; ok is false if there is none.
func decomposed(s string) (text string, ok bool) {
	for i := 0; i < len(s) && s[i] < utf8.RuneSelf; i++ {
		if i+1 == len(s) {
			return "", false // ASCII has one form
		}
	}
	for s != "" {
		n := norm.NFC.NextBoundaryInString(s, true)
		if part := norm.NFC.String(s[:n]); part != s[:n] {
			return fmt.Sprintf("%s is written as %+q, and must be %+q: the composed form of Unicode, NFC (macOS and some editors write the other)", part, s[:n], part), true
		}
		s = s[n:]
	}
	return "", false
}

// ValidID reports whether s may be the id of an endpoint, a driver or a
// connector: 1 to 128 of A–Z, a–z, 0–9, _ and -.
func ValidID(s string) bool {
	for i := range len(s) {
		if !isIDByte(s[i]) {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= MaxTag
}

func isIDByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func badField(msg string, path ...string) *FieldError { return &FieldError{Path: path, Msg: msg} }

// decodeEndpoint makes an Endpoint of a tree that its schema accepted.
func decodeEndpoint(m map[string]any) Endpoint {
	e := Endpoint{}
	e.Scheme, _ = m["scheme"].(string)
	e.Host, _ = m["host"].(string)
	if p, ok := m["port"].(int64); ok {
		e.Port = uint16(p)
	}
	if opts, ok := m["opts"].(map[string]any); ok && len(opts) > 0 {
		e.Opts = make(map[string]string, len(opts))
		for k, v := range opts {
			e.Opts[k] = scalarText(v)
		}
	}
	return e
}

// decodeDriver makes a Driver of a tree that its schema accepted.
func decodeDriver(m map[string]any) Driver {
	d := Driver{}
	kind, _ := m["kind"].(string)
	d.Kind = DriverKind(kind)
	d.Path, _ = m["path"].(string)
	d.SHA256, _ = m["sha256"].(string)
	d.EndpointID, _ = m["endpoint_id"].(string)
	d.Proto, _ = m["proto"].(string)
	if cfg, ok := m["cfg"].(map[string]any); ok && len(cfg) > 0 {
		d.Cfg = cfg
	}
	return d
}

// decodeVariable makes a Variable of any tree. It is as strict as the schema,
// and many times faster: tables have up to 100,000 variables, so the schema is
// asked only about those that are refused here, for its explanation.
func decodeVariable(tree any) (v Variable, err *FieldError) {
	m, ok := tree.(map[string]any)
	if !ok {
		return v, badField("expected a mapping")
	}
	for _, k := range [...]string{"tag", "driver_id", "access", "address", "datatype"} {
		if _, have := m[k]; !have {
			return v, badField("missing", k)
		}
	}
	for k, x := range m {
		if err := v.setField(k, x); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (v *Variable) setField(key string, x any) *FieldError {
	s, isText := textOf(x)
	if r := hidden(s); r != 0 {
		return badField(hiddenText(r), key)
	}
	var ok bool
	switch key {
	case "tag":
		v.Tag, ok = s, isText && ValidTag(s)
		if reserved(s) {
			return badField(reservedTag, key)
		}
		if text, is := decomposed(s); is && isText {
			return badField(text, key)
		}
	case "driver_id":
		v.DriverID, ok = s, isText && ValidID(s)
	case "access":
		v.Access = Access(s)
		ok = v.Access.Readable() || v.Access.Writable()
	case "address":
		return v.Address.decode(x, key)
	case "verify_address":
		v.VerifyAddress = new(Address)
		return v.VerifyAddress.decode(x, key)
	case "datatype":
		v.Datatype, ok = dataType(s)
	case "scale":
		v.Scale, ok = s, isText && s != "" && utf8.RuneCountInString(s) <= 1024
	case "unit":
		v.Unit, ok = s, isText && utf8.RuneCountInString(s) <= 64
	case "byte_order":
		v.ByteOrder, ok = s, variableEnums()[key][s]
	case "charset":
		v.Charset, ok = s, variableEnums()[key][s]
	case "pad":
		v.Pad, ok = s, variableEnums()[key][s]
	case "scale_from":
		v.ScaleFrom, ok = s, isText && ValidTag(s)
	case "na":
		v.NA, ok = numbersOf(x)
	case "deadband":
		v.Deadband, ok = numberOf(x)
		ok = ok && v.Deadband >= 0
	case "report":
		v.Report = Report(s)
		ok = v.Report == ReportAlways || v.Report == ReportChange
	case "merge":
		merge, isBool := x.(bool)
		if v.Merge, ok = No, isBool; merge {
			v.Merge = Yes
		}
	case "block":
		return v.Block.decode(x)
	case "heartbeat":
		return setDuration(&v.Heartbeat, key, s)
	case "polling":
		return setDuration(&v.Polling, key, s)
	}
	if !ok {
		return badField(describe(x)+" is not valid here", key)
	}
	return nil
}

func (b *Block) decode(tree any) *FieldError {
	m, ok := tree.(map[string]any)
	if !ok {
		return badField("expected a mapping", "block")
	}
	start, hasStart := m["start"].(int64)
	n, hasLen := m["len"].(int64)
	switch {
	case !hasStart || start < 0 || start > 465536:
		return badField("expected an address", "block", "start")
	case !hasLen || n < 1 || n > 2000:
		return badField("expected 1 to 2000", "block", "len")
	case len(m) > 2:
		return badField("has other keys than start and len", "block")
	}
	b.Start, b.Len = uint32(start), uint16(n)
	return nil
}

func setDuration(to *Duration, key, s string) *FieldError {
	d, err := ParseDuration(s)
	if err != nil {
		return badField(err.Error(), key)
	}
	if d == 0 {
		return badField(zeroDuration, key)
	}
	*to = d
	return nil
}

// textOf returns what a field that wants text holds.
func textOf(x any) (string, bool) {
	if s, ok := x.(string); ok {
		return s, true
	}
	return plainText(x)
}

// wholeOf returns what a field that wants a whole number holds.
func wholeOf(x any) (int64, bool) {
	if s, ok := plainText(x); ok {
		x, _ = resolvePlain(s)
	}
	n, ok := x.(int64)
	return n, ok
}

// numberOf returns what a field that wants a number holds.
func numberOf(x any) (float64, bool) {
	if s, ok := plainText(x); ok {
		x, _ = resolvePlain(s)
	}
	switch x := x.(type) {
	case int64:
		return float64(x), true
	case uint64:
		return float64(x), true
	case float64:
		return x, true
	}
	return 0, false
}

// enumOf returns the values of an enum in a schema, which is their only home.
func enumOf(at []schemaAt) map[string]bool {
	values, _ := annotation(at, "enum")
	out := make(map[string]bool)
	for _, v := range stringList(values) {
		out[v] = true
	}
	return out
}

// variableEnums returns the enums among a variable's fields by their dotted paths.
var variableEnums = sync.OnceValue(func() map[string]map[string]bool {
	enums := make(map[string]map[string]bool)
	root := namedSchema(itemSchema).expand(nil)
	for _, name := range propertyNames(root) {
		at := property(root, name, nil)
		enums[name] = enumOf(at)
		for _, below := range propertyNames(at) {
			enums[name+"."+below] = enumOf(property(at, below, nil))
		}
	}
	return enums
})

// dataType reads a datatype; "float" is another name of float32.
func dataType(s string) (DataType, bool) {
	if s == "float" {
		return TypeFloat32, true
	}
	return DataType(s), variableEnums()["datatype"][s]
}

// DataTypes lists the data types as tables name them, in the schema's order.
func DataTypes() []string {
	values, _ := annotation(property(namedSchema(itemSchema).expand(nil), "datatype", nil), "enum")
	return stringList(values)
}

// numbersOf reads one number or a list of them.
func numbersOf(x any) (Numbers, bool) {
	list, isList := x.([]any)
	if !isList {
		list = []any{x}
	}
	var b []byte
	for i, e := range list {
		if s, ok := plainText(e); ok {
			e, _ = resolvePlain(s)
		}
		switch e.(type) {
		case int64, uint64, float64:
		default:
			return "", false
		}
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendValue(b, e)
	}
	return Numbers(b), len(list) >= 1 && len(list) <= 16
}

// decode reads an address and implies its type.
func (a *Address) decode(tree any, root string) *FieldError {
	m, ok := tree.(map[string]any)
	if !ok {
		return badField("expected a mapping", root)
	}
	for k, x := range m {
		if !a.setField(k, x) {
			return badField(describe(x)+" is not valid here", root, k)
		}
	}
	has := func(k string) bool { _, have := m[k]; return have }
	switch {
	case a.Type == "" && has("node"):
		a.Type = AddrOPCNode
	case a.Type == "" && (has("db") || has("s7")):
		a.Type = AddrS7DB
	case a.Type == "" && has("plugin"):
		a.Type = AddrPlugin
	}
	var needs, takes string
	switch a.Type {
	case AddrHolding, AddrInput:
		needs, takes = "addr", "type addr addr2 len bit byte chars"
	case AddrCoil, AddrDiscrete:
		needs, takes = "addr", "type addr len"
	case AddrOPCNode:
		needs, takes = "node", "type node index"
	case AddrS7DB:
		switch {
		case has("s7"):
			takes = "type s7 size"
		case a.Area == "" || a.Area == "DB":
			needs, takes = "db start", "type area db start size bit"
		default:
			needs, takes = "start", "type area start size bit"
		}
	case AddrPlugin:
		needs, takes = "plugin", "type plugin"
	default:
		return badField("type is missing", root)
	}
	for _, k := range strings.Fields(needs) {
		if !has(k) {
			return badField("missing", root, k)
		}
	}
	allowed := strings.Fields(takes)
	for k := range m {
		found := false
		for _, t := range allowed {
			found = found || t == k
		}
		if !found {
			return badField("does not go with type "+string(a.Type), root, k)
		}
	}
	return nil
}

// pluginAddress is the canonical form of what a driver that isn't built in calls an address: a
// text or an object.
func pluginAddress(x any) (string, bool) {
	if s, isText := textOf(x); isText {
		return string(appendString(nil, s)), s != ""
	}
	m, isObject := x.(map[string]any)
	plain, ok := resolved(x)
	if !isObject || !ok || len(m) == 0 {
		return "", false
	}
	return string(appendValue(nil, plain)), true
}

// resolved returns a copy of tree whose plain scalars are what YAML 1.2 and JSON read them as,
// because no schema is known that says more. It fails where one is no value, and where a text
// holds hidden characters.
func resolved(tree any) (any, bool) {
	switch v := tree.(type) {
	case string:
		return v, hidden(v) == 0
	case plain, json.Number:
		text, _ := plainText(v)
		value, err := resolvePlain(text)
		return value, err == nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			value, ok := resolved(e)
			if !ok || hidden(k) != 0 {
				return nil, false
			}
			m[k] = value
		}
		return m, true
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			value, ok := resolved(e)
			if !ok {
				return nil, false
			}
			list[i] = value
		}
		return list, true
	}
	return tree, true
}

func (a *Address) setField(key string, x any) bool {
	s, isText := textOf(x)
	if hidden(s) != 0 {
		return false
	}
	n, isInt := wholeOf(x)
	within := func(lo, hi int64) bool { return isInt && n >= lo && n <= hi }
	ok := false
	switch key {
	case "type":
		a.Type = AddressType(s)
		switch a.Type {
		case AddrHolding, AddrInput, AddrCoil, AddrDiscrete, AddrOPCNode, AddrS7DB, AddrPlugin:
			ok = true
		}
	case "addr":
		a.Addr, ok = uint32(n), within(0, 465536)
	case "len":
		a.Len, ok = uint16(n), within(1, 2000)
	case "addr2":
		a.Addr2, ok = uint32(n), within(1, 465536)
	case "byte":
		a.Byte, ok = s, variableEnums()["address.byte"][s]
	case "chars":
		a.Chars, ok = uint8(n), within(1, 2)
	case "bit":
		bit := uint8(n)
		a.Bit, ok = &bit, within(0, 15)
	case "node":
		a.Node, ok = s, isText && s != ""
	case "index":
		a.Index, ok = Index(n+1), within(0, math.MaxInt32)
	case "area":
		a.Area, ok = s, isText && s != ""
	case "db":
		a.DB, ok = uint16(n), within(1, math.MaxUint16)
	case "start":
		a.Start, ok = uint32(n), within(0, math.MaxUint32)
	case "size":
		a.Size, ok = uint16(n), within(1, math.MaxUint16)
	case "s7":
		a.S7, ok = s, isText && s != ""
	case "plugin":
		a.Plugin, ok = pluginAddress(x)
	}
	return ok
}

// variableViolations types tree and explains why decodeVariable refused it.
func variableViolations(tree any, refused *FieldError) (any, []violation) {
	var types typer
	tree = types.typed(namedSchema(itemSchema), tree)
	vs := append(types.violations, checkSchema(itemSchema, tree)...)
	m, _ := tree.(map[string]any)
	if tag, _ := m["tag"].(string); reserved(tag) {
		vs = append(vs, violation{path: []string{"tag"}, rule: "tag", msg: reservedTag})
	}
	for _, k := range []string{"heartbeat", "polling"} {
		if s, _ := m[k].(string); isZero(s) {
			vs = append(vs, violation{path: []string{k}, rule: "value", msg: zeroDuration})
		}
	}
	for _, path := range [][]string{nil, {"address"}, {"addr2"}} {
		item, _ := valueAt(tree, path).(map[string]any)
		for k, x := range item {
			if s, _ := x.(string); hidden(s) != 0 {
				vs = append(vs, violation{path: append(slices.Clone(path), k), rule: "hidden-character", msg: hiddenText(hidden(s))})
			}
		}
	}
	if len(vs) == 0 {
		vs = append(vs, violation{path: refused.Path, rule: "value", msg: refused.Msg})
	}
	return tree, vs
}

// What the schema can't say.
const (
	reservedTag  = "tags that begin with sys. are the gateway's own"
	zeroDuration = "must be more than zero; leave it out instead"
)

func reserved(tag string) bool { return strings.HasPrefix(tag, "sys.") }

func isZero(duration string) bool {
	d, err := ParseDuration(duration)
	return err == nil && d == 0
}

// warning is finding for what is doubtful only.
func (v violation) warning(table Table, keyPath []string) Finding {
	f := v.finding(table, keyPath)
	f.Severity = SeverityWarning
	return f
}

// finding makes a Finding of a violation. keyPath leads to the value from the
// root of the table's file.
func (v violation) finding(table Table, keyPath []string) Finding {
	msg := v.msg
	named := slices.Clone(keyPath)
	for i := range named {
		named[i] = shownKey(named[i])
	}
	if table != "" && len(named) > 0 {
		named = named[1:]
	}
	switch {
	case v.missing != "":
		msg = "key " + strings.Join(append(slices.Clone(named), v.missing), ".") + " is missing"
	case !v.onKey && len(named) > 0:
		msg = strings.Join(named, ".") + ": " + msg
	}
	return Finding{Severity: SeverityError, Rule: v.rule, Message: msg, Key: keyOf(table, keyPath), Secret: v.secret}
}
