package plugin

import (
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// column is how far the values of a response are read.
type column struct {
	v                                    *driverpb.Values
	at                                   int // of kinds
	integers, unsigneds, floats, strings int
}

// checkValues goes through a response as a whole before anything of it counts: it has
// values for n points, and each of its columns is as long as the kinds say.
func checkValues(v *driverpb.Values, n int) error {
	kinds := v.GetKinds()
	if len(kinds) != n {
		return fmt.Errorf("%d values came for %d points", len(kinds), n)
	}
	var count [driverpb.Kind_KIND_JSON + 1]int
	for _, k := range kinds {
		if int(k) >= len(count) {
			return fmt.Errorf("a value of kind %d came, which the contract does not have", k)
		}
		count[k]++
	}
	for _, c := range []struct {
		name      string
		has, need int
	}{
		{"integers", len(v.GetIntegers()), count[driverpb.Kind_KIND_BOOL] + count[driverpb.Kind_KIND_INT]},
		{"unsigneds", len(v.GetUnsigneds()), count[driverpb.Kind_KIND_UINT]},
		{"floats", len(v.GetFloats()), count[driverpb.Kind_KIND_FLOAT]},
		{"texts", len(v.GetTexts()), count[driverpb.Kind_KIND_STRING] + count[driverpb.Kind_KIND_BYTES] + count[driverpb.Kind_KIND_JSON]},
	} {
		if c.has != c.need {
			return fmt.Errorf("%d %s came, the kinds of the values need %d", c.has, c.name, c.need)
		}
	}
	if q := v.GetQualities(); len(q) != 0 && len(q) != n {
		return fmt.Errorf("%d qualities came for %d values", len(q), n)
	}
	if r := v.GetReasons(); len(r) != 0 && len(r) != n {
		return fmt.Errorf("%d reasons came for %d values", len(r), n)
	}
	return nil
}

// next returns the next value of a response that was checked, its quality, and why it is
// not good.
func (c *column) next() (v frame.Value, q frame.Quality, reason string) {
	i := c.at
	c.at++
	if qs := c.v.GetQualities(); len(qs) > 0 {
		switch driverpb.Quality(qs[i]) {
		case driverpb.Quality_QUALITY_UNSPECIFIED:
		case driverpb.Quality_QUALITY_UNCERTAIN:
			q = frame.Uncertain
		default:
			q = frame.Bad
		}
	}
	if rs := c.v.GetReasons(); len(rs) > 0 {
		reason = rs[i]
	}
	switch driverpb.Kind(c.v.GetKinds()[i]) {
	case driverpb.Kind_KIND_BOOL:
		v = frame.BoolValue(c.v.GetIntegers()[c.integers] != 0)
		c.integers++
	case driverpb.Kind_KIND_INT:
		v = frame.IntValue(c.v.GetIntegers()[c.integers])
		c.integers++
	case driverpb.Kind_KIND_UINT:
		v = frame.UintValue(c.v.GetUnsigneds()[c.unsigneds])
		c.unsigneds++
	case driverpb.Kind_KIND_FLOAT:
		v = frame.FloatValue(c.v.GetFloats()[c.floats])
		c.floats++
	case driverpb.Kind_KIND_STRING:
		v = frame.StringValue(string(c.text()))
	case driverpb.Kind_KIND_BYTES:
		v = frame.BytesValue(c.text())
	case driverpb.Kind_KIND_JSON:
		if text := c.text(); !json.Valid(text) {
			return frame.Value{}, frame.Bad, "the driver sent a text that is not JSON"
		} else if first := firstByte(text); first == '[' {
			v = frame.ArrayValue(string(text))
		} else if first == '{' {
			v = frame.ObjectValue(string(text))
		} else {
			return frame.Value{}, frame.Bad, "the driver sent JSON that is neither an object nor an array"
		}
	}
	return v, q, reason
}

func (c *column) text() []byte {
	c.strings++
	return c.v.GetTexts()[c.strings-1]
}

// firstByte is the first byte of valid JSON that is no blank.
func firstByte(text []byte) byte {
	for _, b := range text {
		if b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b
		}
	}
	return 0
}

// fit makes v a value of a data type. wrong says why it is none.
func fit(dt config.DataType, v frame.Value) (fitting frame.Value, wrong string) {
	kind := v.Kind()
	if kind == frame.KindNone || dt == config.TypeJSON && kind != frame.KindString {
		return v, ""
	}
	refused := func() (frame.Value, string) {
		return frame.Value{}, fmt.Sprintf("the driver sent %.64q, which is no %s", v.String(), dt)
	}
	if l, integer := dt.Integer(); integer {
		n, ok := whole(v)
		switch {
		case !ok,
			n.Kind() == frame.KindInt && (n.Int() < l.Min || n.Int() > 0 && uint64(n.Int()) > l.Max),
			n.Kind() == frame.KindUint && n.Uint() > l.Max:
			return refused()
		}
		return n, ""
	}
	switch {
	case dt.Float() && (kind == frame.KindFloat || kind == frame.KindInt || kind == frame.KindUint):
		f, _ := v.Number()
		return frame.FloatValue(f), ""
	case dt == config.TypeBool && kind == frame.KindBool:
		return v, ""
	case dt == config.TypeBool && kind == frame.KindInt && uint64(v.Int()) <= 1:
		return frame.BoolValue(v.Int() == 1), ""
	case dt == config.TypeBinary && kind == frame.KindBytes:
		return v, ""
	case (dt.Text() || dt == config.TypeJSON) && kind == frame.KindString && utf8.ValidString(v.Text()):
		return v, ""
	}
	return refused()
}

// whole returns v as an integer, if it is one.
func whole(v frame.Value) (frame.Value, bool) {
	switch v.Kind() {
	case frame.KindInt, frame.KindUint:
		return v, true
	case frame.KindFloat:
		f := v.Float()
		switch {
		case f != math.Trunc(f): // NaN too
			return v, false
		case f >= math.MinInt64 && f < math.MaxInt64:
			return frame.IntValue(int64(f)), true
		case f >= 0 && f < math.MaxUint64:
			return frame.UintValue(uint64(f)), true
		}
	}
	return v, false
}

// one makes values of a single one.
func one(v frame.Value) *driverpb.Values {
	out := &driverpb.Values{}
	kind := driverpb.Kind_KIND_UNSPECIFIED
	switch v.Kind() {
	case frame.KindBool:
		kind, out.Integers = driverpb.Kind_KIND_BOOL, []int64{0}
		if v.Bool() {
			out.Integers[0] = 1
		}
	case frame.KindInt:
		kind, out.Integers = driverpb.Kind_KIND_INT, []int64{v.Int()}
	case frame.KindUint:
		kind, out.Unsigneds = driverpb.Kind_KIND_UINT, []uint64{v.Uint()}
	case frame.KindFloat:
		kind, out.Floats = driverpb.Kind_KIND_FLOAT, []float64{v.Float()}
	case frame.KindString:
		kind, out.Texts = driverpb.Kind_KIND_STRING, [][]byte{[]byte(v.Text())}
	case frame.KindBytes:
		kind, out.Texts = driverpb.Kind_KIND_BYTES, [][]byte{[]byte(v.Text())}
	case frame.KindObject, frame.KindArray:
		kind, out.Texts = driverpb.Kind_KIND_JSON, [][]byte{[]byte(v.Text())}
	}
	out.Kinds = []byte{byte(kind)}
	return out
}
