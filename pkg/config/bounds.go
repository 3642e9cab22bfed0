package config

import (
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// The keywords of ours that bound a duration or a size, which JSON Schema's minimum
// and maximum can't: those are for numbers alone.
const (
	leastKeyword = "x-minimum"
	mostKeyword  = "x-maximum"
)

// quantity reads a bound, or a value that is held to one: a duration or a size. With
// ok false it is neither.
func quantity(v any, isDuration bool) (n int64, ok bool) {
	if isDuration {
		text, isText := v.(string)
		d, err := ParseDuration(text)
		return int64(d), isText && err == nil
	}
	s, err := ParseSize(scalarText(normalise(v)))
	return int64(s), err == nil
}

// boundsCompiler makes validators of [leastKeyword] and [mostKeyword].
type boundsCompiler struct{}

// Compile implements [jsonschema.ExtCompiler].
func (boundsCompiler) Compile(_ jsonschema.CompilerContext, m map[string]any) (jsonschema.ExtSchema, error) {
	var b bounds
	for _, side := range []struct {
		keyword string
		to      *bound
	}{{leastKeyword, &b.least}, {mostKeyword, &b.most}} {
		v, ok := m[side.keyword]
		if !ok {
			continue
		}
		n, isDuration := quantity(v, true)
		if !isDuration {
			if n, ok = quantity(v, false); !ok {
				return nil, fmt.Errorf("%s: %v is neither a duration nor a size", side.keyword, v)
			}
		}
		*side.to = bound{set: true, n: n}
		b.isDuration = isDuration
	}
	if !b.least.set && !b.most.set {
		return nil, nil
	}
	return b, nil
}

type bound struct {
	set bool
	n   int64
}

// bounds holds a duration or a size to its bounds.
type bounds struct {
	isDuration  bool
	least, most bound
}

// Validate implements [jsonschema.ExtSchema]. What is no quantity at all, the schema's
// pattern tells.
func (b bounds) Validate(ctx jsonschema.ValidationContext, v any) error {
	n, ok := quantity(v, b.isDuration)
	switch {
	case !ok && b.isDuration && b.most.set && tooLong(v):
		return ctx.Error(mostKeyword, "too large")
	case !ok:
		return nil
	case b.least.set && n < b.least.n:
		return ctx.Error(leastKeyword, "too small")
	case b.most.set && n > b.most.n:
		return ctx.Error(mostKeyword, "too large")
	}
	return nil
}

// tooLong reports whether v is a duration that no [time.Duration] can hold.
func tooLong(v any) bool {
	text, _ := v.(string)
	_, err := ParseDuration(text)
	return errors.Is(err, number.ErrTooLong)
}

// quantityText words the bounds of a duration or size, "" if there are none.
func quantityText(at []schemaAt) string {
	what := "a size"
	bound := func(keyword string) string {
		v, ok := annotation(at, keyword)
		if !ok {
			return ""
		}
		if _, isDuration := quantity(v, true); isDuration {
			what = "a duration"
		}
		return scalarText(normalise(v))
	}
	switch lo, hi := bound(leastKeyword), bound(mostKeyword); {
	case lo != "" && hi != "":
		return what + " from " + lo + " to " + hi
	case lo != "":
		return what + " of at least " + lo
	case hi != "":
		return what + " of at most " + hi
	}
	return ""
}
