package point

import (
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/expr-lang/expr"
)

// oracle evaluates src as expr does, without any of this package's shortcuts.
func oracle(t *testing.T, src string, value float64) float64 {
	t.Helper()
	prog, err := expr.Compile(src, expr.Env(map[string]any{"value": 0.0}), expr.AsFloat64())
	if err != nil {
		t.Fatalf("expr does not compile %q: %v", src, err)
	}
	out, err := expr.Run(prog, map[string]any{"value": value})
	if err != nil {
		t.Fatalf("expr does not run %q: %v", src, err)
	}
	return out.(float64)
}

func TestLinearScale(t *testing.T) {
	raws := []float64{0, 1, -1, 123, 4095, 32767, -32768, 65535, 0.1, 1e-300, 1e300, math.Pi, math.MaxInt64}
	for _, tc := range []struct {
		src  string
		a, b float64
	}{
		{"value", 1, 0},
		{"value / 10", 0.1, 0},
		{"value/100.0", 0.01, 0},
		{"value*0.1 + 3", 0.1, 3},
		{"10 * value", 10, 0},
		{"-value", -1, 0},
		{"+value", 1, 0},
		{"10 - value", -1, 10},
		{"3 + value", 1, 3},
		{"(value - 32) * 5/9", 5.0 / 9, -32 * 5.0 / 9},
		{"(value - 32) * (5/9)", 5.0 / 9, -32 * (5.0 / 9)},
		{"-(2 * (value + 1)) / 4 - 7", -0.5, -7.5},
		{"4 + (value / 27648.0) * 16", 16.0 / 27648, 4},
		{"(value - 6400) / (32000 - 6400) * (150 - -50) - 50", 200.0 / 25600, -100},
		{"value * -2", -2, 0},
		{"value / 3 / 7", 1.0 / 21, 0},
		{"value * 1e3", 1e3, 0},
		{"value * 0", 0, 0},
	} {
		s, err := CompileScale(tc.src)
		if err != nil {
			t.Errorf("%s: %v", tc.src, err)
			continue
		}
		a, b, ok := s.Linear()
		if !ok || math.Abs(a-tc.a) > 1e-12 || math.Abs(b-tc.b) > 1e-12 {
			t.Errorf("%s: Linear = %v, %v, %v, want %v, %v", tc.src, a, b, ok, tc.a, tc.b)
		}
		for _, raw := range raws {
			got, err := s.Eval(raw)
			want := oracle(t, tc.src, raw)
			if err != nil || math.Float64bits(got) != math.Float64bits(want) {
				t.Errorf("%s at %v = %v, %v, expr says %v", tc.src, raw, got, err, want)
			}
		}
		for _, raw := range []float64{0, 1, 123, 65535, -32768} {
			y, _ := s.Eval(raw)
			if back := s.backward(y); tc.a != 0 && math.Round(back) != raw {
				t.Errorf("%s: backward(%v) = %v, want %v", tc.src, y, back, raw)
			}
		}
	}
}

// A reading of 123 with "value / 10" is 12.3, not 12.299999999999999 or
// 12.3000…01: for every register value.
func TestTenthsAreExact(t *testing.T) {
	s, err := CompileScale("value / 10")
	if err != nil {
		t.Fatal(err)
	}
	for raw := 0; raw <= math.MaxUint16; raw++ {
		if got, _ := s.Eval(float64(raw)); got != float64(raw)/10 {
			t.Fatalf("%d / 10 = %v", raw, got)
		}
	}
}

// TestScale32 has scales run as where int has 32 bits: values are right, or refused.
func TestScale32(t *testing.T) {
	for src, want := range map[string]float64{ // of 2^31+5; NaN: refused
		"bitand(int(value), 0xFF)":                         5,
		"bitshr(int(value), 8)":                            1 << 23,
		"value > 100 ? value * (65536 * 65536) : value":    (1<<31 + 5) * (1 << 32),
		"value > 100 ? value * 0.5 + 65536 * 65536 : 0.25": math.NaN(),
		"bitand(int(value * 0.5), 0xFF)":                   math.NaN(),
		"max(value * 0.5, 7)":                              1<<30 + 2.5,
	} {
		s, err := compileScale(src, 32)
		if (err != nil) != math.IsNaN(want) {
			t.Errorf("%s: %v", src, err)
		}
		if err != nil {
			continue
		}
		if got, err := s.Eval(1<<31 + 5); err != nil && !strings.Contains(err.Error(), "64 bits") || err == nil && got != want {
			t.Errorf("%s: %v, %v; want %v", src, got, err, want)
		}
	}
}

func TestNonLinearScale(t *testing.T) {
	for _, tc := range []struct {
		src  string
		raw  float64
		want float64
	}{
		{"value * value", 3, 9},
		{"value ** 2 + 1", 3, 10},
		{"value + value * 0.5", 2, 3},
		{"100 / value", 4, 25},
		{"value > 100 ? 100 : value", 250, 100},
		{"value > 100 ? 100 : value", 25, 25},
		{"max(min(value, 100), 0)", -3, 0},
		{"round(value)", 2.6, 3},
		{"abs(value)", -2, 2},
		{"sqrt(value) * 10", 16, 40},
		{"log10(value)", 1000, 3},
		{"log(exp(value))", 2, 2},
		{"sqrt(4) * value * value", 3, 18},
		{"bitand(int(value), 0x0F)", 0xAB, 0x0B},
		{"bitshr(int(value), 8)", 0xAB00, 0xAB},
		{"value * 9007199254740993", 1, 9007199254740993},
	} {
		s, err := CompileScale(tc.src)
		if strconv.IntSize == 32 && strings.Contains(tc.src, "9007199254740993") {
			if err == nil {
				t.Errorf("%s: taken where int has 32 bits", tc.src)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.src, err)
			continue
		}
		if _, _, ok := s.Linear(); ok {
			t.Errorf("%s is said to be linear", tc.src)
		}
		got, err := s.Eval(tc.raw)
		if err != nil || math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("%s at %v = %v, %v, want %v", tc.src, tc.raw, got, err, tc.want)
		}
	}
}

func TestScaleFailsAtRun(t *testing.T) {
	s, err := CompileScale("10 % int(value) * value")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Eval(0); err == nil {
		t.Fatalf("10 %% 0 = %v, want an error", got)
	}
	if got, err := s.Eval(4); err != nil || got != 8 {
		t.Fatalf("after an error: %v, %v, want 8", got, err)
	}
}

func TestBadScale(t *testing.T) {
	for _, tc := range []struct{ src, want string }{
		{"", "scale"},
		{"value /", "column"},
		{"foo / 10", "unknown name foo at column 1"},
		{"10", `does not use "value"`},
		{"value / 0", "divides by zero"},
		{"value / (1 - 1)", "divides by zero"},
		{`"text"`, "not allowed"},
		{"value > 3", "expected float64"},
		{"now().Unix() + value", "now"},
		{"sum(map(1..1000000, # * value))", "not allowed"},
		{"value; value", "not allowed"},
		{"let x = value; x", "not allowed"},
		{"value in [1, 2] ? 1 : 2", "not allowed"},
		{strings.Repeat("value+", 300) + "1", "bytes long"},
		{strings.Repeat("-(", 500) + "value", "column"},
	} {
		_, err := CompileScale(tc.src)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", tc.src, err, tc.want)
		}
	}
}

func TestScaleConcurrently(t *testing.T) {
	s, err := CompileScale("value ** 2")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			x := float64(g + 1)
			for range 200 {
				if got, err := s.Eval(x); err != nil || got != x*x {
					t.Errorf("%v ** 2 = %v, %v", x, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// FuzzCompileScale holds that no expression makes the compiler panic, that a
// linear one gives expr's own result to the bit, and that no error has two lines.
func FuzzCompileScale(f *testing.F) {
	for _, s := range []string{"value / 10", "(value - 32) * 5/9", "-value", "1 - 2*value", "value ** 2", "abs(value)", "value*-0"} {
		f.Add(s, 123.0)
	}
	f.Fuzz(func(t *testing.T, src string, raw float64) {
		s, err := CompileScale(src)
		if err != nil {
			if i := strings.IndexByte(err.Error(), '\n'); i >= 0 {
				t.Fatalf("error with two lines: %v", err)
			}
			return
		}
		got, err := s.Eval(raw)
		if _, _, ok := s.Linear(); !ok {
			return
		}
		if want := oracle(t, src, raw); err != nil || math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%s at %v = %v, %v, expr says %v", src, raw, got, err, want)
		}
	})
}
