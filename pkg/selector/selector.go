// Package selector reads selectors of labels as kubectl writes them, and tells which
// labels they match.
//
//	site=lyon,line!=press,ring in (pilot,early),spare
//
// A selector is a list of requirements with commas between them. Labels match if they
// meet all of them:
//
//	k=v, k==v        the label k is v
//	k!=v             k is something else, or isn't there
//	k in (a,b)       k is a or b
//	k notin (a,b)    k is neither, or isn't there
//	k                k is there
//	!k               k isn't there
//
// A selector without requirements is an error: what is meant for all has no selector.
package selector

import (
	"fmt"
	"slices"
	"strings"
)

// MaxLabel is the largest number of characters in the name of a label, and in its value.
const MaxLabel = 63

// Maximum sizes of a selector, so that matching has a bound.
const (
	maxText         = 4096
	maxRequirements = 64
)

// Selector matches labels. The zero Selector matches nothing.
type Selector struct {
	text         string
	requirements []requirement
}

// requirement is one part of a selector.
type requirement struct {
	name   string
	values []string // nil: the label is there, whatever it is
	not    bool     // the other way round
}

// String returns the selector as it was written, without blanks around it.
func (s Selector) String() string { return s.text }

// Matches reports whether labels meet all requirements.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s.requirements {
		value, has := labels[r.name]
		met := has && (r.values == nil || slices.Contains(r.values, value))
		if met == r.not {
			return false
		}
	}
	return len(s.requirements) > 0
}

// ValidName reports whether a label may have that name: 1 to [MaxLabel] of A–Z, a–z, 0–9,
// "_", ".", "-" and "/", the first and the last a letter or a digit.
func ValidName(name string) bool { return name != "" && validWord(name, true) }

// ValidValue reports whether a label may have that value: like a name without "/", or
// nothing.
func ValidValue(value string) bool { return value == "" || validWord(value, false) }

func validWord(s string, slash bool) bool {
	if len(s) > MaxLabel || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' && s[i] != '.' && s[i] != '-' && !(slash && s[i] == '/') {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Parse reads a selector. Its errors say what is wrong with which part, and what was
// expected.
func Parse(text string) (Selector, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Selector{}, fmt.Errorf("a selector names at least one label, such as site=lyon")
	}
	if len(text) > maxText {
		return Selector{}, fmt.Errorf("the selector has %d characters; at most %d are read", len(text), maxText)
	}
	s := Selector{text: text}
	for rest := text; ; {
		part, next, more := cutPart(rest)
		r, err := parseRequirement(part)
		if err != nil {
			return Selector{}, err
		}
		if s.requirements = append(s.requirements, r); len(s.requirements) > maxRequirements {
			return Selector{}, fmt.Errorf("the selector has more than %d parts", maxRequirements)
		}
		if !more {
			return s, nil
		}
		rest = next
	}
}

// cutPart cuts at the first comma that isn't in parentheses.
func cutPart(text string) (part, rest string, more bool) {
	inside := false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '(':
			inside = true
		case c == ')':
			inside = false
		case c == ',' && !inside:
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

func parseRequirement(part string) (requirement, error) {
	part = strings.TrimSpace(part)
	fail := func(what string) (requirement, error) {
		return requirement{}, fmt.Errorf("%q in the selector: %s", part, what)
	}
	if part == "" {
		return requirement{}, fmt.Errorf("the selector has a comma too many")
	}
	r := requirement{}
	if name, ok := strings.CutPrefix(part, "!"); ok && !strings.Contains(part, "=") {
		r.name, r.not = strings.TrimSpace(name), true
	} else if i := strings.IndexAny(part, "!="); i >= 0 && !strings.ContainsRune(part[:i], '(') {
		r.name, r.not = strings.TrimSpace(part[:i]), part[i] == '!'
		value, ok := strings.CutPrefix(strings.TrimPrefix(part[i:], "!"), "=")
		if !ok {
			return fail("expected != behind the label's name")
		}
		if !r.not {
			value = strings.TrimPrefix(value, "=")
		}
		r.values = []string{strings.TrimSpace(value)}
	} else if name, rest, ok := cutBlank(part); ok {
		word, list, found := strings.Cut(rest, "(")
		list, closed := strings.CutSuffix(list, ")")
		if word = strings.TrimSpace(word); !found || !closed || word != "in" && word != "notin" {
			return fail("expected k=v, k!=v, k in (a,b), k notin (a,b), k or !k")
		}
		r.name, r.not = name, word == "notin"
		for value := range strings.SplitSeq(list, ",") {
			if value = strings.TrimSpace(value); value == "" {
				return fail("a value of the list is empty")
			}
			r.values = append(r.values, value)
		}
	} else {
		r.name = part
	}
	if !ValidName(r.name) {
		return fail(fmt.Sprintf("%q is not a label's name: letters, digits, _ . - and / (at most %d)", r.name, MaxLabel))
	}
	for _, v := range r.values {
		if !ValidValue(v) {
			return fail(fmt.Sprintf("%q is not a label's value: letters, digits, _ . and - (at most %d)", v, MaxLabel))
		}
	}
	return r, nil
}

// cutBlank cuts at the first blank, or before a parenthesis.
func cutBlank(s string) (word, rest string, ok bool) {
	i := strings.IndexAny(s, " \t(")
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i:], true
}
