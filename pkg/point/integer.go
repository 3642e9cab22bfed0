package point

import (
	"math"
	"math/bits"

	"github.com/expr-lang/expr/ast"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Above 2^53 a float64 has no place for all whole numbers. So an expression of whole
// numbers, such as value * 10, value % 100 or bitand(value, 255), is also compiled
// to run on integers. What does not fit is not rounded here: the caller then
// calculates with floats, and says so in the quality.

// whole is an integer: a sign and 64 bits of magnitude. Zero is not negative.
type whole struct {
	neg bool
	mag uint64
}

func wholeInt(i int64) whole {
	if i < 0 {
		return whole{true, uint64(-(i + 1)) + 1}
	}
	return whole{mag: uint64(i)}
}

// wholeOf returns an integer value.
func wholeOf(v frame.Value) (whole, bool) {
	switch v.Kind() {
	case frame.KindInt:
		return wholeInt(v.Int()), true
	case frame.KindUint:
		return whole{mag: v.Uint()}, true
	}
	return whole{}, false
}

// wholeFloat returns a float64 that is surely the number that was meant.
func wholeFloat(f float64) (whole, bool) {
	const exact = 1 << 53
	if f != math.Trunc(f) || math.Abs(f) > exact {
		return whole{}, false
	}
	return wholeInt(int64(f)), true
}

// value returns w as a frame's value; ok is false where it does not fit.
func (w whole) value() (v frame.Value, ok bool) {
	if !w.neg {
		return frame.UintValue(w.mag), true
	}
	i, ok := w.int64()
	return frame.IntValue(i), ok
}

func (w whole) int64() (int64, bool) {
	switch {
	case !w.neg && w.mag <= math.MaxInt64:
		return int64(w.mag), true
	case w.neg && w.mag <= 1<<63:
		return -int64(w.mag-1) - 1, true
	}
	return 0, false
}

func (w whole) float() float64 {
	if w.neg {
		return -float64(w.mag)
	}
	return float64(w.mag)
}

func (w whole) negated() whole { return whole{!w.neg && w.mag != 0, w.mag} }

func (w whole) add(o whole) (whole, bool) {
	if w.neg == o.neg {
		sum, carry := bits.Add64(w.mag, o.mag, 0)
		return whole{w.neg, sum}, carry == 0
	}
	if w.mag >= o.mag {
		return whole{w.neg && w.mag != o.mag, w.mag - o.mag}, true
	}
	return whole{o.neg, o.mag - w.mag}, true
}

func (w whole) mul(o whole) (whole, bool) {
	hi, lo := bits.Mul64(w.mag, o.mag)
	return whole{w.neg != o.neg && lo != 0, lo}, hi == 0
}

// rem is Go's remainder: it has the sign of w.
func (w whole) rem(o whole) (whole, bool) {
	if o.mag == 0 {
		return whole{}, false
	}
	r := w.mag % o.mag
	return whole{w.neg && r != 0, r}, true
}

// div divides where nothing is left.
func (w whole) div(o whole) (whole, bool) {
	if o.mag == 0 || w.mag%o.mag != 0 {
		return whole{}, false
	}
	return whole{w.neg != o.neg && w.mag != 0, w.mag / o.mag}, true
}

func (w whole) less(o whole) bool {
	switch {
	case w.neg != o.neg:
		return w.neg
	case w.neg:
		return w.mag > o.mag
	}
	return w.mag < o.mag
}

// bitwise applies an operation to the bits of two integers: as unsigned ones where
// neither is negative, else in two's complement.
func bitwise(a, b whole, op func(x, y uint64) uint64) (whole, bool) {
	if !a.neg && !b.neg {
		return whole{mag: op(a.mag, b.mag)}, true
	}
	x, okX := a.int64()
	y, okY := b.int64()
	return wholeInt(int64(op(uint64(x), uint64(y)))), okX && okY
}

func shiftLeft(a, b whole) (whole, bool) {
	if b.neg || b.mag > 63 || bits.Len64(a.mag)+int(b.mag) > 64 {
		return whole{}, a.mag == 0 && !b.neg
	}
	return whole{a.neg, a.mag << b.mag}, true
}

// shiftRight rounds to minus infinity, as expr does.
func shiftRight(a, b whole) (whole, bool) {
	switch {
	case b.neg:
		return whole{}, false
	case !a.neg:
		return whole{mag: a.mag >> min(b.mag, 64)}, true
	}
	i, ok := a.int64()
	return wholeInt(i >> min(b.mag, 63)), ok
}

// integerFunc calculates an expression; ok is false where the result, or one on the
// way, doesn't fit, or isn't whole.
type integerFunc func(value whole) (result whole, ok bool)

// integers compiles n to run on integers, nil if it is no expression of whole
// numbers.
func integers(n ast.Node) integerFunc {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if n.Value == variable {
			return func(v whole) (whole, bool) { return v, true }
		}
	case *ast.IntegerNode:
		c := wholeInt(int64(n.Value))
		return func(whole) (whole, bool) { return c, true }
	case *ast.UnaryNode:
		x := integers(n.Node)
		switch {
		case x == nil:
		case n.Operator == "+":
			return x
		case n.Operator == "-":
			return func(v whole) (whole, bool) { r, ok := x(v); return r.negated(), ok }
		}
	case *ast.BinaryNode:
		return integerBinary(n)
	case *ast.ConditionalNode:
		cond, yes, no := condition(n.Cond), integers(n.Exp1), integers(n.Exp2)
		if cond != nil && yes != nil && no != nil {
			return func(v whole) (whole, bool) {
				c, ok := cond(v)
				if !ok {
					return whole{}, false
				}
				if c {
					return yes(v)
				}
				return no(v)
			}
		}
	case *ast.BuiltinNode:
		return integerBuiltin(n.Name, n.Arguments)
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok {
			return integerBuiltin(name.Value, n.Arguments)
		}
	}
	return nil
}

func integerBinary(n *ast.BinaryNode) integerFunc {
	var op func(a, b whole) (whole, bool)
	switch n.Operator {
	case "+":
		op = whole.add
	case "-":
		op = func(a, b whole) (whole, bool) { return a.add(b.negated()) }
	case "*":
		op = whole.mul
	case "%":
		op = whole.rem
	}
	return pairwise(op, n.Left, n.Right)
}

// pairwise compiles an operation of two operands.
func pairwise(op func(a, b whole) (whole, bool), left, right ast.Node) integerFunc {
	l, r := integers(left), integers(right)
	if op == nil || l == nil || r == nil {
		return nil
	}
	return func(v whole) (whole, bool) {
		a, okA := l(v)
		b, okB := r(v)
		if !okA || !okB {
			return whole{}, false
		}
		return op(a, b)
	}
}

func integerBuiltin(name string, args []ast.Node) integerFunc {
	if len(args) == 1 {
		x := integers(args[0])
		switch {
		case x == nil:
		case name == "int":
			return x
		case name == "abs":
			return func(v whole) (whole, bool) { r, ok := x(v); return whole{mag: r.mag}, ok }
		}
		return nil
	}
	if len(args) != 2 {
		return nil
	}
	var op func(a, b whole) (whole, bool)
	switch name {
	case "bitand":
		op = func(a, b whole) (whole, bool) { return bitwise(a, b, func(x, y uint64) uint64 { return x & y }) }
	case "bitor":
		op = func(a, b whole) (whole, bool) { return bitwise(a, b, func(x, y uint64) uint64 { return x | y }) }
	case "bitxor":
		op = func(a, b whole) (whole, bool) { return bitwise(a, b, func(x, y uint64) uint64 { return x ^ y }) }
	case "bitshl":
		op = shiftLeft
	case "bitshr":
		op = shiftRight
	case "min":
		op = func(a, b whole) (whole, bool) { return pick(b.less(a), b, a), true }
	case "max":
		op = func(a, b whole) (whole, bool) { return pick(a.less(b), b, a), true }
	}
	return pairwise(op, args[0], args[1])
}

func pick(first bool, a, b whole) whole {
	if first {
		return a
	}
	return b
}

// condition compiles a condition on whole numbers.
func condition(n ast.Node) func(value whole) (holds, ok bool) {
	switch n := n.(type) {
	case *ast.BoolNode:
		return func(whole) (bool, bool) { return n.Value, true }
	case *ast.UnaryNode:
		if x := condition(n.Node); x != nil && (n.Operator == "!" || n.Operator == "not") {
			return func(v whole) (bool, bool) { c, ok := x(v); return !c, ok }
		}
	case *ast.BinaryNode:
		if c := comparison(n); c != nil {
			return c
		}
		l, r := condition(n.Left), condition(n.Right)
		if l == nil || r == nil {
			return nil
		}
		switch n.Operator {
		case "&&", "and":
			return func(v whole) (bool, bool) {
				if a, ok := l(v); !ok || !a {
					return false, ok
				}
				return r(v)
			}
		case "||", "or":
			return func(v whole) (bool, bool) {
				if a, ok := l(v); !ok || a {
					return a, ok
				}
				return r(v)
			}
		}
	}
	return nil
}

func comparison(n *ast.BinaryNode) func(value whole) (holds, ok bool) {
	var holds func(a, b whole) bool
	switch n.Operator {
	case "==":
		holds = func(a, b whole) bool { return a == b }
	case "!=":
		holds = func(a, b whole) bool { return a != b }
	case "<":
		holds = whole.less
	case ">":
		holds = func(a, b whole) bool { return b.less(a) }
	case "<=":
		holds = func(a, b whole) bool { return !b.less(a) }
	case ">=":
		holds = func(a, b whole) bool { return !a.less(b) }
	}
	l, r := integers(n.Left), integers(n.Right)
	if holds == nil || l == nil || r == nil {
		return nil
	}
	return func(v whole) (bool, bool) {
		a, okA := l(v)
		b, okB := r(v)
		return okA && okB && holds(a, b), okA && okB
	}
}

// EvalInteger returns the engineering value of a raw integer as an integer. ok is
// false where the expression is not one of whole numbers, or its result or one on
// the way doesn't fit 64 bits; [Scale.Eval] then gives the nearest float64.
func (s *Scale) EvalInteger(raw frame.Value) (v frame.Value, ok bool) {
	if s.integer == nil {
		return v, false
	}
	w, ok := wholeOf(raw)
	if !ok {
		return v, false
	}
	if w, ok = s.integer(w); !ok {
		return v, false
	}
	return w.value()
}

// Integer reports whether the expression is one of whole numbers.
func (s *Scale) Integer() bool { return s.integer != nil }

// WholeOnly reports whether the expression has a value for whole numbers only.
func (s *Scale) WholeOnly() bool { return !s.linear && s.prog == nil }

// backwardInteger runs a linear scale of whole numbers the other way, where the
// result is whole.
func (s *Scale) backwardInteger(v frame.Value) (frame.Value, bool) {
	w, ok := wholeOf(v)
	if !ok || s.integer == nil || !s.linear {
		return frame.Value{}, false
	}
	for i := len(s.steps) - 1; i >= 0; i-- {
		st := s.steps[i]
		c, exact := wholeFloat(st.c)
		if !exact {
			return frame.Value{}, false
		}
		switch st.op {
		case '+':
			w, ok = w.add(c.negated())
		case '*':
			w, ok = w.div(c)
		default:
			ok = false
		}
		if !ok {
			return frame.Value{}, false
		}
	}
	return w.value()
}
