package lint

import (
	"math"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// checkVariables checks what holds for every protocol.
func checkVariables(snap *config.Snapshot, r *Report) {
	scales := make(map[string]*scaleResult)
	for i := range snap.Variables {
		v := &snap.Variables[i]
		if v.Scale != "" {
			checkScale(v, scales, r)
		}
		if v.ScaleFrom != "" {
			checkFactor(v, snap, r)
		}
		if err := point.CheckNA(v); err != nil {
			r.Errorf(config.Variables, v.Tag, []string{"na"}, "value", "%v", err)
		}
		if v.Deadband > 0 && !v.Datatype.Numeric() {
			r.Warnf(config.Variables, v.Tag, []string{"deadband"}, "no-effect", "deadband: has no effect on a %s", v.Datatype)
		}
		if v.Heartbeat > 0 && v.Report != config.ReportChange && v.Deadband == 0 {
			r.Warnf(config.Variables, v.Tag, []string{"heartbeat"}, "no-effect",
				"heartbeat: has no effect without report: change or a deadband")
		}
		if !v.Access.Readable() && v.Polling > 0 {
			r.Warnf(config.Variables, v.Tag, []string{"polling"}, "no-effect", "polling: has no effect on a variable that is only written")
		}
	}
}

// checkFactor checks the tag that a variable takes its power of ten from.
func checkFactor(v *config.Variable, snap *config.Snapshot, r *Report) {
	path := []string{"scale_from"}
	factor := snap.Variable(v.ScaleFrom)
	if factor != nil && factor.DriverID != v.DriverID {
		factor = nil
	}
	if err := point.CheckFactor(v, factor); err != nil {
		r.Errorf(config.Variables, v.Tag, path, "reference", "scale_from: %v", err)
		return
	}
	if v.Polling != factor.Polling && v.Access.Readable() {
		r.Warnf(config.Variables, v.Tag, path, "scale", "scale_from: %s has another polling, so that value and factor are not of one answer", factor.Tag)
	}
}

// scaleResult is what was found about an expression on a data type.
type scaleResult struct {
	err    string // it can't work
	doubt  string // it can fail
	oneWay bool   // it has no inverse
}

// checkScale compiles an expression and tries it at the values where formulas
// break. Thousands of variables share a few expressions, so results are kept.
func checkScale(v *config.Variable, results map[string]*scaleResult, r *Report) {
	key := string(v.Datatype) + " " + v.Scale
	res := results[key]
	if res == nil {
		res = tryScale(v)
		results[key] = res
	}
	path := []string{"scale"}
	switch {
	case res.err != "":
		r.Errorf(config.Variables, v.Tag, path, "scale", "scale: %s", res.err)
	case res.doubt != "":
		r.Warnf(config.Variables, v.Tag, path, "scale", "scale: %s", res.doubt)
	}
	if res.err == "" && res.oneWay && v.Access.Writable() {
		r.Warnf(config.Variables, v.Tag, path, "scale-write",
			"scale: is not linear, so it can't be turned round: writes to this tag will be refused")
	}
}

func tryScale(v *config.Variable) *scaleResult {
	if !v.Datatype.Numeric() {
		return &scaleResult{err: "a " + string(v.Datatype) + " has none; remove it or choose a numeric datatype"}
	}
	s, err := point.CompileScale(v.Scale)
	if err != nil {
		return &scaleResult{err: strings.TrimPrefix(err.Error(), "scale ")}
	}
	res := &scaleResult{}
	if s.WholeOnly() && v.Datatype.Float() {
		res.err = "% and the functions of bits need whole numbers, and a " + string(v.Datatype) + " has others too: use int(value)"
		return res
	}
	a, _, linear := s.Linear()
	res.oneWay = !linear || a == 0
	for _, x := range samples(v.Datatype) {
		y, err := s.Eval(x)
		switch {
		case err != nil:
			res.err = "fails at value = " + formatNumber(x) + ": " + err.Error()
			return res
		case math.IsNaN(y) || math.IsInf(y, 0):
			res.doubt = "gives no finite number at value = " + formatNumber(x) + "; such a frame has quality bad"
		}
	}
	return res
}

// samples are the raw values to try: 0, 1, −1 where there is a sign, and the
// largest.
func samples(t config.DataType) []float64 {
	l, integer := t.Integer()
	switch {
	case !integer: // of a float the largest real measurements, not its largest value
		return []float64{0, 1, -1, 1e9}
	case l.Min < 0:
		return []float64{0, 1, -1, float64(l.Max)}
	}
	return []float64{0, 1, float64(l.Max)}
}

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
