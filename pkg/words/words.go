// Package words is the one home of the forms of words that follow a number.
package words

import (
	"fmt"
	"strings"
)

// Integer is what counts.
type Integer interface {
	~int | ~int32 | ~int64 | ~uint32 | ~uint64
}

// Count writes a number of things: "1 frame", "2 frames", "0 entries". thing is the
// singular, and its last word takes the plural.
func Count[N Integer](n N, thing string) string { return fmt.Sprintf("%d %s", n, Form(n, thing)) }

// Form is the form of thing that goes with n, where the number stands elsewhere: "3 of 4
// tags" is of 4.
func Form[N Integer](n N, thing string) string {
	if n == 1 {
		return thing
	}
	stem, isY := strings.CutSuffix(thing, "y")
	if isY && stem != "" && !strings.ContainsRune("aeiou", rune(stem[len(stem)-1])) {
		return stem + "ies"
	}
	return thing + "s"
}

// Are is the verb that goes with n things.
func Are[N Integer](n N) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
