package opcua

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"
)

// TestHistoryOfALiar: a server that promises more of its history for ever, or whose values
// swell, ends the filling, fills no memory, and what it left out counts as lost.
func TestHistoryOfALiar(t *testing.T) {
	began := time.Now().Add(-time.Hour)
	long := strings.Repeat("x", 1<<20)
	value := func(x any) *ua.DataValue {
		return &ua.DataValue{EncodingMask: ua.DataValueValue | ua.DataValueSourceTimestamp, Value: ua.MustVariant(x), SourceTimestamp: began.Add(time.Second)}
	}
	many := make([]*ua.DataValue, perHistoryNode)
	for i := range many {
		many[i] = value(int32(i))
	}
	answer := func(more bool, values ...*ua.DataValue) *ua.HistoryReadResult {
		res := &ua.HistoryReadResult{HistoryData: ua.NewExtensionObject(&ua.HistoryData{DataValues: values})}
		if more {
			res.ContinuationPoint = []byte("more")
		}
		return res
	}
	for name, x := range map[string]struct {
		answer func(asked int) *ua.HistoryReadResult
		slow   bool
		says   string // "": all is there
		most   int    // questions
		values int    // that are taken
	}{
		"nothing, and more":    {answer: func(int) *ua.HistoryReadResult { return answer(true) }, says: "promise more", most: 200},
		"no data, and more":    {answer: func(int) *ua.HistoryReadResult { return &ua.HistoryReadResult{ContinuationPoint: []byte("x")} }, says: "promise more", most: 200},
		"values without end":   {answer: func(int) *ua.HistoryReadResult { return answer(true, many...) }, says: "values", most: 1100, values: mostBackfilled},
		"nil values for ever":  {answer: func(int) *ua.HistoryReadResult { return answer(true, make([]*ua.DataValue, 10_000)...) }, says: "values", most: 200},
		"long values":          {answer: func(int) *ua.HistoryReadResult { return answer(true, value(long), value([]string{long, long})) }, says: "16 MiB", most: 10, values: 12},
		"one value, ever late": {answer: func(int) *ua.HistoryReadResult { return answer(true, value(int32(1))) }, slow: true, says: "longer than", most: 100, values: 60},
		"no result":            {answer: func(int) *ua.HistoryReadResult { return nil }, says: "tells nothing", most: 1},
		"an empty answer between": {answer: func(asked int) *ua.HistoryReadResult {
			if asked == 1 {
				return answer(true)
			}
			return answer(false, value(int32(1)))
		}, most: 2, values: 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked, taken := 0, 0
			f := &filling{left: mostBackfilled, room: 16 << 20, end: time.Now().Add(time.Hour)}
			f.ask = func(context.Context, ua.Request) (ua.Response, error) {
				if asked++; asked > x.most {
					return nil, context.DeadlineExceeded // the test has failed
				}
				if x.slow && asked == 60 {
					f.end = time.Now().Add(-time.Second)
				}
				return &ua.HistoryReadResponse{Results: []*ua.HistoryReadResult{x.answer(asked)}}, nil
			}
			it := &item{id: ua.NewStringNodeID(1, "a"), missed: began.UnixNano()}
			failed, err := f.read(t.Context(), []*item{it}, func(_ *item, dv *ua.DataValue) {
				taken++
				if name == "long values" {
					f.kept += weightOf(dv)
				}
			})
			if err != nil || x.says == "" && len(failed) > 0 || !strings.Contains(failed[it], x.says) || taken != x.values {
				t.Errorf("after %d questions and %d values: %q, %v; want %q and %d values", asked, taken, failed[it], err, x.says, x.values)
			}
		})
	}
}

// TestHistoryInParts: a long history becomes batches of a size that the log handles, all of
// it, in order.
func TestHistoryInParts(t *testing.T) {
	text := ua.MustVariant(strings.Repeat("x", 300<<10))
	for _, n := range []int{0, 1, 13, 14, 100} {
		values := make([]old, n)
		for i := range values {
			values[i] = old{dv: &ua.DataValue{Value: text}, ts: int64(i)}
		}
		next := int64(0)
		for part := range inParts(values) {
			if len(part) == 0 || len(part) > 14 {
				t.Errorf("a part of %d values", len(part))
			}
			for _, v := range part {
				if v.ts != next {
					t.Fatalf("value %d, want %d", v.ts, next)
				}
				next++
			}
		}
		if next != int64(n) {
			t.Errorf("%d of %d values", next, n)
		}
	}
}

// A value weighs what it leads to.
func TestWeightOfValues(t *testing.T) {
	for name, x := range map[string]struct {
		value       any
		least, most int
	}{
		"number":    {int32(1), 200, 300},
		"time":      {time.Now(), 200, 300},
		"text":      {strings.Repeat("x", 5000), 5000, 5500},
		"bytes":     {make([]byte, 5000), 5000, 5500},
		"texts":     {[]string{strings.Repeat("x", 5000), strings.Repeat("y", 5000)}, 10_000, 10_500},
		"numbers":   {make([]float64, 1000), 8000, 8500},
		"structure": {&ua.ExtensionObject{Value: make([]byte, 5000)}, 5000, 5500},
	} {
		if n := weightOf(&ua.DataValue{Value: ua.MustVariant(x.value)}); n < x.least || n > x.most {
			t.Errorf("%s: %d, want %d to %d", name, n, x.least, x.most)
		}
	}
	if n := weightOf(&ua.DataValue{}); n < 100 {
		t.Errorf("no value: %d", n)
	}
}
