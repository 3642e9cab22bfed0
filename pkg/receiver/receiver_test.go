package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// seqs returns a message with the given frames.
func seqs(prev uint64, numbers ...uint64) *Batch {
	b := &Batch{Topic: "t", Gateway: "gw", Epoch: "e", PrevSeq: prev, FirstSeq: numbers[0], LastSeq: numbers[len(numbers)-1], Received: time.Unix(10, 0)}
	for _, n := range numbers {
		b.Samples = append(b.Samples, frame.Sample{Seq: n, Tag: "a", TS: time.Unix(9, 0).UnixNano()})
	}
	return b
}

func numbers(s []frame.Sample) []uint64 {
	var out []uint64
	for _, x := range s {
		out = append(out, x.Seq)
	}
	return out
}

func TestTake(t *testing.T) {
	type step struct {
		b     *Batch
		fresh []uint64
	}
	replayed := seqs(0, 1, 2, 3)
	replayed.Replay = "r1"
	other := seqs(0, 2, 3, 9)
	other.Topic = "u"
	epoch := seqs(0, 1, 2)
	epoch.Epoch = "f"
	cases := []struct {
		name  string
		steps []step
		gaps  string
		late  uint64
		rep   uint64
	}{
		{name: "in order", steps: []step{{seqs(0, 1, 2), []uint64{1, 2}}, {seqs(2, 3, 7), []uint64{3, 7}}, {seqs(7, 9), []uint64{9}}}},
		{name: "begins in the middle", steps: []step{{seqs(100, 105), []uint64{105}}}},
		{name: "message missing", steps: []step{{seqs(0, 1, 2), []uint64{1, 2}}, {seqs(4, 5), []uint64{5}}}, gaps: "t:3-4"},
		{name: "late, not missing", steps: []step{{seqs(0, 1), []uint64{1}}, {seqs(4, 5), []uint64{5}}, {seqs(1, 3, 4), []uint64{3, 4}}}, late: 1},
		{name: "repeat", steps: []step{{seqs(0, 1, 2), []uint64{1, 2}}, {seqs(0, 1, 2), nil}}, rep: 2},
		{name: "batched anew", steps: []step{{seqs(0, 1, 2), []uint64{1, 2}}, {seqs(2, 4, 5), []uint64{4, 5}}, {seqs(0, 1, 2, 4, 5, 6, 8), []uint64{6, 8}}}, rep: 4},
		{name: "replay", steps: []step{{seqs(10, 11), []uint64{11}}, {replayed, nil}, {seqs(11, 12), []uint64{12}}}},
		{name: "same frame on another topic", steps: []step{{seqs(0, 1, 2), []uint64{1, 2}}, {other, []uint64{3, 9}}}, rep: 1},
		{name: "another epoch", steps: []step{{seqs(0, 1, 2), []uint64{1, 2}}, {epoch, []uint64{1, 2}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l, err := OpenLedger("")
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range c.steps {
				if diff := cmp.Diff(s.fresh, numbers(l.Take(s.b))); diff != "" {
					t.Errorf("message %d, fresh frames (-want +got):\n%s", i, diff)
				}
			}
			r := l.Report()
			var gaps []string
			var late, rep uint64
			for _, g := range r.Gateways {
				late, rep = late+g.Late, rep+g.Repeats
				for _, x := range g.Gaps {
					gaps = append(gaps, fmt.Sprintf("%s:%d-%d", x.Topic, x.First, x.Last))
				}
			}
			if got := strings.Join(gaps, " "); got != c.gaps || late != c.late || rep != c.rep {
				t.Errorf("gaps %q, %d late, %d repeats; want %q, %d, %d", got, late, rep, c.gaps, c.late, c.rep)
			}
			if r.OK() != (c.gaps == "") {
				t.Errorf("OK is %t", r.OK())
			}
		})
	}
}

// TestRuns compares the set with a plain one.
func TestRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s runs
		plain := map[uint64]bool{}
		for range 60 {
			x := Range{First: 1 + r.Uint64N(200)}
			x.Last = x.First + r.Uint64N(12)
			var known uint64
			for n := x.First; n <= x.Last; n++ {
				if plain[n] {
					known++
				}
				plain[n] = true
			}
			if got := s.add(x); got != known {
				t.Fatalf("add %v: %d were known, want %d; %v", x, got, known, s)
			}
			for n := uint64(1); n < 220; n++ {
				if s.contains(n) != plain[n] {
					t.Fatalf("contains %d is %t; %v", n, s.contains(n), s)
				}
			}
			for i := 1; i < len(s); i++ {
				if s[i].First <= s[i-1].Last+1 {
					t.Fatalf("runs overlap or touch: %v", s)
				}
			}
		}
	}
}

func TestLedgerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Take(seqs(0, 1, 2, 5))
	l.Take(seqs(9, 10))
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l.Report(), again.Report()); diff != "" {
		t.Errorf("report (-saved +loaded):\n%s", diff)
	}
	if got := numbers(again.Take(seqs(2, 5, 6))); !cmp.Equal(got, []uint64{6}) {
		t.Errorf("fresh after loading: %v, want [6]", got)
	}
}

// message returns a message as the gateway sends it.
func message(t testing.TB, props map[string]string) *Message {
	t.Helper()
	b := frame.Single(frame.Data, "d", frame.Tag{Name: "a", Unit: "bar"}, frame.Frame{Value: frame.IntValue(7), TS: 5e6})
	b.FirstSeq = 41
	plain := append(frame.NewJSONEncoder(frame.Milliseconds).AppendFrame([]byte{'['}, b, 0), ']')
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{Topic: "t", ContentType: "application/json", Payload: z.EncodeAll(plain, nil), Properties: map[string]string{
		"gw": "gw", "epoch": "e", "first_seq": "41", "last_seq": "41", "prev_seq": "40", "config_rev": "3", "encoding": "zstd"}}
	for k, v := range props {
		m.Properties[k] = v
	}
	return m
}

func TestDecode(t *testing.T) {
	d, err := NewDecoder(frame.Milliseconds)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := d.Decode(message(t, map[string]string{"stream": "live"}))
	if err != nil {
		t.Fatal(err)
	}
	want := &Batch{Topic: "t", Gateway: "gw", Epoch: "e", Stream: "live", FirstSeq: 41, LastSeq: 41, PrevSeq: 40, ConfigRev: 3,
		Samples: []frame.Sample{{Seq: 41, Tag: "a", TS: 5e6, Value: frame.IntValue(7), Unit: "bar"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(frame.Value{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range []struct{ key, value, want string }{
		{"gw", "", "gateway's"}, {"first_seq", "x", "first_seq"}, {"first_seq", "40", "its frames are 41 to 41"}, {"prev_seq", "41", "prev_seq 41"},
		{"encoding", "identity", "JSON payload"}, {"encoding", "gzip", "expected zstd"}, {"test", "1", "no data"},
	} {
		if _, err := d.Decode(message(t, map[string]string{c.key: c.value})); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want an error with %q", c.key, c.value, err, c.want)
		}
	}
	if _, err := d.Decode(&Message{Topic: "plant/data"}); !errors.Is(err, ErrNotData) { // a retained message is removed
		t.Errorf("empty: %v, want %v", err, ErrNotData)
	}
	for _, topic := range []string{"/edge/status/acme/line-1", "/edge/cmd/acme/line-1/write", "/edge/cmd-result/acme/line-1"} {
		if _, err := d.Decode(&Message{Topic: topic, Payload: []byte(`{"status":"online"}`)}); !errors.Is(err, ErrNotData) {
			t.Errorf("%s: %v, want %v", topic, err, ErrNotData)
		}
	}
}

func FuzzDecode(f *testing.F) {
	m := message(f, nil)
	f.Add(m.Payload, "zstd", "application/json", uint64(41))
	f.Add([]byte("[]"), "identity", "application/json", uint64(1))
	f.Add([]byte{10, 4, 8, 1, 24, 2}, "identity", "application/x-protobuf", uint64(1))
	d, err := NewDecoder(frame.Milliseconds)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte, encoding, content string, seq uint64) {
		n := strconv.FormatUint(seq, 10)
		m := &Message{Payload: payload, ContentType: content, Properties: map[string]string{"gw": "g", "epoch": "e", "first_seq": n, "last_seq": n,
			"prev_seq": "0", "config_rev": "0", "encoding": encoding}}
		b, err := d.Decode(m)
		if err == nil && (len(b.Samples) == 0 || b.Samples[0].Seq != seq) {
			t.Errorf("accepted %+v", b)
		}
	})
}

func TestDelays(t *testing.T) {
	var d delays
	for i := range 1000 {
		d.add(time.Duration(i) * time.Millisecond)
	}
	r := d.report()
	for _, c := range []struct{ got, want float64 }{{r.P50Ms, 500}, {r.P95Ms, 950}, {r.P99Ms, 990}, {r.MaxMs, 999}} {
		if c.got < c.want*0.99 || c.got > c.want*1.42 {
			t.Errorf("%+v: %v is not within 41 %% above %v", r, c.got, c.want)
		}
	}
}

// TestBombs: a few bytes that somebody publishes don't become gigabytes.
func TestBombs(t *testing.T) {
	d, err := NewDecoder(frame.Milliseconds)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zeros := encoder.EncodeAll(make([]byte, 512<<20), nil)
	envelope := (&frame.Envelope{Gateway: "g", Epoch: "e", FirstSeq: 1, LastSeq: 2}).AppendProto(nil)
	frames := encoder.EncodeAll(append(envelope, bytes.Repeat([]byte{0x0a, 0}, 30<<20)...), nil)
	nested := encoder.EncodeAll(bytes.Repeat([]byte(`{"frames":`), 4<<20), nil)
	for name, m := range map[string]Message{
		"zeros": {Payload: zeros}, "empty frames": {Payload: frames, ContentType: "application/x-protobuf"}, "nested": {Payload: nested},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m.Properties = map[string]string{"encoding": "zstd"}
			if b, err := d.Decode(&m); err == nil {
				t.Errorf("%d samples were taken", len(b.Samples))
			}
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 700<<20 { // in all, not at a time
				t.Errorf("%d bytes in, %d MiB allocated", len(m.Payload), grown>>20)
			}
		})
	}
}
