package bus

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// What a consumer has, waits for and misses adds up to what was asked for, whether it
// had it in order or not, and whether the log still holds it or not.
func TestDelivery(t *testing.T) {
	start := time.Unix(1763888400, 0)
	var now atomic.Int64
	now.Store(start.Unix())
	b := openBus(t, testConfig(t.TempDir()), Deps{Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	near, far := openReader(t, b, "near"), openReader(t, b, "far")
	set := testSet("plc", 10)
	for i := range 60 { // ten frames a minute
		batch := batchOf(set, 10, int64(i*10))
		for j := range batch.Frames {
			batch.Frames[j].TS = start.Add(time.Duration(i)*time.Minute + time.Duration(j)*time.Second).UnixNano()
		}
		now.Store(start.Unix() + int64(i)*60 + 10)
		publish(t, b, batch)
		syncBus(t, b)
	}
	for c, acks := range map[*Reader][]Range{near: {{First: 1, Last: 150}, {First: 161, Last: 170}}, far: {{First: 1, Last: 100}}} {
		if err := c.Commit(Commit{Ack: acks}); err != nil {
			t.Fatal(err)
		}
	}
	minute := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	ask := func(sel Selection) Delivery {
		t.Helper()
		d, err := b.Archive().Delivery(t.Context(), sel)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := ask(Selection{From: minute(5), To: minute(18)})
	want := Delivery{
		FirstSeq: 51, LastSeq: 180, Frames: 130, FirstTime: minute(5), LastTime: minute(17).Add(9 * time.Second), LogSeq: 1, LogTime: start.Add(10 * time.Second),
		Consumers: []ConsumerDelivery{
			{Name: "far", Delivered: 50, Waiting: 80, AckSeq: 100, AckTime: minute(9).Add(10 * time.Second)},
			{Name: "near", Delivered: 110, Waiting: 20, AckSeq: 150, AckTime: minute(14).Add(10 * time.Second)},
		},
	}
	if diff := cmp.Diff(want, d, cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("an hour's part: %s", diff)
	}
	if d := ask(Selection{From: minute(61)}); d.Frames != 0 || d.Expired || d.Consumers[0].Waiting != 0 {
		t.Errorf("nothing: %+v", d)
	}
	// Frames that were given up are missed, and what is gone is told by its time.
	if _, err := b.Archive().GC(t.Context(), b.Stats().WALBytes/2, false, true); err != nil {
		t.Fatal(err)
	}
	floor := b.Stats().FirstSeq
	if floor < 151 {
		t.Fatalf("the log begins at %d", floor)
	}
	d = ask(Selection{From: minute(5), To: minute(60)})
	if !d.Expired || d.LogSeq != floor || d.LogTime.Before(minute(15)) || d.FirstSeq != floor || d.Frames != d.LastSeq-floor+1 { // with the sys.gap frame
		t.Errorf("half of it is gone: %+v", d)
	}
	if d = ask(Selection{First: floor}); d.Expired {
		t.Errorf("from the first frame that is held: %+v", d)
	}
	for _, c := range d.Consumers {
		if c.Delivered+c.Waiting+c.Missed != d.Frames || c.Waiting == 0 {
			t.Errorf("%d frames: %+v", d.Frames, c)
		}
	}
}

func TestCountOfRanges(t *testing.T) {
	c := count{gaps: wal.Union([]Range{{First: 5, Last: 9}, {First: 1, Last: 2}, {First: 3, Last: 4}}), settled: wal.Union([]Range{{First: 1, Last: 12}, {First: 20, Last: 22}})}
	for _, r := range []Range{{First: 1, Last: 10}, {First: 11, Last: 20}, {First: 21, Last: 30}} {
		c.add(r)
	}
	want := ConsumerDelivery{Missed: 9, Delivered: 12 - 9 + 3, Waiting: 7 + 8}
	if c.out != want {
		t.Errorf("got %+v, want %+v", c.out, want)
	}
}
