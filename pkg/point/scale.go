package point

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// Scale is a compiled scale expression: a function of one float64, "value".
//
// An expression that uses value once, under + - * / with constants, is linear.
// It is kept as the list of those operations and run in the order in which it was
// written, so that it gives the same bits as the expression does ("value / 10" is
// a division, 123 becomes 12.3 and not 12.299999999999999), and it can be run
// backwards for a write. Anything else runs on expr's virtual machine.
//
// A Scale may be used by any number of goroutines.
type Scale struct {
	linear bool
	steps  []step // where it is linear
	// integer calculates with integers; nil if the expression is none of whole numbers.
	integer integerFunc

	prog *vm.Program // nil: linear, or of integers only
	mu   sync.Mutex  // guards machine and env
	mach vm.VM
	env  map[string]any
}

// step is one operation with a constant: v op c.
type step struct {
	op byte // '+', '*' or '/'
	c  float64
}

// The limits of an expression. They leave room for any formula that a sensor's
// data sheet gives and keep a poll from waiting for one that does not belong here.
const (
	maxScaleLen   = 1024 // bytes
	maxScaleNodes = 256  // operands and operators
)

// variable is the name of the raw value in an expression.
const variable = "value"

// CompileScale compiles a scale expression. Its errors name the expression, the
// column and what is wrong, in one line.
func CompileScale(src string) (*Scale, error) {
	s, err := compileScale(src, strconv.IntSize)
	if err != nil {
		if len(src) > 80 {
			src = strings.ToValidUTF8(src[:80], "") + "…"
		}
		return nil, fmt.Errorf("scale %q: %w", src, err)
	}
	return s, nil
}

func compileScale(src string, bits int) (*Scale, error) {
	if len(src) > maxScaleLen {
		return nil, fmt.Errorf("is %d bytes long, at most %d are allowed", len(src), maxScaleLen)
	}
	tree, err := parser.Parse(src)
	if err != nil {
		return nil, oneLine(err)
	}
	steps, ok, err := linear(tree.Node)
	if err != nil {
		return nil, err
	}
	if ok {
		return &Scale{linear: true, steps: steps, integer: integers(tree.Node)}, nil
	}
	var sub subset
	ast.Walk(&tree.Node, &sub)
	if sub.err != nil {
		return nil, sub.err
	}
	if sub.nodes > maxScaleNodes {
		return nil, fmt.Errorf("has more than %d operands and operators", maxScaleNodes)
	}
	s := &Scale{integer: integers(tree.Node), env: map[string]any{variable: 0.0}}
	prog, err := expr.Compile(src, scaleOptions()...)
	if err != nil && s.integer == nil { // expr has no % for floats, which value is to it
		return nil, oneLine(err)
	}
	s.prog = prog
	if !sub.usesValue {
		return nil, fmt.Errorf(`does not use "value", the raw value; a factor is written "value * %s"`, strings.Join(strings.Fields(src), " "))
	}
	return s, s.fit(bits, sub.usesInt)
}

// fit keeps a scale from expr's integers where they have 32 bits: there they wrap where
// a tag's value fits, without a word. Whole numbers go our own way, of 64 bits.
func (s *Scale) fit(bits int, usesInt bool) error {
	if bits >= 64 || !usesInt {
		return nil
	}
	if s.integer == nil {
		return errors.New("mixes whole numbers with others, which needs a processor of 64 bits: write its whole numbers with a point (2.0), without int and bit functions")
	}
	s.prog = nil
	return nil
}

// Eval returns the engineering value of a raw one. The result may be NaN or
// infinite; an error means that the expression could not be evaluated for raw.
// Linear expressions never fail and never allocate.
func (s *Scale) Eval(raw float64) (float64, error) {
	switch {
	case s.linear:
		return s.forward(raw), nil
	case s.prog == nil:
		return s.evalWhole(raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.env[variable] = raw
	out, err := s.mach.Run(s.prog, s.env)
	if err != nil {
		return 0, oneLine(err)
	}
	f, ok := out.(float64)
	if !ok {
		return 0, fmt.Errorf("gives %T, expected a number", out)
	}
	return f, nil
}

// evalWhole runs an expression that exists for whole numbers only.
func (s *Scale) evalWhole(raw float64) (float64, error) {
	w, ok := wholeFloat(raw)
	if !ok {
		return 0, fmt.Errorf("needs a whole number up to 2^53, not %v", raw)
	}
	if w, ok = s.integer(w); !ok {
		return 0, errors.New("divides by zero, or a result does not fit 64 bits")
	}
	return w.float(), nil
}

// Linear returns a and b of a*value+b; ok is false where the expression is not
// linear. Eval may differ from a*value+b in the last digit.
func (s *Scale) Linear() (a, b float64, ok bool) {
	if !s.linear {
		return 0, 0, false
	}
	a = 1
	for _, st := range s.steps {
		switch st.op {
		case '+':
			b += st.c
		case '*':
			a, b = a*st.c, b*st.c
		case '/':
			a, b = a/st.c, b/st.c
		}
	}
	return a, b, true
}

// forward runs a linear scale. The conversions forbid the compiler to fuse
// operations, which would give other last digits on some processors.
func (s *Scale) forward(v float64) float64 {
	for _, st := range s.steps {
		switch st.op {
		case '+':
			v = float64(v + st.c)
		case '*':
			v = float64(v * st.c)
		case '/':
			v = float64(v / st.c)
		}
	}
	return v
}

// backward runs a linear scale the other way.
func (s *Scale) backward(v float64) float64 {
	for i := len(s.steps) - 1; i >= 0; i-- {
		st := s.steps[i]
		switch st.op {
		case '+':
			v = float64(v - st.c)
		case '*':
			v = float64(v / st.c)
		case '/':
			v = float64(v * st.c)
		}
	}
	return v
}

// linear returns the operations that n applies to value, innermost first. ok is
// false if n is not a chain of + - * / with constants.
func linear(n ast.Node) (steps []step, ok bool, err error) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return nil, n.Value == variable, nil
	case *ast.UnaryNode:
		steps, ok, err = linear(n.Node)
		switch n.Operator {
		case "+":
			return steps, ok, err
		case "-":
			return append(steps, step{'*', -1}), ok, err
		}
	case *ast.BinaryNode:
		if c, isConst := constant(n.Right); isConst {
			steps, ok, err = linear(n.Left)
			if !ok || err != nil {
				return nil, false, err
			}
			switch n.Operator {
			case "+":
				return append(steps, step{'+', c}), true, nil
			case "-":
				return append(steps, step{'+', -c}), true, nil
			case "*":
				return append(steps, step{'*', c}), true, nil
			case "/":
				if c == 0 {
					return nil, false, errors.New("divides by zero")
				}
				return append(steps, step{'/', c}), true, nil
			}
		} else if c, isConst := constant(n.Left); isConst {
			steps, ok, err = linear(n.Right)
			if !ok || err != nil {
				return nil, false, err
			}
			switch n.Operator {
			case "+":
				return append(steps, step{'+', c}), true, nil
			case "-": // c - v is -v + c, to the bit
				return append(steps, step{'*', -1}, step{'+', c}), true, nil
			case "*":
				return append(steps, step{'*', c}), true, nil
			}
		}
	}
	return nil, false, nil
}

// constant folds a subtree of numbers and + - * / as expr does. What a float64
// does not hold as expr's integers do, large ones and a zero that would get a
// sign, is left to expr.
func constant(n ast.Node) (float64, bool) {
	const exact = 1 << 53
	switch n := n.(type) {
	case *ast.IntegerNode:
		return float64(n.Value), -exact <= int64(n.Value) && int64(n.Value) <= exact
	case *ast.FloatNode:
		return n.Value, true
	case *ast.UnaryNode:
		c, ok := constant(n.Node)
		switch n.Operator {
		case "+":
			return c, ok
		case "-":
			return -c, ok && c != 0
		}
	case *ast.BinaryNode:
		l, okL := constant(n.Left)
		r, okR := constant(n.Right)
		if !okL || !okR {
			return 0, false
		}
		var c float64
		switch n.Operator {
		case "+":
			c = l + r
		case "-":
			c = l - r
		case "*":
			c = l * r
		case "/":
			c = l / r
		default:
			return 0, false
		}
		return c, math.Abs(c) <= exact && !(c == 0 && math.Signbit(c))
	}
	return 0, false
}

// scaleOptions is the language of scale expressions (together with [subset]):
// numbers, comparisons, conditionals and the functions below. Everything that
// loops, allocates without bound or depends on the time is left out, so that a
// poll cannot stall in one.
func scaleOptions() []expr.Option {
	options := []expr.Option{
		expr.Env(map[string]any{variable: 0.0}),
		expr.AsFloat64(),
		expr.MaxNodes(maxScaleNodes),
		expr.DisableAllBuiltins(),
	}
	for _, name := range []string{"abs", "ceil", "floor", "round", "int", "float", "max", "min",
		"bitand", "bitor", "bitxor", "bitshl", "bitshr"} {
		options = append(options, expr.EnableBuiltin(name))
	}
	for name, fn := range map[string]func(float64) float64{
		"sqrt": math.Sqrt, "exp": math.Exp, "log": math.Log, "log10": math.Log10,
	} {
		options = append(options, expr.Function(name, func(args ...any) (any, error) {
			x, ok := number(args[0])
			if !ok {
				return nil, fmt.Errorf("%s needs a number, not %T", name, args[0])
			}
			return fn(x), nil
		}, new(func(float64) float64), new(func(int) float64)))
	}
	return options
}

// number converts what expr calculates with.
func number(x any) (float64, bool) {
	switch x := x.(type) {
	case float64:
		return x, true
	case int:
		return float64(x), true
	}
	return 0, false
}

// subset walks a tree, notes whether it uses value, and finds what is not part of
// the language: arrays, ranges, text, loops over them, and variables of its own.
type subset struct {
	usesValue bool
	usesInt   bool // calculates with expr's integers
	nodes     int
	err       error
}

// Visit looks at one node.
func (s *subset) Visit(n *ast.Node) {
	s.nodes++
	switch n := (*n).(type) {
	case *ast.IdentifierNode:
		s.usesValue = s.usesValue || n.Value == variable
		return
	case *ast.BinaryNode:
		s.usesInt = s.usesInt || isInteger(n.Left) && isInteger(n.Right)
		if n.Operator != ".." {
			return
		}
	case *ast.CallNode:
		name, _ := n.Callee.(*ast.IdentifierNode)
		s.usesInt = s.usesInt || name != nil && ofIntegers(name.Value)
		return
	case *ast.BuiltinNode:
		s.usesInt = s.usesInt || ofIntegers(n.Name)
		return
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.UnaryNode, *ast.ConditionalNode:
		return
	}
	if s.err == nil {
		s.err = fmt.Errorf("%s at column %d is not allowed: use numbers, value, operators, ?: and functions of numbers",
			*n, (*n).Location().From+1)
	}
}

// isInteger says that n is a whole number, with or without a sign.
func isInteger(n ast.Node) bool {
	if u, ok := n.(*ast.UnaryNode); ok {
		return isInteger(u.Node)
	}
	_, ok := n.(*ast.IntegerNode)
	return ok
}

// ofIntegers says that a function takes or gives expr's integers.
func ofIntegers(name string) bool { return name == "int" || strings.HasPrefix(name, "bit") }

// oneLine drops the drawing that expr puts under its messages.
func oneLine(err error) error {
	var fe *file.Error
	if errors.As(err, &fe) {
		return fmt.Errorf("%s at column %d", fe.Message, fe.Column+1)
	}
	return err
}
