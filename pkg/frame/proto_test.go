package frame

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// framesType returns the message Frames as schemas/frame/v1/frame.proto declares
// it. testdata/frame.binpb is made by "buf build" in schemas/frame.
func framesType(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	raw, err := os.ReadFile("testdata/frame.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	d, err := files.FindDescriptorByName("edgegateway.frame.v1.Frames")
	if err != nil {
		t.Fatal(err)
	}
	return d.(protoreflect.MessageDescriptor)
}

// TestProtoAgainstLibrary reads what the encoder writes with protobuf's own
// library, and has the decoder read what that library writes.
func TestProtoAgainstLibrary(t *testing.T) {
	b := jsonBatch()
	b.Frames = slices.Delete(b.Frames, 8, 9) // a NaN is published by nobody
	b.Frames[3].Value = StringValue("text")
	b.Frames = append(b.Frames, Frame{Value: BoolValue(false), TS: 5e6, Tag: 1}, Frame{Value: IntValue(0), Tag: 1}, Frame{Value: FloatValue(0), Tag: 1})
	wire := NewProtoEncoder(Milliseconds).AppendFrames(nil, b)
	msg := dynamicpb.NewMessage(framesType(t))
	if err := proto.Unmarshal(wire, msg); err != nil {
		t.Fatal(err)
	}
	list := msg.Get(msg.Descriptor().Fields().ByName("frames")).List()
	if list.Len() != len(b.Frames) {
		t.Fatalf("%d frames, want %d", list.Len(), len(b.Frames))
	}
	for i := range list.Len() {
		m := list.Get(i).Message()
		get := func(name protoreflect.Name) protoreflect.Value { return m.Get(m.Descriptor().Fields().ByName(name)) }
		f, tag := b.Frames[i], b.Tag(i)
		if len(m.GetUnknown()) > 0 || get("seq").Uint() != b.FirstSeq+uint64(i) || get("tag").String() != tag.Name || get("unit").String() != tag.Unit ||
			get("ts").Int() != Milliseconds.from(f.TS) || int(get("quality").Enum()) != int(f.Quality) ||
			f.Quality != Good && get("status").String() != b.Status(i) || f.Quality == Good && get("status").String() != "" {
			t.Errorf("frame %d: %v", i, m)
		}
		which := m.WhichOneof(m.Descriptor().Oneofs().ByName("value"))
		want := map[ValueKind]protoreflect.Name{KindBool: "bool", KindInt: "int", KindUint: "uint", KindFloat: "double", KindString: "string", KindBytes: "bytes", KindObject: "object", KindArray: "array"}[f.Value.Kind()]
		if (which == nil) != (want == "") || which != nil && which.Name() != want {
			t.Errorf("frame %d: value is in %v, want %s", i, which, want)
		}
	}

	theirs, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range [][]byte{wire, theirs} {
		got, err := DecodeProto(w, Milliseconds)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range got {
			f, tag := b.Frames[i], b.Tag(i)
			want := Sample{Seq: b.FirstSeq + uint64(i), Tag: tag.Name, Unit: tag.Unit, Quality: f.Quality, Value: f.Value, TS: Milliseconds.from(f.TS) * 1e6}
			if f.Quality != Good {
				want.Status = b.Status(i)
			}
			if diff := cmp.Diff(want, s, cmp.AllowUnexported(Value{})); diff != "" {
				t.Errorf("frame %d (-want +got):\n%s", i, diff)
			}
		}
	}
}

func TestProtoSingleFrames(t *testing.T) {
	b := jsonBatch()
	e := NewProtoEncoder(Microseconds)
	var one []byte
	for i := range b.Frames {
		one = e.AppendFrame(one, b, i)
	}
	if all := e.AppendFrames(nil, b); string(all) != string(one) {
		t.Error("frames one by one and all at once differ")
	}
}

func FuzzDecodeProto(f *testing.F) {
	f.Add(NewProtoEncoder(Milliseconds).AppendFrames(nil, jsonBatch()))
	f.Add([]byte{10, 2, 8, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		samples, err := DecodeProto(p, Nanoseconds)
		if err != nil {
			return
		}
		goodHaveNone(samples)
		// What was read can be written and read again, with the same result.
		var out []byte
		for _, s := range samples {
			out = NewProtoEncoder(Nanoseconds).AppendFrame(out, single(&s), 0)
		}
		again, err := DecodeProto(out, Nanoseconds)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(samples, again, cmp.AllowUnexported(Value{}), cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })); diff != "" {
			t.Fatal(diff)
		}
	})
}

func BenchmarkEncodeProto(b *testing.B) {
	batches := benchBatches(1024)
	e := NewProtoEncoder(Milliseconds)
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
