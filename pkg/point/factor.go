package point

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// A factor is a tag that holds a power of ten for others, as SunSpec devices have
// them: the value is value * 10^factor. Value and factor belong to one answer of the
// device where both are in it, in whatever order they are decoded: values whose
// factor has not come yet wait for the end of the answer. A factor that is read in
// another answer counts with its last value. Without a good factor the value is bad.

// maxFactor is the largest power of ten; SunSpec has -10 to 10.
const maxFactor = 30

// waiting is a value whose factor has not come yet.
type waiting struct {
	i      int
	v      frame.Value
	q      frame.Quality
	ts     int64
	status string
}

// linkFactors finds the factors that variables name.
func (t *Table) linkFactors() error {
	for i := range t.vars {
		v := &t.vars[i]
		if v.ScaleFrom == "" {
			continue
		}
		j, ok := t.Index(v.ScaleFrom)
		if err := CheckFactor(v, t.factorOf(j, ok)); err != nil {
			return fmt.Errorf("tag %s: scale_from: %w", v.Tag, err)
		}
		t.points[i].factor, t.points[j].isFactor = j, true
	}
	return nil
}

func (t *Table) factorOf(j int, ok bool) *config.Variable {
	if !ok {
		return nil
	}
	return &t.vars[j]
}

// CheckFactor says why factor, nil if the driver has no such tag, can't be what v
// takes its power of ten from.
func CheckFactor(v, factor *config.Variable) error {
	switch {
	case !v.Datatype.Numeric():
		return fmt.Errorf("a %s has none; remove it or choose a numeric datatype", v.Datatype)
	case factor == nil:
		return fmt.Errorf("the driver %s has no tag %s", v.DriverID, v.ScaleFrom)
	case factor.Tag == v.Tag:
		return errors.New("names the tag itself")
	case factor.ScaleFrom != "":
		return fmt.Errorf("%s has a scale_from itself", factor.Tag)
	case !factor.Datatype.Numeric():
		return fmt.Errorf("%s is a %s, expected a number", factor.Tag, factor.Datatype)
	case !factor.Access.Readable():
		return fmt.Errorf("%s is never read; expected access R or RW", factor.Tag)
	}
	return nil
}

// power returns the power of ten that p's factor has now.
func (t *Table) power(p *point) (n int, ok bool) {
	last := &t.points[p.factor].state.last
	f, isNumber := last.Value.Number()
	if !last.Known || last.Quality == frame.Bad || !isNumber || f != math.Trunc(f) || math.Abs(f) > maxFactor {
		return 0, false
	}
	return int(f), true
}

// applyFactor multiplies by the power of ten. The caller holds the lock.
func (t *Table) applyFactor(p *point, v frame.Value, q frame.Quality) (frame.Value, frame.Quality) {
	n, ok := t.power(p)
	if ok && v.Kind() == frame.KindArray {
		v, ok = v.MapNumbers(func(e frame.Value) (frame.Value, bool) { return timesPower(e, n) })
	} else if ok {
		v, ok = timesPower(v, n)
	}
	if !ok {
		return frame.Value{}, frame.Bad
	}
	return v, max(q, t.points[p.factor].state.last.Quality)
}

// timesPower multiplies a number by 10^n.
func timesPower(v frame.Value, n int) (frame.Value, bool) {
	f, isNumber := v.Number()
	switch {
	case !isNumber || n == 0:
		return v, isNumber
	case n < 0:
		return frame.FloatValue(f / math.Pow10(-n)), true // exact to the last digit, as "value / 10" is
	}
	return frame.FloatValue(f * math.Pow10(n)), true
}

// settleWaiting gives the values that waited their factors.
func (t *Table) settleWaiting(b *frame.Batch) {
	for _, w := range t.waiting {
		v, q := t.applyFactor(&t.points[w.i], w.v, w.q)
		t.reason = w.status
		t.settle(b, w.i, v, q, w.ts)
	}
	t.reason = ""
	t.waiting = t.waiting[:0]
}

// withoutFactor turns a value that a person gave into what stands before the factor.
func (t *Table) withoutFactor(p *point, v frame.Value) (frame.Value, error) {
	if p.factor < 0 {
		return v, nil
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	n, ok := t.power(p)
	f, isNumber := v.Number()
	switch {
	case !ok:
		return v, errors.New("its factor (scale_from) is not known, so the raw value isn't either")
	case n == 0 || !isNumber:
		return v, nil
	case n < 0:
		return frame.FloatValue(f * math.Pow10(-n)), nil
	}
	return frame.FloatValue(f / math.Pow10(n)), nil
}

// CheckNA says why a variable's na can't be.
func CheckNA(v *config.Variable) error {
	_, err := notAvailable(v)
	return err
}

// notAvailable returns the raw values that mean that there is none. An integer may be
// given as its bits: 0x8000 of an int16 is -32768.
func notAvailable(v *config.Variable) ([]frame.Value, error) {
	var out []frame.Value
	for _, n := range v.NA.List() {
		if !v.Datatype.Numeric() {
			return nil, fmt.Errorf("na: has no meaning for a %s", v.Datatype)
		}
		value, err := rawNumber(v.Datatype, n)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// rawNumber returns n as the driver decodes it.
func rawNumber(dt config.DataType, n any) (frame.Value, error) {
	l, integer := dt.Integer()
	if !integer {
		var f float64
		switch n := n.(type) {
		case int64:
			f = float64(n)
		case uint64:
			f = float64(n)
		case float64:
			f = n
		}
		if dt == config.TypeFloat32 { // as drivers widen it: the shortest decimal
			short, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', -1, 32), 64)
			return frame.FloatValue(short), err
		}
		return frame.FloatValue(f), nil
	}
	switch n := n.(type) {
	case int64:
		switch bits := l.Max*2 + 1; { // of a signed type
		case n >= l.Min && (n < 0 || uint64(n) <= l.Max):
			return frame.IntValue(n), nil
		case l.Min < 0 && n > 0 && uint64(n) <= bits:
			return frame.IntValue(n - int64(bits) - 1), nil
		}
	case uint64:
		if n <= l.Max {
			return frame.UintValue(n), nil
		}
		if dt == config.TypeInt64 {
			return frame.IntValue(int64(n)), nil
		}
	case float64: // such as 2^63, which is whole
		if n >= 0 && n == math.Trunc(n) && n < 1<<64 {
			return rawNumber(dt, uint64(n))
		}
	}
	return frame.Value{}, fmt.Errorf("na: %v is not a value of %s", n, dt)
}
