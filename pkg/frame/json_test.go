package frame

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func jsonBatch() *Batch {
	return &Batch{FirstSeq: 41, Set: &TagSet{Driver: "d", Tags: []Tag{{"plant.flow_m3h_raw", "m3_h"}, {"b", ""}, {`q"\é`, "°C"}}}, Frames: []Frame{
		{Value: FloatValue(12.3), TS: 1763888400123456789, Tag: 0},
		{Value: BoolValue(true), TS: 1763888400123456789, Tag: 1},
		{Value: Value{}, TS: 1763888400124000000, Tag: 2, Quality: Bad},
		{Value: StringValue("a\"b\n\x01\xffé"), TS: -1, Tag: 1, Quality: Uncertain},
		{Value: BytesValue([]byte{0, 1, 255}), TS: 5e6, Tag: 1},
		{Value: IntValue(-7), TS: 5e6, Tag: 1},
		{Value: UintValue(math.MaxUint64), TS: 5e6, Tag: 1},
		{Value: ObjectValue(`{"from":1,"to":2}`), TS: 5e6, Tag: 1},
		{Value: FloatValue(math.NaN()), TS: 5e6, Tag: 1},
		{Value: ArrayValue(`[1,2.5,18446744073709551615,"]",[true]]`), TS: 5e6, Tag: 1},
		{TS: 5e6, Tag: 1, Quality: Bad, Status: 1},
		{Value: IntValue(1), TS: 5e6, Tag: 1, Status: 1},
	}, Statuses: []string{"0x80340000 BadNodeIdUnknown"}}
}

func TestJSONShape(t *testing.T) {
	want := []string{
		`{"seq":41,"tag":"plant.flow_m3h_raw","ts":1763888400123,"value":12.3,"quality":"good","unit":"m3_h"}`,
		`{"seq":42,"tag":"b","ts":1763888400123,"value":true,"quality":"good"}`,
		`{"seq":43,"tag":"q\"\\é","ts":1763888400124,"value":null,"quality":"bad","unit":"°C"}`,
		`{"seq":44,"tag":"b","ts":-1,"value":"a\"b\n\u0001` + "\ufffd" + `é","quality":"uncertain"}`,
		`{"seq":45,"tag":"b","ts":5,"value":"AAH/","quality":"good"}`,
		`{"seq":46,"tag":"b","ts":5,"value":-7,"quality":"good"}`,
		`{"seq":47,"tag":"b","ts":5,"value":18446744073709551615,"quality":"good"}`,
		`{"seq":48,"tag":"b","ts":5,"value":{"from":1,"to":2},"quality":"good"}`,
		`{"seq":49,"tag":"b","ts":5,"value":null,"quality":"good"}`,
		`{"seq":50,"tag":"b","ts":5,"value":[1,2.5,18446744073709551615,"]",[true]],"quality":"good"}`,
		`{"seq":51,"tag":"b","ts":5,"value":null,"quality":"bad","status":"0x80340000 BadNodeIdUnknown"}`,
		`{"seq":52,"tag":"b","ts":5,"value":1,"quality":"good"}`,
	}
	b := jsonBatch()
	e := NewJSONEncoder(Milliseconds)
	for i, w := range want {
		if got := string(e.AppendFrame(nil, b, i)); got != w {
			t.Errorf("frame %d:\n got %s\nwant %s", i, got, w)
		}
	}
	if got := string(e.AppendFrames(nil, b)); got != strings.Join(want, ",")+"," {
		t.Errorf("AppendFrames:\n%s", got)
	}
	for unit, ts := range map[TimestampUnit]string{Microseconds: "1763888400123456", Nanoseconds: "1763888400123456789"} {
		if got := string(NewJSONEncoder(unit).AppendFrame(nil, b, 0)); !strings.Contains(got, `"ts":`+ts+`,`) {
			t.Errorf("%s: %s", unit, got)
		}
	}
}

// TestJSONFloats compares with the general algorithm: the same number, never a
// longer text, always JSON.
func TestJSONFloats(t *testing.T) {
	values := []float64{0, math.Copysign(0, -1), 1, -1, 0.1, -0.1, 0.05, 0.001, 0.0001, 0.00001, 1e-7, 12.3, 123456.789, 1e9, 1e15, 1e21, 1e300, -1e-300,
		999999999.9999, 99999999.99999, 0.30000000000000004, math.MaxFloat64, math.SmallestNonzeroFloat64, float64(float32(12.3)), 1 << 53, 4503599627370497.5}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		values = append(values, math.Float64frombits(r.Uint64()), r.NormFloat64()*1000, float64(r.IntN(1_000_000))/10, float64(r.IntN(1e9)-5e8)/1e4)
	}
	for _, f := range values {
		got := string(appendJSONFloat(nil, f))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			if got != "null" {
				t.Fatalf("%v: %s", f, got)
			}
			continue
		}
		back, err := strconv.ParseFloat(got, 64)
		if err != nil || math.Float64bits(back) != math.Float64bits(f) || !json.Valid([]byte(got)) {
			t.Fatalf("%b: wrote %s, reads back as %v (%v)", f, got, back, err)
		}
		short, err := json.Marshal(f)
		if err != nil || len(got) > len(short)+1 { // it writes e-7 where strconv writes e-07
			t.Fatalf("wrote %s, encoding/json writes %s (%v)", got, short, err)
		}
	}
}

func TestJSONRoundTrip(t *testing.T) {
	b := jsonBatch()
	for _, unit := range []TimestampUnit{Milliseconds, Microseconds, Nanoseconds} {
		payload := NewJSONEncoder(unit).AppendFrames([]byte{'['}, b)
		payload[len(payload)-1] = ']'
		got, err := DecodeJSON(payload, unit)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(b.Frames) {
			t.Fatalf("%d frames, want %d", len(got), len(b.Frames))
		}
		for i, s := range got {
			f, tag := b.Frames[i], b.Tag(i)
			want := Sample{Seq: b.FirstSeq + uint64(i), Tag: tag.Name, Unit: tag.Unit, Quality: f.Quality, Value: f.Value,
				TS: unit.from(f.TS) * unit.nanoseconds()}
			switch i {
			case 3:
				want.Value = StringValue("a\"b\n\x01\ufffdé")
			case 4:
				want.Value = StringValue("AAH/") // JSON does not say that it was bytes
			case 8:
				want.Value = Value{}
			case 10:
				want.Status = b.Statuses[0]
			}
			if diff := cmp.Diff(want, s, cmp.AllowUnexported(Value{})); diff != "" {
				t.Errorf("frame %d (-want +got):\n%s", i, diff)
			}
		}
	}
}

func TestDecodeJSONErrors(t *testing.T) {
	for payload, want := range map[string]string{
		``:   "array of frames",
		`{}`: "array of frames",
		`[{"seq":1,"tag":"a","ts":1,"value":1,"quality":"good"}`:                    "does not end",
		`[{"seq":1,"tag":"a","ts":1,"value":1,"quality":"good"}] 1`:                 "follows",
		`[{"seq":1,"tag":"a","ts":1,"value":1}]`:                                    "quality is missing",
		`[{"tag":"a","ts":1,"value":1,"quality":"good"}]`:                           "seq is missing",
		`[{"seq":1,"tag":"a","ts":1,"value":1,"quality":"fine"}]`:                   "expected good",
		`[{"seq":1,"tag":"a","ts":1,"value":[1,],"quality":"good"}]`:                "frame 0",
		`[{"seq":1,"tag":"a","ts":1,"value":1e999,"quality":"good"}]`:               "64-bit float",
		`[{"seq":-1,"tag":"a","ts":1,"value":1,"quality":"good"}]`:                  "frame 0",
		`[{"seq":1,"tag":"a","ts":9223372036854775807,"value":1,"quality":"good"}]`: "out of range",
	} {
		if _, err := DecodeJSON([]byte(payload), Milliseconds); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", payload, err, want)
		}
	}
}

// single returns the batch of one sample.
func single(s *Sample) *Batch {
	b := Single(Data, "", Tag{s.Tag, s.Unit}, Frame{Value: s.Value, TS: s.TS, Quality: s.Quality})
	b.FirstSeq = s.Seq
	if s.Status != "" {
		b.Statuses, b.Frames[0].Status = []string{s.Status}, 1
	}
	return b
}

// goodHaveNone takes away the statuses that are not written again.
func goodHaveNone(samples []Sample) {
	for i := range samples {
		if samples[i].Quality == Good {
			samples[i].Status = ""
		}
	}
}

func FuzzDecodeJSON(f *testing.F) {
	payload := NewJSONEncoder(Milliseconds).AppendFrames([]byte{'['}, jsonBatch())
	payload[len(payload)-1] = ']'
	f.Add(payload)
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, p []byte) {
		samples, err := DecodeJSON(p, Milliseconds)
		if err != nil {
			return
		}
		goodHaveNone(samples)
		// What was read can be written and read again, with the same result.
		out := []byte{'['}
		for _, s := range samples {
			b := single(&s)
			out = append(NewJSONEncoder(Milliseconds).AppendFrame(out, b, 0), ',')
		}
		if len(samples) > 0 {
			out = out[:len(out)-1]
		}
		again, err := DecodeJSON(append(out, ']'), Milliseconds)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if diff := cmp.Diff(samples, again, cmp.AllowUnexported(Value{})); diff != "" {
			t.Fatalf("%s\n%s", out, diff)
		}
	})
}

// benchBatches returns n frames of 50-register answers with plausible values.
func benchBatches(n int) []*Batch {
	set := &TagSet{Driver: "line1"}
	for i := range 1000 {
		set.Tags = append(set.Tags, Tag{Name: "plant.line1.r" + strconv.Itoa(i), Unit: "bar"})
	}
	r := rand.New(rand.NewPCG(3, 4))
	var out []*Batch
	for seq := uint64(1_000_000); n > 0; n -= 120 {
		b := &Batch{FirstSeq: seq, Set: set}
		for i := range min(n, 120) {
			b.Frames = append(b.Frames, Frame{Value: FloatValue(float64(r.IntN(65536)) / 10), TS: 1763888400123456789 + int64(seq)*1e5, Tag: uint32(i)})
		}
		seq += uint64(len(b.Frames))
		out = append(out, b)
	}
	return out
}

func BenchmarkEncodeJSON(b *testing.B) {
	batches := benchBatches(1024)
	e := NewJSONEncoder(Milliseconds)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = buf[:0]
		for _, x := range batches {
			buf = e.AppendFrames(buf, x)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/frame")
	b.ReportMetric(float64(len(buf))/1024, "B/frame")
}

func BenchmarkDecodeJSON(b *testing.B) {
	payload := []byte{'['}
	e := NewJSONEncoder(Milliseconds)
	for _, x := range benchBatches(1024) {
		payload = e.AppendFrames(payload, x)
	}
	payload[len(payload)-1] = ']'
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeJSON(payload, Milliseconds); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/frame")
}

// TestValuesForPeople: large and small numbers have no exponent where a display
// would have none.
func TestValuesForPeople(t *testing.T) {
	for f, want := range map[float64]string{
		1234567.5: "1234567.5", 24937484: "24937484", -0.0001: "-0.0001", 12.3: "12.3", 1e300: "1e+300", 3.7e-35: "3.7e-35",
		math.Inf(-1): "-Inf",
	} {
		if got := FloatValue(f).String(); got != want {
			t.Errorf("%v is shown as %s, want %s", f, got, want)
		}
	}
	if got := FloatValue(math.NaN()).String(); got != "NaN" {
		t.Errorf("NaN is shown as %s", got)
	}
}
