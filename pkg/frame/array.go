package frame

import (
	"encoding/json"
	"fmt"
	"math"
)

// MapNumbers returns the array v with each of its numbers replaced by what f makes of it;
// all else stays as it is. ok is false if f refused one, or v is no array.
func (v Value) MapNumbers(f func(Value) (Value, bool)) (mapped Value, ok bool) {
	if v.kind != KindArray {
		return v, false
	}
	out, done := make([]byte, 0, len(v.str)), 0
	for {
		from, to := nextNumber(v.str, done)
		out = append(out, v.str[done:from]...)
		if from == to {
			return ArrayValue(string(out)), true
		}
		n, err := ParseJSONValue([]byte(v.str[from:to]))
		if err != nil {
			return v, false
		}
		if n, ok = f(n); !ok {
			return v, false
		}
		out = n.AppendJSON(out)
		done = to
	}
}

// Within reports whether two values are the same but for numbers that differ by band at
// most: numbers, or arrays of the same shape. ok is false where that is no question, as
// for text.
func (v Value) Within(w Value, band float64) (within, ok bool) {
	if a, isNumber := v.Number(); isNumber {
		b, isNumber := w.Number()
		return math.Abs(a-b) <= band, isNumber
	}
	if v.kind != KindArray || w.kind != KindArray {
		return false, false
	}
	for i, j := 0, 0; ; {
		from, to := nextNumber(v.str, i)
		other, end := nextNumber(w.str, j)
		if v.str[i:from] != w.str[j:other] || (from == to) != (other == end) {
			return false, true
		}
		if from == to {
			return true, true
		}
		a, errA := ParseJSONValue([]byte(v.str[from:to]))
		b, errB := ParseJSONValue([]byte(w.str[other:end]))
		x, _ := a.Number()
		y, _ := b.Number()
		if errA != nil || errB != nil || math.Abs(x-y) > band {
			return false, true
		}
		i, j = to, end
	}
}

// nextNumber finds the next number of a JSON text from at, which is outside of a string;
// the text's end twice if there is none.
func nextNumber(json string, at int) (from, to int) {
	for i := at; i < len(json); i++ {
		switch c := json[i]; {
		case c == '"':
			for i++; i < len(json) && json[i] != '"'; i++ {
				if json[i] == '\\' {
					i++
				}
			}
		case c == '-' || c >= '0' && c <= '9':
			for to = i + 1; to < len(json) && isNumeral(json[to]); to++ {
			}
			return i, to
		}
	}
	return len(json), len(json)
}

func isNumeral(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// Elements returns the elements of an array. It fails if v is none, or not JSON.
func (v Value) Elements() ([]Value, error) {
	if v.kind != KindArray {
		return nil, fmt.Errorf("%q is not an array", v.String())
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(v.str), &parts); err != nil {
		return nil, fmt.Errorf("array %q: %w", clip([]byte(v.str)), err)
	}
	list := make([]Value, len(parts))
	for i, part := range parts {
		var err error
		if list[i], err = ParseJSONValue(part); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ArrayOf is the reverse of [Value.Elements].
func ArrayOf(list []Value) Value {
	out := []byte{'['}
	for i, v := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = v.AppendJSON(out)
	}
	return ArrayValue(string(append(out, ']')))
}
