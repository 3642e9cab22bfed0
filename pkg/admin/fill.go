package admin

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Fill sets the fields of message m from the fields of the struct from that have the
// same name, AckSeq for ack_seq, and returns m. Embedded structs count as their fields.
// A duration fills the field with _ms behind its name, what has a String method a text. Fields of from that m does not
// have are left out, fields of m that from does not have are left alone. A field of
// another type is a fault of the program and panics.
//
// It is how a part's status gets to the API: a new field is added to the part's type
// and to the schema.
func Fill[M proto.Message](m M, from any) M {
	fill(m.ProtoReflect(), reflect.ValueOf(from))
	return m
}

// FillEach makes a message of each element of list.
func FillEach[M any, PM interface {
	*M
	proto.Message
}, T any](list []T) []*M {
	out := make([]*M, len(list))
	for i := range list {
		out[i] = Fill(PM(new(M)), list[i])
	}
	return out
}

func fill(m protoreflect.Message, from reflect.Value) {
	fields := m.Descriptor().Fields()
	byName := make(map[string]protoreflect.FieldDescriptor, fields.Len())
	for i := range fields.Len() {
		byName[strings.ReplaceAll(string(fields.Get(i).Name()), "_", "")] = fields.Get(i)
	}
	fillBy(byName, m, from)
}

func fillBy(byName map[string]protoreflect.FieldDescriptor, m protoreflect.Message, from reflect.Value) {
	for from.Kind() == reflect.Pointer {
		from = from.Elem()
	}
	for i := range from.NumField() {
		f := from.Type().Field(i)
		name := strings.ToLower(f.Name)
		if f.Anonymous && f.IsExported() && byName[name] == nil {
			fillBy(byName, m, from.Field(i))
			continue
		}
		if f.Type == reflect.TypeFor[time.Duration]() && byName[name] == nil {
			name += "ms"
		}
		if fd := byName[name]; fd != nil && f.IsExported() {
			setField(m, fd, from.Field(i))
		}
	}
}

func setField(m protoreflect.Message, fd protoreflect.FieldDescriptor, v reflect.Value) {
	if v.IsZero() {
		return
	}
	if !fd.IsList() {
		m.Set(fd, wire(fd, v, func() protoreflect.Value { return m.NewField(fd) }))
		return
	}
	list := m.Mutable(fd).List()
	for i := range v.Len() {
		list.Append(wire(fd, v.Index(i), list.NewElement))
	}
}

// wire returns v as the type of fd has it; empty makes a message of that type.
func wire(fd protoreflect.FieldDescriptor, v reflect.Value, empty func() protoreflect.Value) protoreflect.Value {
	switch x := v.Interface().(type) {
	case time.Time:
		return protoreflect.ValueOfMessage(Timestamp(x).ProtoReflect())
	case time.Duration:
		return protoreflect.ValueOfFloat64(Milliseconds(x))
	}
	switch fd.Kind() {
	case protoreflect.MessageKind:
		msg := empty()
		fill(msg.Message(), v)
		return msg
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(min(whole64(v), math.MaxUint32)))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(whole64(v))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(v.Int())
	case protoreflect.StringKind:
		if name, ok := v.Interface().(fmt.Stringer); ok {
			return protoreflect.ValueOfString(name.String())
		}
		if v.Kind() == reflect.String {
			return protoreflect.ValueOfString(v.String())
		}
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(v.Bool())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(v.Float())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(v.Bytes())
	}
	panic(fmt.Sprintf("%s cannot take a %s", fd.FullName(), v.Type()))
}

// whole64 returns a number that is not negative.
func whole64(v reflect.Value) uint64 {
	if v.CanInt() {
		return uint64(max(v.Int(), 0))
	}
	return v.Uint()
}

// Milliseconds returns d in milliseconds, to a microsecond.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Timestamp returns the message of t; nil for the zero time.
func Timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	// By the monotonic clock, if t has its reading: the other one may have been set
	// since, from 1970 in the worst case.
	if t != t.Round(0) {
		t = time.Now().Add(-time.Since(t))
	}
	return timestamppb.New(t)
}

// Time returns the time of m; the zero time for nil.
func Time(m *timestamppb.Timestamp) time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.AsTime()
}
