package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// FieldError is what is wrong with one field of a value. Path leads to the field
// from the item that holds it: cfg, polling.
type FieldError struct {
	Path []string
	Msg  string // what is wrong and what was expected
	Err  error  // a sentinel that callers branch on, or nil
}

// Unwrap returns Err.
func (e *FieldError) Unwrap() error { return e.Err }

// Error begins with the field: "cfg.polling: expected …".
func (e *FieldError) Error() string {
	if len(e.Path) == 0 {
		return e.Msg
	}
	return strings.Join(e.Path, ".") + ": " + e.Msg
}

// FieldErrorf returns a [FieldError] of the field that key names, with dots
// between its steps.
func FieldErrorf(key, format string, args ...any) *FieldError {
	return &FieldError{Path: strings.Split(key, "."), Msg: fmt.Sprintf(format, args...)}
}

// FieldErrors returns the [FieldError]s that err joins or wraps, in their order.
// What is none of them becomes one without a path.
func FieldErrors(err error) []*FieldError {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var list []*FieldError
		for _, part := range joined.Unwrap() {
			list = append(list, FieldErrors(part)...)
		}
		return list
	}
	if e, ok := errors.AsType[*FieldError](err); ok {
		return []*FieldError{e}
	}
	return []*FieldError{{Msg: err.Error()}}
}

// Decode makes a T of value as the schema of that file name ("drivers/modbus")
// describes it: fields that value lacks have the schema's defaults, and what the
// schema refuses is an error. The schema is the only place where a setting's type,
// default and bounds stand. root is the path of value, for the errors.
//
// The fields of T have the keys as their json tags. Durations go into [time.Duration], of
// a number too if its tag unit ("ms") says what it counts; sizes go into whole numbers.
//
// T is a struct whose fields have a json tag each, or are embedded, or have the
// tag "-". Durations are time.Duration; a type of its own reads itself from text.
// Decode fails with all that is wrong, joined; each part is a [FieldError].
func Decode[T any](schema string, value map[string]any, root ...string) (*T, error) {
	tree, _ := goNumbers(value).(map[string]any)
	if tree == nil {
		tree = map[string]any{}
	}
	var errs []error
	for _, v := range checkSchema(schema+".schema.json", tree) {
		errs = append(errs, v.fieldError(root))
	}
	fields := Fields(schema, tree)
	for i := range fields {
		if f := &fields[i]; f.Default != nil && ValueAt(tree, f.Path) == nil {
			SetAt(tree, f.Path, CloneTree(f.Default))
		}
	}
	for _, e := range CheckOrder(fields, tree) {
		errs = append(errs, &FieldError{Path: append(append([]string{}, root...), e.Path...), Msg: e.Msg})
	}
	out := new(T)
	if len(errs) == 0 {
		errs = assignStruct(reflect.ValueOf(out).Elem(), tree, root)
	}
	return out, errors.Join(errs...)
}

// CheckOrder finds the numbers in a tree with its defaults that must be less than the one
// of another key, and are not.
func CheckOrder(fields []Field, tree map[string]any) (errs []*FieldError) {
	for i := range fields {
		f := &fields[i]
		if f.LessThan == "" {
			continue
		}
		beside := append(append([]string{}, f.Path[:len(f.Path)-1]...), f.LessThan)
		v, limit := ValueAt(tree, f.Path), ValueAt(tree, beside)
		a, okA := numberOf(v)
		b, okB := numberOf(limit)
		if okA && okB && !(a < b) {
			errs = append(errs, &FieldError{Path: f.Path, Msg: fmt.Sprintf("expected less than %s (%v), got %v", f.LessThan, limit, v)})
		}
	}
	return errs
}

// fieldError words a violation for a value that stands at root.
func (v violation) fieldError(root []string) *FieldError {
	e := &FieldError{Path: append(append([]string{}, root...), v.path...), Msg: v.msg}
	if v.missing != "" {
		e.Path, e.Msg = append(e.Path, v.missing), "missing"
	}
	return e
}

// goNumbers copies a tree with Go's own integers and whole floats as int64, as
// tables have them.
func goNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = goNumbers(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = goNumbers(e)
		}
		return l
	case float64:
		return wholeNumber(v)
	}
	switch n := reflect.ValueOf(v); {
	case n.IsValid() && n.CanInt():
		return n.Int()
	case n.IsValid() && n.CanUint() && n.Uint() <= math.MaxInt64:
		return int64(n.Uint())
	}
	return v
}

// assignStruct sets the fields of a struct from a tree that its schema accepted.
func assignStruct(to reflect.Value, tree map[string]any, path []string) (errs []error) {
	for i := range to.NumField() {
		f := to.Type().Field(i)
		if f.Anonymous {
			errs = append(errs, assignStruct(to.Field(i), tree, path)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		v, ok := tree[name]
		if name == "" || name == "-" || !ok {
			continue
		}
		at := append(append([]string{}, path...), name)
		if unit := f.Tag.Get("unit"); unit != "" {
			v = scalarText(v) + unit
		}
		if m, isMap := v.(map[string]any); isMap && f.Type.Kind() == reflect.Struct {
			errs = append(errs, assignStruct(to.Field(i), m, at)...)
		} else if err := assign(to.Field(i), v); err != nil {
			errs = append(errs, &FieldError{Path: at, Msg: err.Error()})
		}
	}
	return errs
}

// assign sets one value.
func assign(to reflect.Value, v any) error {
	if to.Kind() == reflect.Pointer {
		p := reflect.New(to.Type().Elem())
		to.Set(p)
		return assign(p.Elem(), v)
	}
	if to.Type() == reflect.TypeFor[time.Duration]() {
		d, err := ParseDuration(scalarText(v))
		to.SetInt(int64(d))
		return err
	}
	if t, ok := to.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return t.UnmarshalText([]byte(scalarText(v)))
	}
	switch x := v.(type) {
	case bool:
		if to.Kind() == reflect.Bool {
			to.SetBool(x)
			return nil
		}
	case string:
		if to.Kind() == reflect.String {
			to.SetString(x)
			return nil
		}
		if to.CanUint() {
			var n Size
			err := n.UnmarshalText([]byte(x))
			to.SetUint(uint64(n))
			return err
		}
	case int64, uint64, float64:
		if done := assignNumber(to, x); done {
			return nil
		}
	case map[string]any:
		if to.Kind() == reflect.Struct {
			return errors.Join(assignStruct(to, x, nil)...)
		}
		if to.Kind() == reflect.Map {
			return assignMap(to, x)
		}
	case []any:
		if to.Kind() == reflect.Slice {
			s := reflect.MakeSlice(to.Type(), len(x), len(x))
			for i, e := range x {
				if err := assign(s.Index(i), e); err != nil {
					return fmt.Errorf("item %d: %w", i+1, err)
				}
			}
			to.Set(s)
			return nil
		}
	}
	return fmt.Errorf("%s does not fit %s", describe(v), to.Type())
}

// assignMap sets a map with text as keys.
func assignMap(to reflect.Value, x map[string]any) error {
	m := reflect.MakeMapWithSize(to.Type(), len(x))
	for key, v := range x {
		e := reflect.New(to.Type().Elem()).Elem()
		if err := assign(e, v); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		m.SetMapIndex(reflect.ValueOf(key), e)
	}
	to.Set(m)
	return nil
}

// assignNumber sets a number that to can hold.
func assignNumber(to reflect.Value, v any) bool {
	n, whole := v.(int64)
	u, isUint := v.(uint64)
	f, _ := numberOf(v)
	switch {
	case to.CanInt() && whole && !to.OverflowInt(n):
		to.SetInt(n)
	case to.CanUint() && whole && n >= 0 && !to.OverflowUint(uint64(n)):
		to.SetUint(uint64(n))
	case to.CanUint() && isUint && !to.OverflowUint(u):
		to.SetUint(u)
	case to.CanFloat():
		to.SetFloat(f)
	default:
		return false
	}
	return true
}

// Encode is the opposite of [Decode]: the tree of a struct whose fields have the keys as
// their json tags.
func Encode(from any) map[string]any {
	v := reflect.Indirect(reflect.ValueOf(from))
	tree := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		switch x := v.Field(i); {
		case x.Type() != reflect.TypeFor[time.Duration]():
			tree[name] = bare(x)
		case f.Tag.Get("unit") != "":
			unit, err := time.ParseDuration("1" + f.Tag.Get("unit"))
			if err != nil {
				panic(err) // of the struct's own tag
			}
			tree[name] = x.Int() / int64(unit)
		default:
			tree[name] = Duration(x.Int()).String()
		}
	}
	return tree
}

// bare is a value without a name of its own.
func bare(x reflect.Value) any {
	switch {
	case x.Kind() == reflect.String:
		return x.String()
	case x.Kind() == reflect.Bool:
		return x.Bool()
	}
	return x.Interface() // Decode knows numbers of any kind
}
