package point

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// variable16 is a uint16 holding register of driver d.
func variable16(tag string) config.Variable {
	return config.Variable{
		Tag: tag, DriverID: "d", Access: config.AccessRW, Datatype: config.TypeUint16,
		Address: config.Address{Type: config.AddrHolding, Addr: 40001},
	}
}

func compileTable(t testing.TB, prev *Table, vars ...config.Variable) *Table {
	t.Helper()
	table, err := Compile("d", vars, prev)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// observe decodes an answer of one point and returns the frame, if one came.
func observe(t *Table, i int, raw frame.Value, q frame.Quality, ts time.Duration) (frame.Frame, bool) {
	b := t.Begin(1)
	t.Observe(b, i, raw, q, int64(ts))
	if b = t.End(b); b == nil {
		return frame.Frame{}, false
	}
	return b.Frames[0], true
}

func TestCompileSortsAndFinds(t *testing.T) {
	a, b, c := variable16("a"), variable16("b"), variable16("c")
	b.Unit = "bar"
	table := compileTable(t, nil, c, a, b)
	if table.Len() != 3 || table.Set().Driver != "d" {
		t.Fatalf("Len %d, driver %q", table.Len(), table.Set().Driver)
	}
	for want, tag := range []string{"a", "b", "c"} {
		i, ok := table.Index(tag)
		if !ok || i != want || table.Variable(i).Tag != tag || table.Set().Tags[i].Name != tag {
			t.Errorf("Index(%s) = %d, %v; variable %s, set %s", tag, i, ok, table.Variable(i).Tag, table.Set().Tags[i].Name)
		}
	}
	if table.Set().Tags[1].Unit != "bar" {
		t.Errorf("unit of b is %q", table.Set().Tags[1].Unit)
	}
	if i, ok := table.Index("bb"); ok {
		t.Errorf("Index(bb) = %d", i)
	}
}

func TestCompileRefuses(t *testing.T) {
	with := func(change func(*config.Variable)) []config.Variable {
		v := variable16("x")
		change(&v)
		return []config.Variable{v}
	}
	for name, tc := range map[string]struct {
		vars []config.Variable
		want string
	}{
		"twice":        {[]config.Variable{variable16("x"), variable16("x")}, "twice"},
		"other driver": {with(func(v *config.Variable) { v.DriverID = "e" }), `driver_id is "e"`},
		"scale":        {with(func(v *config.Variable) { v.Scale = "val / 10" }), "unknown name val"},
		"text scale":   {with(func(v *config.Variable) { v.Scale, v.Datatype = "value/2", config.TypeString }), "string"},
		"deadband":     {with(func(v *config.Variable) { v.Deadband = -1 }), "deadband"},
		"NaN":          {with(func(v *config.Variable) { v.Deadband = math.NaN() }), "deadband"},
		"heartbeat":    {with(func(v *config.Variable) { v.Heartbeat = -1 }), "heartbeat"},
		"report":       {with(func(v *config.Variable) { v.Report = "sometimes" }), "report"},
	} {
		_, err := Compile("d", tc.vars, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "tag x") {
			t.Errorf("%s: error %v, want tag x and %q", name, err, tc.want)
		}
	}
}

func TestValues(t *testing.T) {
	plain := variable16("x")
	scaled := variable16("x")
	scaled.Scale = "value / 10"
	power := variable16("x")
	power.Scale = "1 % int(value) + value"
	for name, tc := range map[string]struct {
		v     config.Variable
		raw   frame.Value
		q     frame.Quality
		want  frame.Value
		wantQ frame.Quality
	}{
		"integer stays":   {plain, frame.IntValue(7), frame.Good, frame.IntValue(7), frame.Good},
		"large integer":   {plain, frame.UintValue(math.MaxUint64), frame.Good, frame.UintValue(math.MaxUint64), frame.Good},
		"bool":            {plain, frame.BoolValue(true), frame.Good, frame.BoolValue(true), frame.Good},
		"text":            {plain, frame.StringValue("on"), frame.Good, frame.StringValue("on"), frame.Good},
		"text, scaled":    {scaled, frame.StringValue("on"), frame.Good, frame.StringValue("on"), frame.Good},
		"bytes":           {plain, frame.BytesValue([]byte{1, 2}), frame.Good, frame.BytesValue([]byte{1, 2}), frame.Good},
		"tenths":          {scaled, frame.IntValue(123), frame.Good, frame.FloatValue(12.3), frame.Good},
		"scaled is float": {scaled, frame.IntValue(120), frame.Good, frame.FloatValue(12), frame.Good},
		"uncertain":       {scaled, frame.IntValue(120), frame.Uncertain, frame.FloatValue(12), frame.Uncertain},
		"NaN":             {plain, frame.FloatValue(math.NaN()), frame.Good, frame.Value{}, frame.Bad},
		"infinite":        {plain, frame.FloatValue(math.Inf(-1)), frame.Good, frame.Value{}, frame.Bad},
		"NaN, scaled":     {scaled, frame.FloatValue(math.NaN()), frame.Good, frame.Value{}, frame.Bad},
		"nothing":         {plain, frame.Value{}, frame.Good, frame.Value{}, frame.Bad},
		"scale fails":     {power, frame.IntValue(0), frame.Good, frame.Value{}, frame.Bad},
		"non-linear":      {power, frame.IntValue(3), frame.Good, frame.FloatValue(4), frame.Good},
	} {
		table := compileTable(t, nil, tc.v)
		f, ok := observe(table, 0, tc.raw, tc.q, 42)
		if !ok || f.Value != tc.want || f.Quality != tc.wantQ || f.TS != 42 {
			t.Errorf("%s: %v %v at %d (%v), want %v %v", name, f.Value, f.Quality, f.TS, ok, tc.want, tc.wantQ)
		}
		if l := table.Last(0); l != (Last{Value: tc.want, Quality: tc.wantQ, TS: 42, Known: true, Frames: 1}) {
			t.Errorf("%s: Last = %+v", name, l)
		}
		if tc.q == frame.Good {
			if v, q := table.Scale(0, tc.raw); v != tc.want || q != tc.wantQ {
				t.Errorf("%s: Scale = %v %v, want %v %v", name, v, q, tc.want, tc.wantQ)
			}
		}
	}
}

// Each rule is a series of polls, one a second; the wanted frames are marked.
func TestReportRules(t *testing.T) {
	type poll struct {
		v    float64
		q    frame.Quality
		want bool
	}
	const g, u, b = frame.Good, frame.Uncertain, frame.Bad
	for name, tc := range map[string]struct {
		rule  config.Variable
		polls []poll
	}{
		"always": {config.Variable{}, []poll{{1, g, true}, {1, g, true}, {1, b, true}, {1, b, true}}},
		"change": {config.Variable{Report: config.ReportChange},
			[]poll{{1, g, true}, {1, g, false}, {1.5, g, true}, {1.5, u, true}, {1.5, u, false}, {1.5, g, true}, {1, g, true}}},
		"deadband alone filters": {config.Variable{Deadband: 1},
			[]poll{{10, g, true}, {11, g, false}, {9, g, false}, {11.5, g, true}, {10, g, true}}},
		"drift counts from the last frame": {config.Variable{Deadband: 1},
			[]poll{{0, g, true}, {0.6, g, false}, {1.2, g, true}, {1.8, g, false}, {2.4, g, true}}},
		"quality wins over deadband": {config.Variable{Deadband: 100},
			[]poll{{0, g, true}, {0, b, true}, {0, b, false}, {50, g, true}, {51, u, true}}},
		"NaN is bad once": {config.Variable{Report: config.ReportChange},
			[]poll{{1, g, true}, {math.NaN(), g, true}, {math.NaN(), g, false}, {1, g, true}}},
		"heartbeat": {config.Variable{Report: config.ReportChange, Heartbeat: config.Duration(3 * time.Second)},
			[]poll{{1, g, true}, {1, g, false}, {1, g, false}, {1, g, true}, {1, g, false}, {2, g, true}, {2, g, false}, {2, g, false}, {2, g, true}}},
		"heartbeat without a filter adds nothing": {config.Variable{Heartbeat: config.Duration(time.Second)},
			[]poll{{1, g, true}, {1, g, true}}},
	} {
		v := variable16("x")
		v.Datatype = config.TypeFloat64
		v.Report, v.Deadband, v.Heartbeat = tc.rule.Report, tc.rule.Deadband, tc.rule.Heartbeat
		table := compileTable(t, nil, v)
		for i, p := range tc.polls {
			ts := time.Duration(i) * time.Second
			_, got := observe(table, 0, frame.FloatValue(p.v), p.q, ts)
			if got != p.want {
				t.Errorf("%s: poll %d (%v %v): frame %v, want %v", name, i, p.v, p.q, got, p.want)
			}
			if l := table.Last(0); l.TS != int64(ts) {
				t.Errorf("%s: poll %d: Last has time %d", name, i, l.TS)
			}
		}
	}
}

func TestHeartbeatWithJitter(t *testing.T) {
	v := variable16("x")
	v.Report, v.Heartbeat = config.ReportChange, config.Duration(10*time.Second)
	table := compileTable(t, nil, v)
	for i, poll := range []struct {
		at   time.Duration
		want bool
	}{
		{0, true},
		{9998 * time.Millisecond, true},
		{20003 * time.Millisecond, true},
		{29990 * time.Millisecond, true},
		{31 * time.Second, false},
		{25 * time.Second, true}, // the clock was set back
		{26 * time.Second, false},
	} {
		if _, got := observe(table, 0, frame.IntValue(1), frame.Good, poll.at); got != poll.want {
			t.Errorf("poll %d at %v: frame %v, want %v", i, poll.at, got, poll.want)
		}
	}
}

func TestLostIsToldOnce(t *testing.T) {
	for _, report := range []config.Report{config.ReportAlways, config.ReportChange} {
		v := variable16("x")
		v.Report = report
		table := compileTable(t, nil, v)
		lost := func(ts int64) int {
			b := table.Begin(1)
			table.Lost(b, 0, ts)
			if b = table.End(b); b == nil {
				return 0
			}
			if f := b.Frames[0]; f.Quality != frame.Bad || !f.Value.IsNone() || f.TS != ts {
				t.Errorf("%s: lost frame %+v", report, f)
			}
			return len(b.Frames)
		}
		if lost(1) != 1 || lost(2) != 0 {
			t.Errorf("%s: a point that was never read is not told once", report)
		}
		if _, ok := observe(table, 0, frame.IntValue(5), frame.Good, 3); !ok {
			t.Errorf("%s: no frame when it came back", report)
		}
		if lost(4) != 1 || lost(5) != 0 {
			t.Errorf("%s: lost again is not told once", report)
		}
		if l := table.Last(0); l.Quality != frame.Bad || !l.Value.IsNone() || l.TS != 4 || l.Frames != 3 {
			t.Errorf("%s: Last = %+v", report, l)
		}
		observe(table, 0, frame.FloatValue(math.NaN()), frame.Good, 6)
		if lost(7) != 0 {
			t.Errorf("%s: a bad answer in between made it be told again", report)
		}
		if f, ok := observe(table, 0, frame.IntValue(5), frame.Good, 8); !ok || f.Value.Int() != 5 {
			t.Errorf("%s: back with the same value: %v, %v", report, f, ok)
		}
	}
}

func TestBatch(t *testing.T) {
	vars := make([]config.Variable, 40)
	for i := range vars {
		vars[i] = variable16("t" + string(rune('A'+i)))
		vars[i].Report = config.ReportChange
	}
	table := compileTable(t, nil, vars...)
	poll := func(value func(i int) int64) *frame.Batch {
		b := table.Begin(len(vars))
		for i := range vars {
			table.Observe(b, i, frame.IntValue(value(i)), frame.Good, 1)
		}
		return table.End(b)
	}
	first := poll(func(i int) int64 { return int64(i) })
	if len(first.Frames) != 40 || first.Set != table.Set() || first.Kind != frame.Data {
		t.Fatalf("first batch: %d frames", len(first.Frames))
	}
	if b := poll(func(i int) int64 { return int64(i) }); b != nil {
		t.Fatalf("nothing changed and %d frames came", len(b.Frames))
	}
	second := poll(func(i int) int64 { return int64(i + i/39) })
	if len(second.Frames) != 1 || second.Frames[0].Tag != 39 || second.Tag(0).Name != table.Variable(39).Tag {
		t.Fatalf("one changed, got %+v", second.Frames)
	}
	if cap(second.Frames) > 8 {
		t.Errorf("a batch of one frame keeps room for %d", cap(second.Frames))
	}
	poll(func(i int) int64 { return -1 })
	if second.Frames[0].Value.Int() != 40 || first.Frames[3].Value.Int() != 3 {
		t.Error("a batch changed after it was handed out")
	}
}

func TestRecompileKeepsWhatStaysTheSame(t *testing.T) {
	a, b, c := variable16("a"), variable16("b"), variable16("c")
	a.Report, b.Report, c.Report = config.ReportChange, config.ReportChange, config.ReportChange
	bit := uint8(3)
	c.Address.Bit = &bit
	old := compileTable(t, nil, a, b, c)
	for i := range 3 {
		observe(old, i, frame.IntValue(5), frame.Good, 1)
	}
	sameBit := uint8(3)
	a.Deadband, b.Scale, c.Address.Bit = 2, "value * 1", &sameBit
	table := compileTable(t, old, c, b, a, variable16("d"))

	for tag, known := range map[string]bool{"a": true, "b": false, "c": true, "d": false} {
		i, _ := table.Index(tag)
		if got := table.Last(i).Known; got != known {
			t.Errorf("%s: last value known %v, want %v", tag, got, known)
		}
	}
	if table.Set() == old.Set() {
		t.Error("different tags share a set")
	}
	if again := compileTable(t, table, c, b, a, variable16("d")); again.Set() != table.Set() {
		t.Error("equal tags do not share their set")
	}

	// The driver decodes one more answer with the old table. The new one knows.
	if _, ok := observe(old, 0, frame.IntValue(9), frame.Good, 2); !ok {
		t.Error("old table: no frame for a change")
	}
	if _, ok := observe(table, 0, frame.IntValue(10), frame.Good, 3); ok {
		t.Error("new table: a frame for a change within the deadband since the old table's frame")
	}
	if f, ok := observe(table, 0, frame.IntValue(5), frame.Good, 3); !ok || f.Tag != 0 {
		t.Error("new table: no frame for a change since the old table's frame")
	}
	other := c
	other.Address.Bit = nil
	if i, table := 2, compileTable(t, table, a, b, other); table.Last(i).Known {
		t.Error("another bit of the register kept the last value")
	}
}

func TestReportAll(t *testing.T) {
	v := variable16("x")
	v.Report = config.ReportChange
	table := compileTable(t, nil, v)
	observe(table, 0, frame.IntValue(5), frame.Good, 1)
	table.ReportAll()
	if l := table.Last(0); !l.Known || l.Value.Int() != 5 || l.Frames != 1 {
		t.Errorf("Last = %+v", l)
	}
	if _, ok := observe(table, 0, frame.IntValue(5), frame.Good, 2); !ok {
		t.Error("no frame after ReportAll")
	}
	if _, ok := observe(table, 0, frame.IntValue(5), frame.Good, 3); ok {
		t.Error("a second frame after ReportAll")
	}
}

func TestAbandon(t *testing.T) {
	table := compileTable(t, nil, variable16("x"))
	table.Abandon() // nothing to do
	func() {
		defer func() { _ = recover() }() // the panic under test
		table.Begin(1)
		panic("in a decoder")
	}()
	table.Abandon()
	if table.Last(0).Known {
		t.Error("Last is known")
	}
	if _, ok := observe(table, 0, frame.IntValue(1), frame.Good, 1); !ok {
		t.Error("no frame after Abandon")
	}
}

func TestInvert(t *testing.T) {
	i, f, s := frame.IntValue, frame.FloatValue, frame.StringValue
	for _, tc := range []struct {
		dt    config.DataType
		scale string
		v     frame.Value
		want  frame.Value
	}{
		{config.TypeUint16, "", i(0), i(0)},
		{config.TypeUint16, "", i(65535), i(65535)},
		{config.TypeUint16, "", f(1.5), i(2)},
		{config.TypeUint16, "", f(65535.4), i(65535)},
		{config.TypeUint16, "", f(-0.4), i(0)},
		{config.TypeUint16, "value / 10", f(12.3), i(123)},
		{config.TypeUint16, "value * 0.1", f(12.3), i(123)},
		{config.TypeUint16, "value / 10", i(5), i(50)},
		{config.TypeInt16, "(value - 32) * 5/9", i(100), i(212)},
		{config.TypeInt16, "", i(-32768), i(-32768)},
		{config.TypeInt32, "10 - value", i(12), i(-2)},
		{config.TypeUint32, "", f(4294967295), i(4294967295)},
		{config.TypeUint64, "", frame.UintValue(math.MaxUint64), frame.UintValue(math.MaxUint64)},
		{config.TypeUint64, "", f(1 << 63), frame.UintValue(1 << 63)},
		{config.TypeInt64, "", i(math.MinInt64), i(math.MinInt64)},
		{config.TypeInt64, "", f(-1 << 63), i(math.MinInt64)},
		{config.TypeBCD16, "", i(9999), i(9999)},
		{config.TypeBCD32, "", i(99999999), i(99999999)},
		{config.TypeFloat32, "", f(12.3), f(float64(float32(12.3)))},
		{config.TypeFloat32, "", i(12), f(12)},
		{config.TypeFloat64, "value / 4", f(0.25), f(1)},
		{config.TypeBool, "", frame.BoolValue(true), frame.BoolValue(true)},
		{config.TypeBool, "", i(0), frame.BoolValue(false)},
		{config.TypeBool, "", f(1), frame.BoolValue(true)},
		{config.TypeString, "", s("on"), s("on")},
		{config.TypeBinary, "", frame.BytesValue([]byte{1, 2}), frame.BytesValue([]byte{1, 2})},
		{config.TypeBinary, "", s("AQI="), frame.BytesValue([]byte{1, 2})},
	} {
		v := variable16("x")
		v.Datatype, v.Scale = tc.dt, tc.scale
		got, err := compileTable(t, nil, v).Invert(0, tc.v)
		if err != nil || got != tc.want {
			t.Errorf("%s, scale %q: Invert(%v) = %v (kind %d), %v, want %v", tc.dt, tc.scale, tc.v, got, got.Kind(), err, tc.want)
		}
	}
}

func TestInvertRefuses(t *testing.T) {
	i, f, s := frame.IntValue, frame.FloatValue, frame.StringValue
	kind := errors.New("wrong kind") // stands for an error without a sentinel
	for _, tc := range []struct {
		dt    config.DataType
		scale string
		v     frame.Value
		is    error
		want  string
	}{
		{config.TypeUint16, "", i(65536), ErrRange, "65536, uint16 holds 0 to 65535"},
		{config.TypeUint16, "", i(-1), ErrRange, "0 to 65535"},
		{config.TypeUint16, "", f(65535.5), ErrRange, "0 to 65535"},
		{config.TypeUint16, "value / 10", f(6553.6), ErrRange, "6553.6 needs the raw value 65536"},
		{config.TypeInt16, "", i(32768), ErrRange, "-32768 to 32767"},
		{config.TypeInt16, "", i(-32769), ErrRange, "-32768 to 32767"},
		{config.TypeUint32, "", f(1 << 32), ErrRange, "4294967295"},
		{config.TypeInt32, "", i(1 << 31), ErrRange, "2147483647"},
		{config.TypeUint64, "", f(1 << 64), ErrRange, "18446744073709551615"},
		{config.TypeUint64, "", i(-1), ErrRange, "18446744073709551615"},
		{config.TypeInt64, "", f(1 << 63), ErrRange, "9223372036854775807"},
		{config.TypeInt64, "", frame.UintValue(1 << 63), ErrRange, "9223372036854775807"},
		{config.TypeBCD16, "", i(10000), ErrRange, "0 to 9999"},
		{config.TypeBCD32, "", i(100000000), ErrRange, "0 to 99999999"},
		{config.TypeFloat32, "", f(1e39), ErrRange, "float32"},
		{config.TypeFloat64, "", f(math.NaN()), ErrRange, "float64"},
		{config.TypeUint16, "", f(math.NaN()), ErrRange, "uint16"},
		{config.TypeUint16, "value ** 2", i(4), ErrNotInvertible, "value ** 2"},
		{config.TypeUint16, "value * 0", i(0), ErrNotInvertible, "value * 0"},
		{config.TypeUint16, "", s("12"), kind, "expected a number"},
		{config.TypeUint16, "", frame.BoolValue(true), kind, "expected a number"},
		{config.TypeUint16, "", frame.Value{}, kind, "expected a number"},
		{config.TypeBool, "", i(2), kind, "expected true"},
		{config.TypeString, "", i(2), kind, "expected text"},
		{config.TypeBinary, "", i(2), kind, "expected bytes"},
		{config.TypeBinary, "", s("?"), kind, "base64"},
		{"colour", "", i(2), kind, `datatype "colour"`},
	} {
		v := variable16("x")
		v.Datatype, v.Scale = tc.dt, tc.scale
		got, err := compileTable(t, nil, v).Invert(0, tc.v)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "tag x") ||
			!errors.Is(tc.is, kind) && !errors.Is(err, tc.is) {
			t.Errorf("%s, scale %q: Invert(%v) = %v, %v, want %v with %q", tc.dt, tc.scale, tc.v, got, err, tc.is, tc.want)
		}
	}
}

// table120 is what one Modbus answer of 120 registers holds.
func table120(t testing.TB, scale string, report config.Report) (*Table, []frame.Value) {
	vars := make([]config.Variable, 120)
	raws := make([]frame.Value, len(vars))
	for i := range vars {
		vars[i] = variable16("tag" + string(rune('0'+i/10)) + string(rune('0'+i%10)))
		vars[i].Scale, vars[i].Report = scale, report
		raws[i] = frame.IntValue(int64(i))
	}
	return compileTable(t, nil, vars...), raws
}

func TestObserveAllocatesNothing(t *testing.T) {
	for _, scale := range []string{"", "value / 10", "(value - 32) * 5/9"} {
		for report, want := range map[config.Report]float64{config.ReportAlways: 2, config.ReportChange: 0} {
			table, raws := table120(t, scale, report)
			poll := func() {
				b := table.Begin(len(raws))
				for i := range raws {
					table.Observe(b, i, raws[i], frame.Good, 1)
				}
				table.End(b)
			}
			poll()
			poll() // leaves a spare batch with report: change
			if got := testing.AllocsPerRun(100, poll); got != want {
				t.Errorf("scale %q, report %s: %v allocations per answer of 120 points, want %v (the batch)", scale, report, got, want)
			}
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, bc := range []struct {
		name, scale string
		report      config.Report
	}{
		{"plain", "", config.ReportAlways},
		{"linear", "value / 10", config.ReportAlways},
		{"linear3", "(value - 32) * 5/9", config.ReportAlways},
		{"linear-unchanged", "value / 10", config.ReportChange},
		{"vm", "value ** 2", config.ReportAlways},
	} {
		b.Run(bc.name, func(b *testing.B) {
			table, raws := table120(b, bc.scale, bc.report)
			b.ReportAllocs()
			for b.Loop() {
				batch := table.Begin(len(raws))
				for i := range raws {
					table.Observe(batch, i, raws[i], frame.Good, 1)
				}
				table.End(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(raws)), "ns/point")
		})
	}
}

func BenchmarkCompile10k(b *testing.B) {
	vars := make([]config.Variable, 10_000)
	for i := range vars {
		vars[i] = variable16("plant.area." + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)))
		vars[i].Scale = "value / 10"
	}
	prev := compileTable(b, nil, vars...)
	for b.Loop() {
		if _, err := Compile("d", vars, prev); err != nil {
			b.Fatal(err)
		}
	}
}
