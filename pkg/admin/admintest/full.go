package admintest

import (
	"fmt"
	"math"
	"reflect"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
)

// Full sets every field of m, and of the messages in it, to a value that is not zero
// and that no other field has, and returns m. Of a oneof it sets the last field.
func Full[M proto.Message](m M) M {
	n := 0
	full(m.ProtoReflect(), &n)
	return m
}

func full(m protoreflect.Message, n *int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !fd.IsList() {
			m.Set(fd, fullValue(fd, n, func() protoreflect.Value { return m.NewField(fd) }))
			continue
		}
		list := m.Mutable(fd).List()
		for range 2 {
			list.Append(fullValue(fd, n, list.NewElement))
		}
	}
}

func fullValue(fd protoreflect.FieldDescriptor, n *int, empty func() protoreflect.Value) protoreflect.Value {
	*n++
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(*n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(math.MaxInt64 - int64(*n)) // more than a double holds
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(*n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(math.MaxUint64 - uint64(*n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(*n) + 0.5)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprintf(`{"n":%d}`, *n)) // also where JSON is expected
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{byte(*n), 0xff})
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(1 + *n%2))
	case protoreflect.MessageKind:
		if fd.Message().FullName() == "google.protobuf.Timestamp" {
			return protoreflect.ValueOfMessage(admin.Timestamp(Epoch().Add(time.Duration(*n) * time.Second)).ProtoReflect())
		}
		v := empty()
		full(v.Message(), n)
		return v
	}
	panic(fmt.Sprintf("%s: no value for a %s", fd.FullName(), fd.Kind()))
}

// Unset names the fields of m, and of the messages in it, that are not set.
func Unset(m proto.Message) []string { return unset(m.ProtoReflect()) }

func unset(m protoreflect.Message) (names []string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case !m.Has(fd):
			if fd.ContainingOneof() == nil {
				names = append(names, string(fd.FullName()))
			}
		case fd.Message() == nil || fd.Message().ParentFile().Package() == "google.protobuf":
		case fd.IsList():
			for i := range m.Get(fd).List().Len() {
				names = append(names, unset(m.Get(fd).List().Get(i).Message())...)
			}
		default:
			names = append(names, unset(m.Get(fd).Message())...)
		}
	}
	return names
}

// FullStruct returns a T whose exported fields, and those of the structs and slices in
// it, are not zero.
func FullStruct[T any]() (t T) {
	n := 0
	fullStruct(reflect.ValueOf(&t).Elem(), &n)
	return t
}

func fullStruct(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(Epoch().Add(time.Duration(*n) * time.Second)))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprint("s", *n))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fullStruct(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fullStruct(v.Field(i), n)
			}
		}
	default:
		switch {
		case v.Type() == reflect.TypeFor[time.Duration]():
			v.SetInt(int64(time.Duration(*n) * time.Millisecond))
		case v.CanInt():
			v.SetInt(int64(*n))
		case v.CanUint():
			v.SetUint(uint64(*n))
		case v.Type() == reflect.TypeFor[error]():
			v.Set(reflect.ValueOf(fmt.Errorf("error %d", *n)))
		}
	}
}
