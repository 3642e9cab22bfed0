// Package number is the one grammar of the numbers that people write: in tables,
// gateway.yml, flags, the environment, spreadsheets, commands and requests.
//
// A number is decimal: digits with an optional sign, point and exponent, as YAML
// 1.2 and JSON have them. Hexadecimal needs 0x. What other notations would make
// another number of is refused, with the readings in the error, because nobody can
// know which one was meant: a leading zero (0100 is 100, or 64 in octal), 0o17,
// 0b11, 1_000, 1:30. Infinities and "not a number" are no numbers.
//
// Nothing is rounded in silence: a whole number is read exactly or refused.
package number

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Error says why a text is no number.
type Error struct {
	Text   string // what was read
	Reason string // what is wrong with it, and the way out; it may quote Text

	Kind Kind
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Kind says what is wrong with a text.
type Kind uint8

// The kinds of errors.
const (
	NoNumber Kind = iota // it is no number at all
	Doubtful             // two people would read two numbers
	TooLarge             // it has no exact value here
	OutOfRange
)

// tooLong is the reason of a whole number that would have to be rounded.
const tooLong = "has more digits than a number can hold; put it in quotes if it is text"

// Parse reads a number: an int64 where it is whole and fits, else a uint64 where
// it fits, else a float64. Whole means written without point and exponent. Its
// error is an [*Error].
func Parse(text string) (any, error) {
	digits := strings.TrimLeft(text, "+-")
	signs := len(text) - len(digits)
	switch {
	case signs > 1 || digits == "":
		return nil, noNumberError(text)
	case strings.HasPrefix(digits, "0x") || strings.HasPrefix(digits, "0X"):
		return parseHex(text, digits[2:], signs > 0)
	case isDigits(digits):
		if len(digits) > 1 && digits[0] == '0' {
			return nil, leadingZero(text, digits)
		}
		return parseWhole(text)
	}
	if reason := otherNotation(text, digits); reason != "" {
		return nil, &Error{text, reason, Doubtful}
	}
	return parseFraction(text, digits)
}

func parseWhole(text string) (any, error) {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, 64); err == nil {
		return u, nil
	}
	return exactFloat(text, 10)
}

// exactFloat reads a whole number beyond 64 bits, which only some float64 are.
func exactFloat(text string, base int) (any, error) {
	n, ok := new(big.Int).SetString(text, base)
	if !ok {
		return nil, noNumberError(text)
	}
	f, accuracy := new(big.Float).SetInt(n).Float64()
	if accuracy != big.Exact || math.IsInf(f, 0) {
		return nil, &Error{text, tooLong, TooLarge}
	}
	return f, nil
}

func parseHex(text, digits string, signed bool) (any, error) {
	if signed || digits == "" || !isHex(digits) {
		return nil, noNumberError(text)
	}
	if i, err := strconv.ParseInt(digits, 16, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(digits, 16, 64); err == nil {
		return u, nil
	}
	return exactFloat(digits, 16)
}

// parseFraction reads a number with a point or an exponent.
func parseFraction(text, digits string) (any, error) {
	if !isFraction(digits) {
		return nil, noNumberError(text)
	}
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		plain := strings.TrimLeft(digits, "0")
		if plain[0] < '0' || plain[0] > '9' {
			plain = "0" + plain
		}
		return nil, &Error{text, "has a leading zero; write " + text[:len(text)-len(digits)] + plain, Doubtful}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, &Error{text, "is larger than a number can be", TooLarge}
	}
	return f, nil
}

// isFraction reports whether digits are those of a decimal number without its
// sign: 1, 1.5, .5, 1., 1e3, 1.5E-3.
func isFraction(digits string) bool {
	mantissa, exponent := digits, ""
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		mantissa, exponent = digits[:i], digits[i+1:]
		if len(exponent) > 0 && (exponent[0] == '+' || exponent[0] == '-') {
			exponent = exponent[1:]
		}
		if !isDigits(exponent) {
			return false
		}
	}
	whole, fraction, point := strings.Cut(mantissa, ".")
	switch {
	case !point:
		return isDigits(whole)
	case whole == "":
		return isDigits(fraction)
	}
	return isDigits(whole) && (fraction == "" || isDigits(fraction))
}

func leadingZero(text, digits string) error {
	sign := text[:len(text)-len(digits)]
	decimal := sign + trimZeros(digits)
	reason := "has a leading zero; write " + decimal
	if octal, ok := inBase(digits, 8); ok && sign+octal != decimal {
		reason = fmt.Sprintf("has a leading zero: %s in decimal, %s in octal; write the one that is meant", decimal, sign+octal)
	}
	return &Error{text, reason, Doubtful}
}

func trimZeros(digits string) string {
	if s := strings.TrimLeft(digits, "0"); s != "" {
		return s
	}
	return "0"
}

// inBase returns in decimal what digits are in another base.
func inBase(digits string, base int) (string, bool) {
	n, ok := new(big.Int).SetString(digits, base)
	if !ok || strings.ContainsAny(digits, "+-_") {
		return "", false
	}
	return n.String(), true
}

// otherNotation returns the words for a number in a notation that is not taken, ""
// if text is in none of them.
func otherNotation(text, digits string) string {
	sign := text[:len(text)-len(digits)]
	for prefix, base := range map[string]int{"0o": 8, "0O": 8, "0b": 2, "0B": 2} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok {
			if n, ok := inBase(strings.ReplaceAll(rest, "_", ""), base); ok {
				return fmt.Sprintf("is %s in base %d, and text to others; write %s", sign+n, base, sign+n)
			}
		}
	}
	if plain := strings.ReplaceAll(digits, "_", ""); plain != digits && digits[0] != '_' && (isDigits(plain) || isFraction(plain)) {
		return "has _ between its digits: a number to some, text to others; write " + sign + trimZeros(plain)
	}
	if n, ok := sexagesimal(digits); ok {
		return fmt.Sprintf("is a time or a ratio to some, and to others %s, counted in sixties; write the number that is meant", sign+n)
	}
	return ""
}

// sexagesimal reads 1:30 as YAML 1.1 does: 90.
func sexagesimal(digits string) (string, bool) {
	parts := strings.Split(digits, ":")
	if len(parts) < 2 || parts[0] == "" {
		return "", false
	}
	sum := new(big.Int)
	for i, p := range parts {
		if !isDigits(p) || i > 0 && (len(p) > 2 || len(p) == 2 && p[0] > '5') {
			return "", false
		}
		n, _ := new(big.Int).SetString(p, 10)
		sum.Add(sum.Mul(sum, big.NewInt(60)), n)
	}
	return sum.String(), true
}

func noNumberError(text string) error {
	return &Error{text, fmt.Sprintf("%q is not a number", text), NoNumber}
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (s[i] < '0' || s[i] > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// Int reads a whole number from lo to hi. "1e3" and "40001.0" are whole.
func Int(text string, lo, hi int64) (int64, error) {
	v, err := Parse(text)
	if err != nil {
		return 0, quoted(text, err)
	}
	n, ok := Whole(v)
	if !ok || n < lo || n > hi {
		return 0, &Error{text, fmt.Sprintf("%s: expected a whole number from %d to %d", text, lo, hi), OutOfRange}
	}
	return n, nil
}

// Uint reads a whole number from 0 to hi.
func Uint(text string, hi uint64) (uint64, error) {
	v, err := Parse(text)
	if err != nil {
		return 0, quoted(text, err)
	}
	u, ok := v.(uint64)
	if n, whole := Whole(v); whole && n >= 0 {
		u, ok = uint64(n), true
	}
	if !ok || u > hi {
		return 0, &Error{text, fmt.Sprintf("%s: expected a whole number from 0 to %d", text, hi), OutOfRange}
	}
	return u, nil
}

// Float reads a number as the nearest float64.
func Float(text string) (float64, error) {
	v, err := Parse(text)
	if err != nil {
		return 0, quoted(text, err)
	}
	switch v := v.(type) {
	case int64:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	}
	return v.(float64), nil
}

// quoted begins err with the text that it is about.
func quoted(text string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind == NoNumber {
		return err
	}
	return &Error{text, text + " " + e.Reason, e.Kind}
}

// Whole returns what [Parse] returned as an int64, where that loses nothing. A
// float64 beyond 2^53 is not taken: which whole number was meant is lost.
func Whole(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case float64:
		const exact = 1 << 53
		if v == math.Trunc(v) && math.Abs(v) <= exact {
			return int64(v), true
		}
	}
	return 0, false
}

// Bool reads a truth value: true or false, as YAML 1.2 spells them.
func Bool(text string) (value, ok bool) {
	switch text {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	return false, false
}
