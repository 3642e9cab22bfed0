package frame

import (
	"math"
	"strconv"
)

// Widen returns f as a float64: the shortest decimal that is f again as a float32.
// So the 12.3 of a device stays 12.3, which as a plain conversion would be
// 12.300000190734863, for people, in payloads, and after a scale.
func Widen(f float32) float64 {
	x, bits := float64(f), math.Float32bits(f)
	exponent := int(bits>>23&0xFF) - 127
	// The finest decimal grid that is no finer than the steps of a float32 here:
	// 1233/4096 is about log10(2). If a point of it, or of a coarser one, is f, it
	// is the point nearest to f.
	places := (23 - exponent) * 1233 >> 12
	switch {
	case f == 0 || exponent == 128: // infinite, or no number
		return x
	case places < -21 || places > 21:
		return widenSlowly(f)
	}
	if short := roundTo(x, places); float32(short) == f {
		return short
	}
	// One digit more is always enough, but at a power of two, where the steps
	// change.
	if short := roundTo(x, places+1); float32(short) == f && bits<<9 != 0 {
		return short
	}
	return widenSlowly(f)
}

// roundTo rounds x to so many places behind the decimal point, -22 to 22, with the
// float64 that is nearest to the decimal: powers of ten up to 22 are exact.
func roundTo(x float64, places int) float64 {
	if places < 0 {
		scale := math.Pow10(-places)
		return math.RoundToEven(x/scale) * scale
	}
	scale := math.Pow10(places)
	return math.RoundToEven(x*scale) / scale
}

// widenSlowly does what Widen does for any f.
func widenSlowly(f float32) float64 {
	var buf [32]byte
	x, err := strconv.ParseFloat(string(strconv.AppendFloat(buf[:0], float64(f), 'g', -1, 32)), 64)
	if err != nil {
		return float64(f) // never: it was written a moment ago
	}
	return x
}
