package mqtt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector/connectortest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// mixed returns batches of several drivers, with commands between.
func mixed(r *rand.Rand, log *connectortest.Log) {
	for range 40 {
		set := &frame.TagSet{Driver: []string{"a", "b", ""}[r.IntN(3)]}
		for i := range 5 {
			set.Tags = append(set.Tags, frame.Tag{Name: fmt.Sprintf("%s.t%d", set.Driver, i), Unit: "bar"})
		}
		b := &frame.Batch{Set: set}
		if r.IntN(10) == 0 {
			b.Kind = frame.Cmd
		}
		for range 1 + r.IntN(20) {
			b.Frames = append(b.Frames, frame.Frame{Value: frame.FloatValue(r.Float64()), TS: 1e18 + r.Int64N(1e9), Tag: uint32(r.IntN(5))})
		}
		log.Publish(b)
	}
}

// TestSameBytes makes messages from the log as it is read, and again from their
// records: the bytes are the same, whatever the encoding, the template and the
// cuts, and all data frames are in them.
func TestSameBytes(t *testing.T) {
	for seed := range 40 {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		log := connectortest.NewLog()
		mixed(r, log)
		enc := encoding{Payload: []string{payloadJSON, payloadJSONZstd, payloadProtobuf, payloadProtobufZstd}[seed%4], Unit: frame.Milliseconds}
		template := []string{"t", "t/{driver}", "t/{tag}", "{driver}/{tag}"}[r.IntN(4)]
		read := func() *maker {
			return &maker{fetch: log.Fetch, codecs: map[encoding]*codec{}, free: make(chan []byte, 1)}
		}
		rd, err := newReader(log, nil, readerOptions{qos: 2, pace: steady(1+r.IntN(100), 300+r.IntN(5000)), record: windowRecord{Template: template, encoding: enc}}, read())
		if err != nil {
			t.Fatal(err)
		}
		again := read()
		next, frames := uint64(1), 0
		for next <= log.Head() {
			w, err := rd.next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if w.record.First != next || w.record.Last < w.record.First {
				t.Fatalf("seed %d: window %d to %d after %d", seed, w.record.First, w.record.Last, next-1)
			}
			next = w.record.Last + 1
			size := 0
			for _, m := range w.parts {
				made, err := again.again(&m.record)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(made.body, m.made.body) || made.first != m.made.first || made.last != m.made.last || made.frames != m.made.frames {
					t.Fatalf("seed %d, %s on %s: the message made again differs", seed, enc.Payload, m.record.Topic)
				}
				frames += made.frames
				size += len(plain(t, enc, made.body))
			}
			if size > rd.builder.limit && w.record.Last > w.record.First && len(w.parts) == 1 {
				t.Errorf("seed %d: a window of %d bytes, the limit is %d", seed, size, rd.builder.limit)
			}
			// The rest of a window that was stored in part.
			if len(w.parts) > 1 {
				rest := &window{record: w.record}
				rest.record.Next = 1
				if err := rd.complete(rest); err != nil {
					t.Fatal(err)
				}
				if len(rest.parts) != len(w.parts)-1 || rest.parts[0].record.Topic != w.parts[1].record.Topic {
					t.Errorf("seed %d: the rest of a window has %d parts of %d", seed, len(rest.parts), len(w.parts))
				}
			}
		}
		if want := dataFrames(t, log); frames != want {
			t.Errorf("seed %d: %d frames in messages, want %d", seed, frames, want)
		}
	}
}

func plain(t *testing.T, e encoding, body []byte) []byte {
	t.Helper()
	if !e.compressed() {
		return body
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, err := d.DecodeAll(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func dataFrames(t *testing.T, log *connectortest.Log) (n int) {
	t.Helper()
	batches, err := log.Fetch(1, log.Head())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if b.Kind == frame.Data {
			n += len(b.Frames)
		}
	}
	return n
}

// TestReaderSkips leaves out what is in flight or delivered, and windows never
// reach over it.
func TestReaderSkips(t *testing.T) {
	log := connectortest.NewLog()
	for range 10 {
		log.Publish(frames(10))
	}
	if err := log.Commit(bus.Commit{Ack: []bus.Range{{First: 1, Last: 5}, {First: 41, Last: 55}}}); err != nil {
		t.Fatal(err)
	}
	k := &maker{fetch: log.Fetch, codecs: map[encoding]*codec{}, free: make(chan []byte, 1)}
	rd, err := newReader(log, []bus.Range{{First: 6, Last: 12}, {First: 20, Last: 29}, {First: 30, Last: 33}},
		readerOptions{pace: steady(1000, 1<<20), record: windowRecord{Template: "t", encoding: encoding{Payload: payloadJSON}}}, k)
	if err != nil {
		t.Fatal(err)
	}
	var got, gaps []bus.Range
	for rd.live.cursor <= log.Head() || len(rd.live.ready) > 0 {
		w, err := rd.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, gaps = append(got, w.rng()), append(gaps, w.gaps...)
	}
	if want := []bus.Range{{First: 13, Last: 19}, {First: 34, Last: 40}, {First: 56, Last: 100}}; !slices.Equal(got, want) {
		t.Errorf("windows %v, want %v", got, want)
	}
	if want := []bus.Range{{First: 41, Last: 55}}; !slices.Equal(gaps, want) {
		t.Errorf("gaps %v, want %v", gaps, want)
	}
}

// BenchmarkWindow is the way of 1,024 frames from the log into a compressed
// message.
func BenchmarkWindow(b *testing.B) {
	for _, payload := range []string{payloadJSON, payloadJSONZstd, payloadProtobufZstd} {
		b.Run(payload, func(b *testing.B) {
			c, err := newCodec(encoding{Payload: payload, Unit: frame.Milliseconds})
			if err != nil {
				b.Fatal(err)
			}
			batches := plantBatches(1024)
			bl := newBuilder(c, newRouter("t"))
			k := &maker{free: make(chan []byte, 1)}
			size := 0
			b.ReportAllocs()
			for b.Loop() {
				bl.reset()
				for _, batch := range batches {
					bl.add(batch)
				}
				made := k.finish(c, bl.parts[0])
				size = len(made.body)
				k.recycle(made.body)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/frame")
			b.ReportMetric(float64(size)/1024, "B/frame")
		})
	}
}

// plantBatches returns n frames of 120-register answers.
func plantBatches(n int) []*frame.Batch {
	set := &frame.TagSet{Driver: "line1"}
	for i := range 1000 {
		set.Tags = append(set.Tags, frame.Tag{Name: fmt.Sprintf("plant.line1.r%d", i), Unit: "bar"})
	}
	r := rand.New(rand.NewPCG(3, 4))
	var out []*frame.Batch
	for seq := uint64(1_000_000); n > 0; n -= 120 {
		batch := &frame.Batch{FirstSeq: seq, Set: set}
		for i := range min(n, 120) {
			batch.Frames = append(batch.Frames, frame.Frame{Value: frame.FloatValue(float64(r.IntN(65536)) / 10), TS: 1763888400123456789 + int64(seq)*1e5, Tag: uint32(i)})
		}
		seq += uint64(len(batch.Frames))
		out = append(out, batch)
	}
	return out
}

// steady is a pace that waits for nothing.
func steady(maxFrames, limit int) func() pace {
	return func() pace { return pace{maxFrames: maxFrames, maxInterval: 1, limit: limit} }
}
