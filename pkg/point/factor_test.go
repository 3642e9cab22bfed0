package point

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// sunspec is a value with its factor; the factor's tag sorts before or behind.
func sunspec(factorTag string) []config.Variable {
	v, sf := variable16("m"), variable16(factorTag)
	v.ScaleFrom = factorTag
	sf.Datatype, sf.NA = config.TypeInt16, "32768"
	return []config.Variable{v, sf}
}

// answer decodes raws in the given order and returns the frames by tag.
func answer(table *Table, order []string, raws map[string]frame.Value) map[string]frame.Frame {
	b := table.Begin(len(order))
	for _, tag := range order {
		i, _ := table.Index(tag)
		table.Observe(b, i, raws[tag], frame.Good, 1)
	}
	out := map[string]frame.Frame{}
	if b = table.End(b); b != nil {
		for _, f := range b.Frames {
			out[b.Set.Tags[f.Tag].Name] = f
		}
	}
	return out
}

// TestFactor: value and factor of one answer belong together, in either order.
func TestFactor(t *testing.T) {
	i := frame.IntValue
	for _, sf := range []string{"a_sf", "z_sf"} {
		for _, order := range [][]string{{"m", sf}, {sf, "m"}} {
			table := compileTable(t, nil, sunspec(sf)...)
			for _, c := range []struct {
				raw, factor frame.Value
				want        frame.Value
				q           frame.Quality
			}{
				{i(123), i(-1), frame.FloatValue(12.3), frame.Good},
				{i(123), i(2), frame.FloatValue(12300), frame.Good}, // not with the -1 of before
				{i(123), i(0), i(123), frame.Good},
				{i(123), i(-32768), frame.Value{}, frame.Bad}, // not available
				{i(123), i(31), frame.Value{}, frame.Bad},
				{i(123), i(-3), frame.FloatValue(0.123), frame.Good},
			} {
				got := answer(table, order, map[string]frame.Value{"m": c.raw, sf: c.factor})
				if len(got) != 2 || got["m"].Value != c.want || got["m"].Quality != c.q {
					t.Errorf("%v: %v with factor %v: %+v, want %v %v", order, c.raw, c.factor, got["m"], c.want, c.q)
				}
			}
		}
	}
}

// TestFactorElsewhere: a factor of another answer counts with its last value, and no
// factor is no value.
func TestFactorElsewhere(t *testing.T) {
	table := compileTable(t, nil, sunspec("z")...)
	m, _ := table.Index("m")
	value := map[string]frame.Value{"m": frame.IntValue(5), "z": frame.IntValue(1)}
	if got := answer(table, []string{"m"}, value); got["m"].Quality != frame.Bad || !got["m"].Value.IsNone() {
		t.Errorf("without a factor: %+v", got["m"])
	}
	if _, err := table.Invert(m, frame.IntValue(50)); err == nil || !strings.Contains(err.Error(), "factor") {
		t.Errorf("a write without a factor: %v", err)
	}
	answer(table, []string{"z"}, value)
	if got := answer(table, []string{"m"}, value); got["m"].Value != frame.FloatValue(50) {
		t.Errorf("with a factor of before: %+v", got["m"])
	}
	if v, q := table.Scale(m, frame.IntValue(7)); v != frame.FloatValue(70) || q != frame.Good {
		t.Errorf("read on demand: %v %v", v, q)
	}
	if raw, err := table.Invert(m, frame.IntValue(50)); err != nil || raw != frame.IntValue(5) {
		t.Errorf("write: %v, %v", raw, err)
	}
	// A changed table goes on with the factor, and its answers are its own.
	vars := sunspec("z")
	vars[0].Deadband = 1
	next := compileTable(t, table, vars...)
	if got := answer(next, []string{"m", "z"}, map[string]frame.Value{"m": frame.IntValue(5), "z": frame.IntValue(-1)}); got["m"].Value != frame.FloatValue(0.5) {
		t.Errorf("after a change: %+v", got["m"])
	}
	b := next.Begin(1)
	z, _ := next.Index("z")
	next.Lost(b, z, 2)
	next.End(b)
	if got := answer(next, []string{"m"}, value); got["m"].Quality != frame.Bad {
		t.Errorf("with a lost factor: %+v", got["m"])
	}
}

func TestFactorRefuses(t *testing.T) {
	for want, change := range map[string]func(vars []config.Variable){
		"has no tag nobody":         func(v []config.Variable) { v[0].ScaleFrom = "nobody" },
		"names the tag itself":      func(v []config.Variable) { v[0].ScaleFrom = "m" },
		"has a scale_from":          func(v []config.Variable) { v[1].ScaleFrom = "m" },
		"expected a number":         func(v []config.Variable) { v[1].Datatype, v[1].NA = config.TypeString, "" },
		"is never read":             func(v []config.Variable) { v[1].Access = config.AccessW },
		"a string has none":         func(v []config.Variable) { v[0].Datatype = config.TypeString },
		"not a value of int16":      func(v []config.Variable) { v[1].NA = "65536" },
		"no meaning for a bool":     func(v []config.Variable) { v[1].Datatype = config.TypeBool },
		"1.5 is not a value of int": func(v []config.Variable) { v[1].NA = "1.5" },
	} {
		vars := sunspec("z")
		change(vars)
		if _, err := Compile("d", vars, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestNotAvailable: the raw value with which a device says that it has none is bad
// and no value, whatever the scale makes of it.
func TestNotAvailable(t *testing.T) {
	i, u, f := frame.IntValue, frame.UintValue, frame.FloatValue
	for _, c := range []struct {
		dt   config.DataType
		na   config.Numbers
		none []frame.Value
		some []frame.Value
	}{
		{config.TypeInt16, "32768", []frame.Value{i(-32768)}, []frame.Value{i(-32767), i(32767), i(0)}},
		{config.TypeInt16, "-32768 32767", []frame.Value{i(-32768), i(32767)}, []frame.Value{i(0)}},
		{config.TypeUint16, "65535", []frame.Value{i(65535)}, []frame.Value{i(0), i(65534)}},
		{config.TypeUint16, "0", []frame.Value{i(0)}, []frame.Value{i(1)}},
		{config.TypeInt32, "2147483648", []frame.Value{i(math.MinInt32)}, []frame.Value{i(math.MaxInt32)}},
		{config.TypeUint64, "18446744073709551615", []frame.Value{u(math.MaxUint64)}, []frame.Value{u(math.MaxUint64 - 1)}},
		{config.TypeInt64, "9223372036854775808", []frame.Value{i(math.MinInt64)}, []frame.Value{i(math.MinInt64 + 1)}},
		{config.TypeFloat32, "-9999.9", []frame.Value{f(-9999.9)}, []frame.Value{f(-9999.8)}},
		{config.TypeFloat32, "3.4028235e+38", []frame.Value{f(3.4028235e38)}, []frame.Value{f(0)}},
	} {
		v := variable16("x")
		v.Datatype, v.NA, v.Scale = c.dt, c.na, "value / 10"
		table := compileTable(t, nil, v)
		for _, raw := range c.none {
			if got, q := table.Scale(0, raw); q != frame.Bad || !got.IsNone() {
				t.Errorf("%s, na %s: %v is %v %v", c.dt, c.na, raw, got, q)
			}
			n, _ := raw.Number()
			if c.dt.Float() || math.Abs(n) > 1<<50 {
				continue
			}
			if _, err := table.Invert(0, f(n/10)); !errors.Is(err, ErrRange) {
				t.Errorf("%s, na %s: %v may be written: %v", c.dt, c.na, raw, err)
			}
		}
		for _, raw := range c.some {
			if _, q := table.Scale(0, raw); q != frame.Good {
				t.Errorf("%s, na %s: %v is %v", c.dt, c.na, raw, q)
			}
		}
	}
}

func TestFactorAllocatesNothing(t *testing.T) {
	table := compileTable(t, nil, sunspec("z")...)
	poll := func() {
		b := table.Begin(2)
		table.Observe(b, 0, frame.IntValue(5), frame.Good, 1)
		table.Observe(b, 1, frame.IntValue(-1), frame.Good, 1)
		table.End(b)
	}
	poll()
	if n := testing.AllocsPerRun(100, poll); n != 2 {
		t.Errorf("%v allocations, want 2 (the batch)", n)
	}
}
