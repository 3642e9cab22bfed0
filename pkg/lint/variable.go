package lint

import (
	"math"
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
		if v.Deadband > 0 && !numeric(v.Datatype) {
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

func numeric(t config.DataType) bool {
	switch t {
	case config.TypeBool, config.TypeString, config.TypeBinary:
		return false
	}
	return true
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
	if !numeric(v.Datatype) {
		return &scaleResult{err: "a " + string(v.Datatype) + " has none; remove it or choose a numeric datatype"}
	}
	s, err := point.CompileScale(v.Scale)
	if err != nil {
		return &scaleResult{err: strings.TrimPrefix(err.Error(), "scale ")}
	}
	res := &scaleResult{}
	if s.WholeOnly() && (v.Datatype == config.TypeFloat32 || v.Datatype == config.TypeFloat64) {
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
	switch t {
	case config.TypeUint16:
		return []float64{0, 1, math.MaxUint16}
	case config.TypeInt16:
		return []float64{0, 1, -1, math.MaxInt16}
	case config.TypeUint32:
		return []float64{0, 1, math.MaxUint32}
	case config.TypeInt32:
		return []float64{0, 1, -1, math.MaxInt32}
	case config.TypeUint64:
		return []float64{0, 1, math.MaxUint64}
	case config.TypeInt64:
		return []float64{0, 1, -1, math.MaxInt64}
	case config.TypeBCD16:
		return []float64{0, 1, 9999}
	case config.TypeBCD32:
		return []float64{0, 1, 99999999}
	default: // of a float the largest real measurements, not its largest value
		return []float64{0, 1, -1, 1e9}
	}
}
