package opcua

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// readable reports whether a variable of the driver can have a data type. Those of
// Modbus's registers make no sense here: the server knows its types.
func readable(t config.DataType) bool {
	switch t {
	case config.TypeBool, config.TypeString, config.TypeBinary, config.TypeFloat32, config.TypeFloat64,
		config.TypeJSON, config.TypeInt8, config.TypeUint8, config.TypeInt16, config.TypeUint16, config.TypeInt32, config.TypeUint32, config.TypeInt64, config.TypeUint64:
		return true
	}
	return false
}

// mismatch is a value of the server that the variable's datatype can't hold.
func mismatch(v *ua.Variant, t config.DataType, why string) error {
	return fmt.Errorf("the server sends %s%s, which is no %s%s", shape(v), clip(v), t, why)
}

// shape names the type of a value: "Double", "Int32[5]".
func shape(v *ua.Variant) string {
	name := typeName(v.Type())
	if isArray(v) {
		return fmt.Sprintf("%s[%d]", name, max(v.ArrayLength(), 0))
	}
	return name
}

// typeName names a built-in type as the standard does.
func typeName(t ua.TypeID) string {
	return strings.NewReplacer("Uint", "UInt", "XML", "Xml", "GUID", "Guid", "NodeID", "NodeId").Replace(strings.TrimPrefix(t.String(), "TypeID"))
}

func clip(v *ua.Variant) string {
	if isArray(v) || v.Type() == ua.TypeIDExtensionObject {
		return ""
	}
	s := fmt.Sprint(v.Value())
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return " " + s
}

func isArray(v *ua.Variant) bool { return v.Has(ua.VariantArrayValues) }

// meaning is what a variable makes of a node's value.
type meaning struct {
	datatype config.DataType
	index    config.Index     // of the one element that is taken
	names    map[int64]string // of an enumeration's values, for datatype string
}

// value makes a value of what the server sends. Numbers stay exact.
func (m *meaning) value(v *ua.Variant) (frame.Value, error) {
	if v == nil || v.Type() == ua.TypeIDNull {
		return frame.Value{}, nil
	}
	if n, ok := m.index.Of(); ok {
		var err error
		if v, err = element(v, n); err != nil {
			return frame.Value{}, err
		}
	}
	if isArray(v) {
		return m.array(v)
	}
	if object, ok := v.Value().(*ua.ExtensionObject); ok {
		return m.structure(v, object)
	}
	if m.names != nil && m.datatype == config.TypeString {
		if n := numberOf(v.Value()); n.Kind() == frame.KindInt {
			if name, ok := m.names[n.Int()]; ok {
				return frame.StringValue(name), nil
			}
		}
	}
	if m.datatype == config.TypeJSON {
		return ownValue(v.Value())
	}
	return scalar(v, m.datatype)
}

// element returns element n of an array: a row, if the array has several dimensions.
func element(v *ua.Variant, n int) (*ua.Variant, error) {
	list := reflect.ValueOf(v.Value())
	if !isArray(v) || list.Kind() != reflect.Slice {
		return nil, fmt.Errorf("address.index: %d, but the server sends %s, which is not an array", n, shape(v))
	}
	if n >= list.Len() {
		return nil, fmt.Errorf("address.index: %d, but the server sends %s: there are 0 to %d", n, shape(v), list.Len()-1)
	}
	return variantOf(list.Index(n).Interface())
}

// variantOf makes a variant of an array's element, which may be one.
func variantOf(x any) (*ua.Variant, error) {
	switch x := x.(type) {
	case *ua.Variant:
		if x == nil {
			return new(ua.Variant), nil
		}
		return x, nil
	case *ua.DataValue:
		if x == nil || x.Value == nil {
			return new(ua.Variant), nil
		}
		return x.Value, nil
	}
	return ua.NewVariant(x)
}

// ownValue makes a value of a scalar as the server has it.
func ownValue(x any) (frame.Value, error) {
	switch y := x.(type) {
	case time.Time, ua.StatusCode:
		text, err := textOf(y)
		return frame.StringValue(text), err
	}
	if n := numberOf(x); !n.IsNone() {
		return n, nil
	}
	text, err := textOf(x)
	return frame.StringValue(text), err
}

// scalar makes a value of a variable with datatype t.
func scalar(v *ua.Variant, t config.DataType) (frame.Value, error) {
	switch {
	case t == config.TypeString:
		text, err := textOf(v.Value())
		return frame.StringValue(text), err
	case t == config.TypeBinary:
		switch x := v.Value().(type) {
		case []byte:
			return frame.BytesValue(x), nil
		case string:
			return frame.BytesValue([]byte(x)), nil
		}
		return frame.Value{}, mismatch(v, t, "")
	}
	n := numberOf(v.Value())
	if n.IsNone() {
		return n, mismatch(v, t, "; datatype string reads it as text")
	}
	switch {
	case t == config.TypeBool:
		if f, _ := n.Number(); f == 0 || f == 1 {
			return frame.BoolValue(f == 1), nil
		}
		return frame.Value{}, mismatch(v, t, "")
	case t.Float():
		f, _ := n.Number()
		return frame.FloatValue(f), nil
	}
	return wholeValue(v, n, t)
}

// wholeValue makes an integer of a number, if it is one within the limits of t.
func wholeValue(v *ua.Variant, n frame.Value, t config.DataType) (frame.Value, error) {
	l, _ := t.Integer()
	switch n.Kind() {
	case frame.KindFloat:
		f := n.Float()
		if math.Trunc(f) != f || math.Abs(f) > 1<<53 {
			return frame.Value{}, mismatch(v, t, "; datatype float64 reads it")
		}
		n = frame.IntValue(int64(f))
	case frame.KindBool:
		if n.Bool() {
			return frame.IntValue(1), nil
		}
		return frame.IntValue(0), nil
	}
	if n.Kind() == frame.KindInt && (n.Int() < l.Min || n.Int() > 0 && uint64(n.Int()) > l.Max) || n.Kind() == frame.KindUint && n.Uint() > l.Max {
		return frame.Value{}, mismatch(v, t, "")
	}
	return n, nil
}

// numberOf returns a number or boolean of the server; none for anything else.
func numberOf(x any) frame.Value {
	switch x := x.(type) {
	case bool:
		return frame.BoolValue(x)
	case int8:
		return frame.IntValue(int64(x))
	case uint8:
		return frame.IntValue(int64(x))
	case int16:
		return frame.IntValue(int64(x))
	case uint16:
		return frame.IntValue(int64(x))
	case int32:
		return frame.IntValue(int64(x))
	case uint32:
		return frame.IntValue(int64(x))
	case int64:
		return frame.IntValue(x)
	case uint64:
		return frame.UintValue(x)
	case float32:
		return frame.FloatValue(float64(x))
	case float64:
		return frame.FloatValue(x)
	case ua.StatusCode:
		return frame.IntValue(int64(uint32(x)))
	case time.Time:
		return frame.IntValue(x.UnixMilli())
	}
	return frame.Value{}
}

// textOf writes a scalar as text: dates as in RFC 3339, node ids as in addresses,
// bytes in base64.
func textOf(x any) (string, error) {
	switch x := x.(type) {
	case string:
		return x, nil
	case ua.XMLElement:
		return string(x), nil
	case []byte:
		return frame.BytesValue(x).String(), nil
	case time.Time:
		if x.IsZero() {
			return "", nil
		}
		return x.UTC().Format(time.RFC3339Nano), nil
	case *ua.LocalizedText:
		return x.Text, nil
	case *ua.QualifiedName:
		if x.NamespaceIndex == 0 {
			return x.Name, nil
		}
		return fmt.Sprintf("%d:%s", x.NamespaceIndex, x.Name), nil
	case *ua.GUID:
		return x.String(), nil
	case *ua.NodeID:
		return x.String(), nil
	case *ua.ExpandedNodeID:
		return x.String(), nil
	case ua.StatusCode:
		return StatusText(x), nil
	case *ua.Variant:
		return textOf(x.Value())
	case *ua.DataValue:
		if x.Value == nil {
			return "", nil
		}
		return textOf(x.Value.Value())
	}
	if n := numberOf(x); !n.IsNone() {
		return n.String(), nil
	}
	return "", fmt.Errorf("the server sends a %T, which this driver cannot read", x)
}

// mostElements bounds an array.
const mostElements = 10_000

// array makes an array of one: of its own values with datatype json, else each element
// must be one of the datatype. With datatype string it is the text of that.
func (m *meaning) array(v *ua.Variant) (frame.Value, error) {
	if m.datatype == config.TypeBinary {
		if bytes, ok := v.Value().(ua.ByteArray); ok {
			return frame.BytesValue(bytes), nil
		}
		return frame.Value{}, mismatch(v, m.datatype, "; datatype json reads it")
	}
	left := mostElements
	of := &meaning{datatype: m.datatype, names: m.names}
	if m.datatype == config.TypeString && m.names == nil {
		of.datatype = config.TypeJSON
	}
	text, err := of.appendJSON(nil, reflect.ValueOf(v.Value()), &left)
	if err != nil {
		return frame.Value{}, fmt.Errorf("an element of %s: %w", shape(v), err)
	}
	if m.datatype == config.TypeString {
		return frame.StringValue(string(text)), nil
	}
	return frame.ArrayValue(string(text)), nil
}

// appendJSON appends an array, or an element of one.
func (m *meaning) appendJSON(dst []byte, x reflect.Value, left *int) ([]byte, error) {
	if x.Kind() == reflect.Slice && x.Type() != reflect.TypeFor[[]byte]() {
		dst = append(dst, '[')
		for i := range x.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = m.appendJSON(dst, x.Index(i), left); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	}
	if *left--; *left < 0 {
		return nil, fmt.Errorf("an array of more than %d elements", mostElements)
	}
	v, err := variantOf(x.Interface())
	if err != nil {
		return nil, err
	}
	e, err := m.value(v)
	if err != nil {
		return nil, err
	}
	return e.AppendJSON(dst), nil
}

// quality reads a status.
func quality(code ua.StatusCode) frame.Quality {
	switch {
	case isBad(code):
		return frame.Bad
	case isUncertain(code):
		return frame.Uncertain
	}
	return frame.Good
}

// sourceTime returns when a value was measured: by the source, else by the server,
// else by us.
func sourceTime(dv *ua.DataValue, now time.Time) int64 {
	for _, t := range []time.Time{dv.SourceTimestamp, dv.ServerTimestamp} {
		if y := t.Year(); y >= 1970 && y < 2262 {
			return t.UnixNano()
		}
	}
	return now.UnixNano()
}

// errCannotWrite marks types that the driver does not write.
var errCannotWrite = errors.New("this driver cannot write it")

// toVariant makes what is written to a node of type t of a raw value, which fits the
// variable's own datatype.
func toVariant(v frame.Value, t ua.TypeID) (*ua.Variant, error) {
	x, err := goValue(v, t)
	if err != nil {
		return nil, err
	}
	return ua.NewVariant(x)
}

func goValue(v frame.Value, t ua.TypeID) (any, error) {
	switch t {
	case ua.TypeIDString:
		return v.String(), nil
	case ua.TypeIDXMLElement:
		return ua.XMLElement(v.String()), nil
	case ua.TypeIDLocalizedText:
		return ua.NewLocalizedText(v.String()), nil
	case ua.TypeIDByteString:
		return []byte(v.Text()), nil
	case ua.TypeIDGUID:
		if g := ua.NewGUID(v.Text()); g != nil && len(v.Text()) == 36 {
			return g, nil
		}
		return nil, fmt.Errorf("%w: %q is not a GUID", point.ErrRange, v.Text())
	case ua.TypeIDDateTime:
		if v.Kind() == frame.KindString {
			at, err := time.Parse(time.RFC3339Nano, v.Text())
			if err != nil {
				return nil, fmt.Errorf("%w: %q is not a time such as 2026-11-27T14:03:00Z", point.ErrRange, v.Text())
			}
			return at, nil
		}
		if v.Kind() == frame.KindInt {
			return time.UnixMilli(v.Int()), nil
		}
	}
	f, ok := v.Number()
	if !ok {
		return nil, fmt.Errorf("%w: the server has a %s there", errCannotWrite, typeName(t))
	}
	switch t {
	case ua.TypeIDBoolean:
		if f == 0 || f == 1 {
			return f == 1, nil
		}
		return nil, outside(v, t)
	case ua.TypeIDFloat:
		if math.Abs(f) > math.MaxFloat32 {
			return nil, outside(v, t)
		}
		return float32(f), nil
	case ua.TypeIDDouble:
		return f, nil
	}
	return goInteger(v, f, t)
}

func outside(v frame.Value, t ua.TypeID) error {
	return fmt.Errorf("%w: the server has a %s there, which cannot hold %s", point.ErrRange, typeName(t), v)
}

func goInteger(v frame.Value, f float64, t ua.TypeID) (any, error) {
	names := map[ua.TypeID]config.DataType{
		ua.TypeIDSByte: config.TypeInt8, ua.TypeIDByte: config.TypeUint8, ua.TypeIDInt16: config.TypeInt16, ua.TypeIDUint16: config.TypeUint16,
		ua.TypeIDInt32: config.TypeInt32, ua.TypeIDUint32: config.TypeUint32, ua.TypeIDInt64: config.TypeInt64, ua.TypeIDUint64: config.TypeUint64,
		ua.TypeIDStatusCode: config.TypeUint32,
	}
	dt, ok := names[t]
	if !ok {
		return nil, fmt.Errorf("%w: the server has a %s there", errCannotWrite, typeName(t))
	}
	l, _ := dt.Integer()
	if v.Kind() == frame.KindFloat {
		if math.Trunc(f) != f || f < float64(l.Min) || f >= float64(l.Max)+1 {
			return nil, outside(v, t)
		}
		if v = frame.IntValue(int64(f)); f >= 1<<63 {
			v = frame.UintValue(uint64(f))
		}
	}
	if v.Kind() == frame.KindBool {
		v = frame.IntValue(int64(f))
	}
	if v.Kind() == frame.KindUint && v.Uint() > l.Max || v.Kind() == frame.KindInt && (v.Int() < l.Min || v.Int() > 0 && uint64(v.Int()) > l.Max) {
		return nil, outside(v, t)
	}
	i, u := v.Int(), v.Uint()
	switch t {
	case ua.TypeIDSByte:
		return int8(i), nil
	case ua.TypeIDByte:
		return uint8(i), nil
	case ua.TypeIDInt16:
		return int16(i), nil
	case ua.TypeIDUint16:
		return uint16(i), nil
	case ua.TypeIDInt32:
		return int32(i), nil
	case ua.TypeIDUint32:
		return uint32(i), nil
	case ua.TypeIDInt64:
		return i, nil
	case ua.TypeIDStatusCode:
		return ua.StatusCode(uint32(i)), nil
	}
	return u, nil
}
