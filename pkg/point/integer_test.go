package point

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestIntegersStayIntegers: a 64-bit value keeps its last bit.
func TestIntegersStayIntegers(t *testing.T) {
	const big = 1<<53 + 1
	i, u := frame.IntValue, frame.UintValue
	for _, tc := range []struct {
		dt    config.DataType
		scale string
		raw   frame.Value
		want  frame.Value
		q     frame.Quality
	}{
		{config.TypeInt64, "value + 1", i(big), i(big + 1), frame.Good},
		{config.TypeInt64, "value - 1", i(big + 1), i(big), frame.Good},
		{config.TypeInt64, "10 - value", i(big), i(10 - big), frame.Good},
		{config.TypeInt64, "-value", i(math.MaxInt64), i(-math.MaxInt64), frame.Good},
		{config.TypeInt64, "-value", i(math.MinInt64), u(1 << 63), frame.Good},
		{config.TypeInt64, "value * 10", i(big), i(10 * big), frame.Good},
		{config.TypeInt64, "value * 10", i(-big), i(-10 * big), frame.Good},
		{config.TypeInt64, "value % 100", i(big), i(big % 100), frame.Good},
		{config.TypeInt64, "value % 100", i(-big), i(-big % 100), frame.Good},
		{config.TypeUint64, "value - 1", u(math.MaxUint64), u(math.MaxUint64 - 1), frame.Good},
		{config.TypeUint64, "value % 1000", u(math.MaxUint64), u(math.MaxUint64 % 1000), frame.Good},
		{config.TypeUint64, "bitand(value, 255)", u(math.MaxUint64 - 1), u(254), frame.Good},
		{config.TypeUint64, "bitand(int(value), 255)", u(math.MaxUint64 - 1), u(254), frame.Good},
		{config.TypeUint64, "bitshr(value, 60)", u(math.MaxUint64), u(15), frame.Good},
		{config.TypeUint64, "bitxor(value, 1)", u(math.MaxUint64), u(math.MaxUint64 - 1), frame.Good},
		{config.TypeUint64, "value > 9223372036854775807 ? value - 1 : 0", u(math.MaxUint64), u(math.MaxUint64 - 1), frame.Good},
		{config.TypeUint64, "value", u(math.MaxUint64), u(math.MaxUint64), frame.Good},
		// What 64 bits do not hold is the nearest float, and says so.
		{config.TypeUint64, "value + 1", u(math.MaxUint64), frame.FloatValue(1 << 64), frame.Uncertain},
		{config.TypeInt64, "value * 1000", i(math.MaxInt64), frame.FloatValue(float64(math.MaxInt64) * 1000), frame.Uncertain},
		// Division and fractions are calculated with floats, as ever.
		{config.TypeInt64, "value / 10", i(25), frame.FloatValue(2.5), frame.Good},
		{config.TypeInt64, "value * 0.5", i(25), frame.FloatValue(12.5), frame.Good},
		// Where every value is exact in a float, a scale makes one.
		{config.TypeUint16, "value * 10", i(25), frame.FloatValue(250), frame.Good},
		{config.TypeUint16, "value % 10", i(25), frame.FloatValue(5), frame.Good},
		{config.TypeUint16, "bitand(value, 3)", i(7), frame.FloatValue(3), frame.Good},
		{config.TypeUint16, "value % value", i(0), frame.Value{}, frame.Bad},
	} {
		v := variable16("x")
		v.Datatype, v.Scale = tc.dt, tc.scale
		got, q := compileTable(t, nil, v).Scale(0, tc.raw)
		if got != tc.want || q != tc.q {
			t.Errorf("%s of %v: %v (kind %d) %v, want %v (kind %d) %v", tc.scale, tc.raw, got, got.Kind(), q, tc.want, tc.want.Kind(), tc.q)
		}
	}
}

func TestInvertIntegers(t *testing.T) {
	const big = 1<<53 + 1
	for _, tc := range []struct {
		scale  string
		v, raw frame.Value
	}{
		{"value + 1", frame.IntValue(big + 1), frame.IntValue(big)},
		{"value * 10", frame.IntValue(10 * big), frame.IntValue(big)},
		{"10 - value", frame.IntValue(10 - big), frame.IntValue(big)},
		{"value * 10", frame.IntValue(25), frame.UintValue(3)}, // rounded, as for every integer
	} {
		v := variable16("x")
		v.Datatype, v.Scale = config.TypeInt64, tc.scale
		if got, err := compileTable(t, nil, v).Invert(0, tc.v); err != nil || got != tc.raw {
			t.Errorf("%s: %v needs %v, %v; want %v", tc.scale, tc.v, got, err, tc.raw)
		}
	}
}

// TestIntegerOracle holds the arithmetic to that of math/big, and of expr where a
// float64 is exact.
func TestIntegerOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 53))
	exprs := map[string]func(v, c *big.Int) *big.Int{
		"value + ": func(v, c *big.Int) *big.Int { return new(big.Int).Add(v, c) },
		"value - ": func(v, c *big.Int) *big.Int { return new(big.Int).Sub(v, c) },
		"value * ": func(v, c *big.Int) *big.Int { return new(big.Int).Mul(v, c) },
		"value % ": func(v, c *big.Int) *big.Int { return new(big.Int).Rem(v, c) },
	}
	for range 2_000 {
		c := int64(rng.Uint64()>>(1+rng.IntN(63))) + 1
		raw := frame.UintValue(rng.Uint64() >> rng.IntN(64))
		if rng.IntN(2) == 0 {
			raw = frame.IntValue(int64(rng.Uint64()) >> rng.IntN(64))
		}
		w, _ := wholeOf(raw)
		v := new(big.Int).SetUint64(w.mag)
		if w.neg {
			v.Neg(v)
		}
		for src, oracle := range exprs {
			s, err := CompileScale(src + strconv.FormatInt(c, 10))
			if err != nil {
				t.Fatal(err)
			}
			want := oracle(v, big.NewInt(c))
			got, ok := s.EvalInteger(raw)
			if fits := want.IsInt64() || want.IsUint64(); ok != fits || ok && got.String() != want.String() {
				t.Fatalf("%s%d of %v: %v, %v; want %v", src, c, raw, got, ok, want)
			}
		}
	}
	for _, src := range []string{"bitand(int(value), 12)", "bitor(int(value), 12)", "bitxor(int(value), 12)", "bitshl(int(value), 3)", "bitshr(int(value), 2)",
		"abs(value)", "min(value, 5)", "max(value, 5)", "value > 3 && value < 9 ? value + 1 : -value", "value == 4 || !(value <= 7) ? 1 : 2", "int(value) % 7"} {
		s, err := CompileScale(src)
		if err != nil || !s.Integer() || s.prog == nil {
			t.Errorf("%s: %v, integer %v", src, err, s != nil && s.Integer())
			continue
		}
		for i := int64(-20); i <= 20; i++ {
			f, err := s.Eval(float64(i))
			got, ok := s.EvalInteger(frame.IntValue(i))
			if n, _ := got.Number(); err != nil || !ok || n != f {
				t.Errorf("%s of %d: %v, %v as integers, %v, %v as floats", src, i, got, ok, f, err)
			}
		}
	}
}
