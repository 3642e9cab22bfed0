package modbus

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Interpretation is one way to read registers.
type Interpretation struct {
	Addr    uint16 // zero-based protocol address of the first register
	Count   uint16 // registers
	Type    config.DataType
	Order   ByteOrder
	Value   frame.Value // none if the registers hold no such value
	Quality frame.Quality

	// Of [Rank].
	Scale string  // expression that makes the expected value of Value, "" if none is needed
	Error float64 // relative distance of the scaled value from what was expected
}

// String describes the way for people, such as "float32 CDAB at 2".
func (in *Interpretation) String() string {
	s := fmt.Sprintf("%s %s at %d", in.Type, in.Order, in.Addr)
	if in.Scale != "" {
		s += ", scale " + in.Scale
	}
	return s
}

// interpretable are the data types of a fixed size that hold a number.
func interpretable() []config.DataType {
	return []config.DataType{
		config.TypeUint16, config.TypeInt16, config.TypeBCD16,
		config.TypeUint32, config.TypeInt32, config.TypeFloat32, config.TypeBCD32,
		config.TypeUint64, config.TypeInt64, config.TypeFloat64,
	}
}

// rarelyInterpreted are more of them, which few devices have.
func rarelyInterpreted() []config.DataType {
	return []config.DataType{config.TypeFloat16, config.TypeUint48, config.TypeInt48, config.TypeBCD48, config.TypeBCD64}
}

// Interpret reads registers, whose first is at addr, as every numeric data type
// in every byte order (two for 16 bits, where the others are the same), at every
// place where one fits. A string over all of them is the last.
func Interpret(addr uint16, data []byte) []Interpretation {
	var all []Interpretation
	n := len(data) / 2
	types := append(interpretable(), rarelyInterpreted()...)
	for at := range n {
		for _, t := range types {
			k, count, _ := kindOf(t)
			if at+int(count) > n {
				continue
			}
			for _, o := range ByteOrders() {
				if count == 1 && (o == CDAB || o == DCBA) {
					continue
				}
				p := Point{Func: FuncReadHolding, Count: count, Type: t, Order: o, Bit: -1, kind: k}
				all = append(all, p.interpret(addr+uint16(at), data[2*at:2*(at+int(count))]))
			}
		}
	}
	for _, o := range []ByteOrder{ABCD, BADC} {
		p := Point{Func: FuncReadHolding, Count: uint16(n), Type: config.TypeString, Order: o, Bit: -1, kind: kindString}
		all = append(all, p.interpret(addr, data[:2*n]))
	}
	return all
}

func (p *Point) interpret(addr uint16, data []byte) Interpretation {
	in := Interpretation{Addr: addr, Count: p.Count, Type: p.Type, Order: p.Order}
	in.Value, in.Quality = p.decode(data)
	if f := in.Value.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
		in.Value, in.Quality = frame.Value{}, frame.Bad
	}
	return in
}

// tolerance is how far from the expected value a match may be: what a display
// with three digits rounds away.
const tolerance = 0.005

// Rank returns the interpretations that could be the value expect, read from a
// display say, the likeliest first: near to it, as it is or with the decimal
// point moved up to four places; among these the less unusual way.
func Rank(all []Interpretation, expect float64, addr uint16) []Interpretation {
	var matches []Interpretation
	for _, in := range all {
		v, ok := in.Value.Number()
		if !ok || in.Quality == frame.Bad {
			continue
		}
		if m, ok := in.match(v, expect); ok {
			matches = append(matches, m)
		}
	}
	slices.SortStableFunc(matches, func(a, b Interpretation) int {
		return cmp.Or(
			cmp.Compare(math.Round(a.Error*1e4), math.Round(b.Error*1e4)),
			cmp.Compare(a.oddity(addr), b.oddity(addr)),
			cmp.Compare(a.Count, b.Count))
	})
	return matches
}

// oddity says how unusual it would be to keep a number this way when addr is
// where it should be: another address, a moved decimal point, a rare byte order,
// BCD, 64 bits.
func (in *Interpretation) oddity(addr uint16) int {
	odd := map[ByteOrder]int{ABCD: 0, CDAB: 1, DCBA: 2, BADC: 4}[in.Order] + 2*distance(in.Addr, addr)
	if in.Scale != "" {
		odd += len(in.Scale) - len("value / 1")
	}
	switch {
	case in.Type == config.TypeFloat16, in.Type == config.TypeBCD48, in.Type == config.TypeBCD64:
		odd += 4
	case in.Type == config.TypeBCD16 || in.Type == config.TypeBCD32 || in.Count == 3:
		odd += 3
	case in.Count == 4:
		odd += 2
	}
	return odd
}

// match finds the power of ten that brings v nearest to expect.
func (in Interpretation) match(v, expect float64) (Interpretation, bool) {
	if in.Type == config.TypeFloat16 && expect == 0 && v != 0 {
		return in, false // small numbers in any register are fractions near 0 to it
	}
	best := math.Inf(1)
	for places := -4; places <= 4; places++ {
		scaled := v / math.Pow10(places)
		off := math.Abs(scaled - expect)
		if expect != 0 {
			off /= math.Abs(expect)
		}
		if off > tolerance || off > best || off == best && places != 0 || expect == 0 && places != 0 {
			continue
		}
		best, in.Error, in.Scale = off, off, ""
		switch {
		case places > 0:
			in.Scale = fmt.Sprintf("value / %.0f", math.Pow10(places))
		case places < 0:
			in.Scale = fmt.Sprintf("value * %.0f", math.Pow10(-places))
		}
	}
	return in, !math.IsInf(best, 1)
}

func distance(a, b uint16) int {
	d := int(a) - int(b)
	return max(d, -d)
}
