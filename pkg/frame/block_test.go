package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func appendSum(body []byte) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, castagnoli()))
}

func equalBatches(a, b *Batch) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(Value{}))
}

func testSet(driver string, n int) *TagSet {
	s := &TagSet{Driver: driver}
	for i := range n {
		s.Tags = append(s.Tags, Tag{Name: fmt.Sprintf("plant.line1.%s_%04d", driver, i), Unit: []string{"", "bar", "m3_h"}[i/7%3]})
	}
	return s
}

// randomValue covers every kind and every form that a float can take.
func randomValue(r *rand.Rand) Value {
	switch r.IntN(13) {
	case 0:
		return Value{}
	case 1:
		return BoolValue(r.IntN(2) == 1)
	case 2:
		return IntValue(int64(r.Uint64()))
	case 3:
		return UintValue(r.Uint64() | 1<<63)
	case 4:
		return FloatValue(float64(r.IntN(65536)) / 10)
	case 5:
		return FloatValue(float64(r.IntN(65536)) * 0.01)
	case 6:
		return FloatValue(float64(math.Float32frombits(r.Uint32() & 0x7f7fffff)))
	case 7:
		return FloatValue(r.NormFloat64())
	case 8:
		return StringValue(fmt.Sprint("text ", r.IntN(1000), "é"))
	case 9:
		return BytesValue([]byte{0, byte(r.Uint32()), 255})
	case 10:
		return ObjectValue(`{"from":1,"to":2}`)
	case 11:
		return ArrayValue([]string{"[]", "[1,2.5,18446744073709551615]", `[[true],["]",null]]`}[r.IntN(3)])
	}
	return FloatValue([]float64{0, math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64, 1e6, -0.1}[r.IntN(6)])
}

func randomBatch(r *rand.Rand, set *TagSet) *Batch {
	b := &Batch{Kind: Kind(r.IntN(2)), ConfigRev: r.Uint64N(1 << 40), Set: set}
	base, spread := int64(1763888400123456789), []int64{1, 1000, 1e15}[r.IntN(3)]
	ordered, kindOnly := r.IntN(2) == 0, r.IntN(2) == 0
	v := randomValue(r)
	n := 1 + r.IntN(len(set.Tags))
	for i := range n {
		f := Frame{TS: base + r.Int64N(spread), Tag: uint32(i), Quality: Quality(r.IntN(20) / 18), Value: v}
		if !ordered {
			f.Tag = r.Uint32N(uint32(len(set.Tags)))
		}
		if !kindOnly {
			f.Value = randomValue(r)
		}
		if f.Quality != Good {
			f.Status = b.AddStatus([]string{"", "0x80340000 BadNodeIdUnknown", "2 illegal address"}[r.IntN(3)])
		}
		b.Frames = append(b.Frames, f)
	}
	return b
}

func TestBlockRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	set := testSet("plc", 300)
	for i := range 500 {
		want := randomBatch(r, set)
		p, err := AppendBlock([]byte("before"), want)
		if err != nil {
			t.Fatal(err)
		}
		p = p[len("before"):]
		got, err := DecodeBlock(p, set)
		if err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		if d := equalBatches(want, got); d != "" {
			t.Fatalf("batch %d: %s", i, d)
		}
		h, err := ParseBlockHeader(p)
		if err != nil || h.Count != len(want.Frames) || h.ConfigRev != want.ConfigRev || h.Kind != want.Kind {
			t.Fatalf("header %+v, %v", h, err)
		}
		for _, f := range want.Frames {
			if f.TS < h.MinTS || f.TS > h.MaxTS {
				t.Fatalf("time %d outside of header's %d to %d", f.TS, h.MinTS, h.MaxTS)
			}
		}
	}
}

// TestBlockOfTheVersionBefore: what the version before can't hold is left out, and what
// needs nothing new is the same in both.
func TestBlockOfTheVersionBefore(t *testing.T) {
	set := testSet("plc", 3)
	b := &Batch{Set: set, Frames: []Frame{{Value: IntValue(1), TS: 5}, {Value: ArrayValue("[1,2]"), TS: 6, Tag: 1}, {TS: 7, Tag: 2, Quality: Bad}}}
	b.Frames[2].Status = b.AddStatus("2 illegal address")
	old, err := AppendBlockOf(nil, b, 1)
	if err != nil || old[0] != 1 {
		t.Fatalf("version %d, %v", old[0], err)
	}
	got, err := DecodeBlock(old, set)
	if err != nil {
		t.Fatal(err)
	}
	want := *b
	want.Frames = slices.Clone(b.Frames)
	want.DropStatuses()
	if d := equalBatches(&want, got); d != "" {
		t.Error(d)
	}
	for version, frames := range map[byte][]Frame{1: b.Frames[:1], 2: b.Frames[1:2]} {
		if p, err := AppendBlock(nil, &Batch{Set: set, Frames: frames}); err != nil || p[0] != version {
			t.Errorf("%v: version %d, %v; expected %d", frames, p[0], err, version)
		}
	}
}

// TestStatuses: a batch has each text once, and no more than it can number.
func TestStatuses(t *testing.T) {
	b := &Batch{Frames: make([]Frame, 1)}
	if a, again := b.AddStatus("a"), b.AddStatus("a"); a != 1 || again != 1 || b.AddStatus("") != 0 || b.AddStatus(strings.Repeat("x", 1000)) != 0 {
		t.Errorf("%d, %d, %q", a, again, b.Statuses)
	}
	for i := range 2 * maxStatuses {
		b.Frames[0].Status = b.AddStatus(strconv.Itoa(i))
	}
	if len(b.Statuses) != maxStatuses || b.Status(0) != "" {
		t.Errorf("%d statuses, the last is %q", len(b.Statuses), b.Status(0))
	}
	b.Frames[0].Status = math.MaxUint16 // of whoever can't count
	if b.Status(0) != "" {
		t.Error(b.Status(0))
	}
}

// Any single changed byte and any cut must be noticed.
func TestBlockDamageIsNoticed(t *testing.T) {
	set := testSet("plc", 20)
	p, err := AppendBlock(nil, randomBatch(rand.New(rand.NewPCG(3, 4)), set))
	if err != nil {
		t.Fatal(err)
	}
	for i := range p {
		q := bytes.Clone(p)
		q[i] ^= 0x10
		if _, err := DecodeBlock(q, set); !errors.Is(err, ErrBadBlock) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := DecodeBlock(p[:i], set); !errors.Is(err, ErrBadBlock) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
}

func TestBlockRefusesWhatItCannotDecode(t *testing.T) {
	set := testSet("plc", 2)
	for name, b := range map[string]*Batch{
		"empty":      {Set: set},
		"no set":     {Frames: make([]Frame, 1)},
		"bad tag":    {Set: set, Frames: []Frame{{Tag: 2}}},
		"too many":   {Set: set, Frames: make([]Frame, MaxBlockFrames+1)},
		"late wrong": {Set: set, Frames: []Frame{{}, {Tag: 9}}},
	} {
		if p, err := AppendBlock(nil, b); err == nil || len(p) != 0 {
			t.Errorf("%s: %d bytes, error %v", name, len(p), err)
		}
	}
}

func TestTagSetRoundTrip(t *testing.T) {
	for _, want := range []*TagSet{testSet("plc", 500), {Driver: "", Tags: []Tag{{Name: "sys.gap"}}}, testSet("温度", 3), {Driver: "d", Tags: []Tag{}}} {
		p := AppendTagSet(nil, want)
		got, err := DecodeTagSet(p)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		for i := range p {
			q := bytes.Clone(p)
			q[i] ^= 1
			if _, err := DecodeTagSet(q); !errors.Is(err, ErrBadBlock) {
				t.Errorf("byte %d changed: %v", i, err)
			}
		}
	}
}

func TestFilter(t *testing.T) {
	set := &TagSet{Driver: "plc1", Tags: []Tag{{Name: "plant.flow"}, {Name: "plant.temp"}, {Name: "tank.flow"}}}
	b := &Batch{FirstSeq: 10, Set: set, Frames: []Frame{{Tag: 0}, {Tag: 1, Quality: Bad}, {Tag: 2}, {Tag: 0}}}
	for _, tc := range []struct {
		name string
		f    Filter
		want []uint64 // first, last, first, last …
	}{
		{"all", Filter{}, []uint64{10, 13}},
		{"glob", Filter{Tags: []string{"plant.*"}}, []uint64{10, 11, 13, 13}},
		{"two globs", Filter{Tags: []string{"tank.*", "*.temp"}}, []uint64{11, 12}},
		{"quality", Filter{Qualities: []Quality{Bad}}, []uint64{11, 11}},
		{"both", Filter{Tags: []string{"tank.*"}, Qualities: []Quality{Bad}}, nil},
		{"driver", Filter{Drivers: []string{"plc2"}}, nil},
		{"own driver", Filter{Drivers: []string{"plc2", "plc1"}}, []uint64{10, 13}},
		{"kind", Filter{Kinds: []Kind{Cmd}}, nil},
	} {
		m, err := tc.f.Compile()
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, part := range m.Split(nil, b) {
			got = append(got, part.FirstSeq, part.LastSeq())
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
	}
	if _, err := (Filter{Tags: []string{"[a"}}).Compile(); err == nil {
		t.Error("a bad glob was accepted")
	}
}

func FuzzDecodeBlock(f *testing.F) {
	set := testSet("plc", 50)
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		p, err := AppendBlock(nil, randomBatch(r, set))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p[:len(p)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		// The sum is put right, or the fuzzer would never get behind it.
		p := appendSum(body)
		b, err := DecodeBlock(p, set)
		if err != nil {
			return
		}
		q, err := AppendBlock(nil, b)
		if err != nil {
			t.Fatalf("decoded, but can't be encoded: %v", err)
		}
		again, err := DecodeBlock(q, set)
		if err != nil {
			t.Fatal(err)
		}
		if d := equalBatches(b, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzDecodeTagSet(f *testing.F) {
	for _, n := range []int{0, 1, 40} {
		p := AppendTagSet(nil, testSet("plc", n))
		f.Add(p[:len(p)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := DecodeTagSet(appendSum(body))
		if err != nil {
			return
		}
		again, err := DecodeTagSet(AppendTagSet(nil, s))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, again); d != "" {
			t.Fatal(d)
		}
	})
}

// TestBlockSize holds the codec to its budget of 12 bytes per numeric frame.
func TestBlockSize(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	set := testSet("plc", 100)
	for _, tc := range []struct {
		name  string
		value func() Value
		most  float64
	}{
		{"tenths", func() Value { return FloatValue(math.Round(r.Float64()*40000) / 10) }, 4.5},
		{"tenths, multiplied", func() Value { return FloatValue(float64(r.IntN(40000)) * 0.1) }, 5},
		{"float32", func() Value { return FloatValue(float64(float32(r.NormFloat64()))) }, 5.5},
		{"any double", func() Value { return FloatValue(r.NormFloat64()) }, 8.5},
		{"half doubles", func() Value { return FloatValue([]float64{r.NormFloat64(), 1.5}[r.IntN(2)]) }, 9.5},
		{"int16", func() Value { return IntValue(int64(r.IntN(1<<16)) - 1<<15) }, 3.5},
		{"int64", func() Value { return IntValue(int64(r.Uint64())) }, 10.5},
		{"uint64", func() Value { return UintValue(r.Uint64() | 1<<63) }, 10.5},
		{"bool", func() Value { return BoolValue(r.IntN(2) == 1) }, 0.5},
	} {
		b := &Batch{Set: set, ConfigRev: 1000}
		for i := range 100 {
			b.Frames = append(b.Frames, Frame{Value: tc.value(), TS: 1763888400123456789, Tag: uint32(i)})
		}
		p, err := AppendBlock(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		size := float64(len(p)) / 100
		t.Logf("%-18s %.2f bytes per frame", tc.name, size)
		if size > tc.most {
			t.Errorf("%s: %.2f bytes per frame, expected at most %.1f", tc.name, size, tc.most)
		}
	}
}

func BenchmarkAppendBlock100(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 10))
	for name, value := range map[string]func() Value{
		"tenths":     func() Value { return FloatValue(math.Round(r.Float64()*40000) / 10) },
		"any-double": func() Value { return FloatValue(r.NormFloat64()) },
		"mixed":      func() Value { return FloatValue([]float64{r.NormFloat64(), 1.5}[r.IntN(2)]) },
	} {
		b.Run(name, func(b *testing.B) {
			batch := &Batch{Set: testSet("plc", 100)}
			for i := range 100 {
				batch.Frames = append(batch.Frames, Frame{Value: value(), TS: 5, Tag: uint32(i)})
			}
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = AppendBlock(buf[:0], batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/frame")
		})
	}
}
