package frame

import (
	"encoding/json"
	"math"
	"testing"
)

func TestMapNumbers(t *testing.T) {
	double := func(v Value) (Value, bool) {
		if v.Kind() == KindUint {
			return v, true
		}
		n, _ := v.Number()
		return FloatValue(2 * n), true
	}
	for array, want := range map[string]string{
		`[]`:                                  `[]`,
		`[1,-2.5,1e3]`:                        `[2,-5,2000]`,
		`[[1],[2,[3]]]`:                       `[[2],[4,[6]]]`,
		`["1\"2",true,null,{"a1":1,"b":[2]}]`: `["1\"2",true,null,{"a1":2,"b":[4]}]`,
		`[18446744073709551615]`:              `[18446744073709551615]`,
	} {
		if got, ok := ArrayValue(array).MapNumbers(double); !ok || got != ArrayValue(want) {
			t.Errorf("%s: %s, %v; want %s", array, got, ok, want)
		}
	}
	if _, ok := ArrayValue("[1,2]").MapNumbers(func(v Value) (Value, bool) { return v, v.Int() != 2 }); ok {
		t.Error("a refused number was taken")
	}
	if _, ok := IntValue(1).MapNumbers(double); ok {
		t.Error("a number was taken for an array")
	}
}

func TestWithin(t *testing.T) {
	for _, tc := range []struct {
		a, b       Value
		within, ok bool
	}{
		{IntValue(1), FloatValue(1.5), true, true},
		{IntValue(1), FloatValue(1.6), false, true},
		{ArrayValue("[1,2]"), ArrayValue("[1.5,2]"), true, true},
		{ArrayValue("[1,2]"), ArrayValue("[1,3]"), false, true},
		{ArrayValue("[1,2]"), ArrayValue("[1,2,3]"), false, true},
		{ArrayValue("[1,2]"), ArrayValue("[[1],2]"), false, true},
		{ArrayValue(`["1"]`), ArrayValue(`["2"]`), false, true},
		{ArrayValue("[]"), ArrayValue("[]"), true, true},
		{ArrayValue("[1]"), IntValue(1), false, false},
		{StringValue("1"), IntValue(1), false, false},
	} {
		if within, ok := tc.a.Within(tc.b, 0.5); within != tc.within || ok != tc.ok {
			t.Errorf("%s and %s: %v, %v", tc.a, tc.b, within, ok)
		}
	}
}

// FuzzArray: an array whose numbers are taken for themselves is the same array.
func FuzzArray(f *testing.F) {
	for _, s := range []string{`[1,2.5]`, `[[],["a\\\"1",null]]`, `[18446744073709551615,-0]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseJSONValue([]byte(text))
		if err != nil || v.Kind() != KindArray {
			return
		}
		same, ok := v.MapNumbers(func(n Value) (Value, bool) { return n, true })
		if !ok {
			return // a number beyond 64 bits
		}
		if !json.Valid([]byte(same.Text())) {
			t.Fatalf("%s became %s", text, same)
		}
		if within, ok := v.Within(same, math.MaxFloat64); !within || !ok {
			t.Fatalf("%s differs from %s", v, same)
		}
		if got := ArrayValue(same.Text()); got != same {
			t.Fatal(got)
		}
	})
}
