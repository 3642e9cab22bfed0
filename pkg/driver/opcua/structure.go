package opcua

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// The library drops the body of a structure whose type it does not know. So before it
// decodes an answer, each structure among the values gets a type that it knows, whose
// body is the type and the body of before: a [structure]. That is 4 bytes more for each.

// spot is where a structure stands in a message.
type spot struct {
	from  int // its type
	body  int // the kind of the body, its length, the body
	end   int
	outer int // the length of what it stands in; 0: of nothing
}

const keptNamespace, keptID = 255, 1 // of the type that the library knows

const bytesMore = 4

// keepBodies returns a message with the structures at spots changed as said above.
func keepBodies(b []byte, spots []spot) []byte {
	if len(spots) == 0 {
		return b
	}
	ua.RegisterExtensionObject(ua.NewFourByteNodeID(keptNamespace, keptID), new(structure)) // again and again: that changes nothing
	out := make([]byte, 0, len(b)+bytesMore*len(spots))
	pos, outer, at := 0, 0, 0
	for i, s := range spots {
		if s.outer != outer {
			outer, at = s.outer, s.outer+bytesMore*i
		}
		out = append(out, b[pos:s.from]...)
		if outer != 0 {
			binary.LittleEndian.PutUint32(out[at:], binary.LittleEndian.Uint32(out[at:])+bytesMore)
		}
		out = append(out, byte(ua.NodeIDTypeFourByte), keptNamespace, keptID, 0, ua.ExtensionObjectBinary)
		out = binary.LittleEndian.AppendUint32(out, uint32(s.end-s.body-5+s.body-s.from))
		out = append(out, b[s.from:s.body]...)
		out = append(out, b[s.body+5:s.end]...)
		pos = s.end
	}
	return append(out, b[pos:]...)
}

// structure is a value whose type the library does not know.
type structure struct {
	typ  *ua.NodeID // of its encoding
	body []byte
	json string // once it is unfolded
	err  error  // why it isn't
}

// Decode implements the library's decoder.
func (s *structure) Decode(b []byte) (int, error) {
	typ := new(ua.ExpandedNodeID)
	n, err := typ.Decode(b)
	if err != nil {
		return n, err
	}
	if s.typ, s.body = typ.NodeID, b[n:]; typ.NamespaceURI != "" || typ.ServerIndex != 0 {
		s.err = errors.New("the server names the type of a structure by the URI of its namespace, which this driver cannot read")
	}
	return len(b), nil
}

// Encode implements the library's encoder.
func (s *structure) Encode() ([]byte, error) { return s.body, nil }

// encodeValue encodes a value as the server sent it.
func encodeValue(v *ua.Variant) ([]byte, error) {
	eachStructure(reflect.ValueOf(v), func(object *ua.ExtensionObject, s *structure) { object.TypeID = &ua.ExpandedNodeID{NodeID: s.typ} })
	return v.Encode()
}

// eachStructure calls f for each structure in a value of the library. The walker has
// bounded how deep it goes.
func eachStructure(x reflect.Value, f func(*ua.ExtensionObject, *structure)) {
	if x.Kind() == reflect.Slice {
		switch x.Type().Elem().Kind() {
		case reflect.Slice, reflect.Pointer:
			for i := range x.Len() {
				eachStructure(x.Index(i), f)
			}
		}
		return
	}
	if x.Kind() != reflect.Pointer || x.IsNil() {
		return
	}
	switch x := x.Interface().(type) {
	case *ua.Variant:
		switch x.Type() {
		case ua.TypeIDExtensionObject, ua.TypeIDVariant, ua.TypeIDDataValue:
			eachStructure(reflect.ValueOf(x.Value()), f)
		}
	case *ua.DataValue:
		eachStructure(reflect.ValueOf(x.Value), f)
	case *ua.ExtensionObject:
		if s, ok := x.Value.(*structure); ok {
			f(x, s)
		}
	}
}

// bodyOf decodes a structure of a type that the library has, and that has no values
// within values.
func bodyOf(x *ua.ExtensionObject, encoding uint32, into any) (ok bool) {
	defer func() {
		if recover() != nil { // of the library
			ok = false
		}
	}()
	if x == nil {
		return false
	}
	s, ok := x.Value.(*structure)
	if !ok || s.err != nil || s.typ.Namespace() != 0 || s.typ.StringID() != "" || s.typ.IntID() != encoding {
		return false
	}
	_, err := ua.Decode(s.body, into)
	return err == nil
}

// structure makes a value of a structure.
func (m *meaning) structure(v *ua.Variant, object *ua.ExtensionObject) (frame.Value, error) {
	var text string
	switch s := object.Value.(type) {
	case nil:
		return frame.Value{}, nil
	case *ua.XMLElement:
		if m.datatype == config.TypeJSON || m.datatype == config.TypeString {
			return frame.StringValue(string(*s)), nil
		}
		return frame.Value{}, mismatch(v, m.datatype, "")
	case *structure:
		if s.err != nil {
			return frame.Value{}, s.err
		}
		text = s.json
	}
	switch {
	case text == "":
		return frame.Value{}, errors.New("the server sends a structure, which was not unfolded")
	case m.datatype == config.TypeJSON:
		return frame.ObjectValue(text), nil
	case m.datatype == config.TypeString:
		return frame.StringValue(text), nil
	}
	return frame.Value{}, mismatch(v, m.datatype, "; datatype json reads it")
}

// unfold turns the structures of a message's values into JSON.
func (r *runner) unfold(ctx context.Context, list []*ua.MonitoredItemNotification) error {
	for _, n := range list {
		if n.Value == nil {
			continue
		}
		if err := r.types.unfold(ctx, r.ask, n.Value.Value); err != nil {
			return err
		}
	}
	return nil
}

// unfoldAll turns the structures of values into JSON.
func (t *structTypes) unfoldAll(ctx context.Context, ask asker, values []*ua.DataValue) error {
	for _, dv := range values {
		if err := t.unfold(ctx, ask, dv.Value); err != nil {
			return err
		}
	}
	return nil
}

// unfold turns the structures of a value into JSON, once. Types that are not known yet
// are asked for. An error is one of the connection; what is wrong with a structure is
// noted there.
func (t *structTypes) unfold(ctx context.Context, ask asker, v *ua.Variant) (err error) {
	left := mostElements // of all structures of the value together
	eachStructure(reflect.ValueOf(v), func(_ *ua.ExtensionObject, s *structure) {
		for s.json == "" && s.err == nil && err == nil {
			f := &folded{types: t, left: left}
			text, why := f.object(nil, s, 0)
			if unknown, ok := errors.AsType[*unknownType](why); ok {
				err = t.learn(ctx, ask, unknown.id)
				continue
			}
			s.json, s.err, left = string(text), why, f.left
		}
	})
	return err
}

// mostText bounds the JSON of a structure.
const mostText = 1 << 20

// folded reads structures by their types' definitions (OPC 10000-6, 5.2.6).
type folded struct {
	types *structTypes
	left  int // values
}

// object appends a structure as a JSON object.
func (f *folded) object(dst []byte, s *structure, depth int) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	t, err := f.types.get(s.typ)
	if err != nil {
		return nil, err
	}
	w := newWalker(s.body)
	if dst, err = f.fields(dst, s.body, w, t, depth); err != nil {
		return nil, fmt.Errorf("structure of type %s: %w", t.id, err)
	}
	if len(w.b) > 0 {
		return nil, fmt.Errorf("the server sends a structure of type %s that has %d bytes more than the server's own definition of it", t.id, len(w.b))
	}
	return dst, nil
}

// fields appends what w has next as an object of type t.
func (f *folded) fields(dst, body []byte, w *walker, t *structType, depth int) ([]byte, error) {
	if w.deep(depth) {
		return nil, w.err
	}
	list, mask := t.fields, uint32(0)
	switch {
	case t.union:
		n := w.uint32()
		if int64(n) > int64(len(list)) {
			return nil, fmt.Errorf("choice %d of %d", n, len(list))
		}
		if list = list[:n]; n > 0 {
			list = list[n-1:]
		}
	case t.optional:
		mask = w.uint32()
	}
	dst = append(dst, '{')
	first := true
	for i := range list {
		field := &list[i]
		if t.optional && field.bit != 0 && mask&field.bit == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		var err error
		if dst, err = f.field(append(dst, field.key...), body, w, field, depth); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), w.err
}

// field appends the value of a field.
func (f *folded) field(dst, body []byte, w *walker, field *structField, depth int) ([]byte, error) {
	if !field.array {
		return f.value(dst, body, w, field, depth)
	}
	n := int32(w.uint32())
	if n < 0 {
		return append(dst, "null"...), w.err
	}
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = f.value(dst, body, w, field, depth); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

// value appends one value.
func (f *folded) value(dst, body []byte, w *walker, field *structField, depth int) ([]byte, error) {
	if f.left--; f.left < 0 || len(dst) > mostText {
		return nil, fmt.Errorf("more than %d values, or %d bytes as JSON", mostElements, mostText)
	}
	if field.of != nil {
		return f.fields(dst, body, w, field.of, depth+1)
	}
	from, before := w.at(), len(w.spots)
	w.scalar(field.typ, depth)
	if w.err != nil {
		return nil, w.err
	}
	v, err := variantIn(body[from:w.at()], field.typ, w.spots[before:], from)
	if err != nil {
		return nil, err
	}
	eachStructure(reflect.ValueOf(v), func(_ *ua.ExtensionObject, s *structure) {
		if s.json == "" && err == nil {
			var text []byte
			text, err = f.object(nil, s, depth+1)
			s.json = string(text)
		}
	})
	if err != nil {
		return nil, err
	}
	read, err := (&meaning{datatype: config.TypeJSON}).value(v)
	if err != nil {
		return nil, err
	}
	return read.AppendJSON(dst), nil
}

// variantIn decodes an encoded scalar, which a walker has passed. Its structures are at
// spots of a message of which it begins at from.
func variantIn(b []byte, t ua.TypeID, spots []spot, from int) (v *ua.Variant, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a %s cannot be read: %v", typeName(t), p)
		}
	}()
	if t == ua.TypeIDVariant {
		from++ // it is one
	} else {
		b = append([]byte{byte(t)}, b...)
	}
	own := make([]spot, len(spots))
	for i, s := range spots {
		own[i] = spot{from: s.from - from + 1, body: s.body - from + 1, end: s.end - from + 1}
	}
	v = new(ua.Variant)
	if _, err := v.Decode(keepBodies(b, own)); err != nil {
		return nil, err
	}
	if t == ua.TypeIDDataValue {
		return variantOf(v.Value())
	}
	return v, nil
}
