package busadmin_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// fill publishes n frames of two tags in batches of ten.
func fill(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	set := &frame.TagSet{Driver: "press", Tags: []frame.Tag{{Name: "line.a", Unit: "bar"}, {Name: "line.b"}}}
	for i := 0; i < n; i += 10 {
		batch := &frame.Batch{Set: set}
		for j := range 10 {
			batch.Frames = append(batch.Frames, frame.Frame{Value: frame.IntValue(int64(i + j)), TS: time.Now().UnixNano(), Tag: uint32(j % 2)})
		}
		if err := b.Publish(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *bus.Bus {
	t.Helper()
	b, err := bus.Open(bus.DefaultConfig(dir), bus.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replayed returns the values of the frames of r.
func replayed(t *testing.T, b admin.BusBackend, r admin.Range) (values []int64) {
	t.Helper()
	err := b.Replay(t.Context(), r, func(p admin.ReplayPart) error {
		for _, batch := range p.Batches {
			for i := range batch.Frames {
				values = append(values, batch.Frames[i].Value.Int())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// TestRunningAndStoppedSayTheSame looks at one log through a running bus and,
// after it was closed, in its directory.
func TestRunningAndStoppedSayTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	b := open(t, dir)
	fill(t, b, 5000)
	var export bytes.Buffer
	look := func(x *busadmin.Bus) (*pb.GetBusStatsResponse, []int64, *pb.CheckLogResponse) {
		t.Helper()
		s, err := x.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		check, err := x.Check(t.Context())
		if err != nil || len(check.Damages) > 0 {
			t.Fatalf("check: %+v, %v", check, err)
		}
		export.Reset()
		if sum, err := x.Export(t.Context(), 0, 0, &export); err != nil || sum.Frames != 5000 {
			t.Fatalf("export: %+v, %v", sum, err)
		}
		return s, replayed(t, x, admin.Range{FromSeq: 11, ToSeq: 4990, Filter: frame.Filter{Tags: []string{"*.b"}}}), check
	}
	s1, v1, c1 := look(busadmin.Running(b, nil))
	if s1.LastSeq != 5000 || s1.DurableSeq != 5000 || s1.RingSize == 0 {
		t.Errorf("stats %+v", s1)
	}
	if len(v1) != 2490 || v1[0] != 11 || v1[2489] != 4989 {
		t.Errorf("%d values, from %d to %d", len(v1), v1[0], v1[len(v1)-1])
	}
	if _, err := bus.OpenArchive(dir, false, nil); !errors.Is(err, bus.ErrLocked) {
		t.Errorf("a log in use is opened: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := bus.OpenArchive(dir, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	stopped := busadmin.Stopped(a, nil)
	s2, v2, c2 := look(stopped)
	if s2.Epoch != s1.Epoch || s2.LastSeq != 5000 || len(v2) != len(v1) || c2.Frames != c1.Frames {
		t.Errorf("stopped: %+v, %d values, %+v", s2, len(v2), c2)
	}
	for name, err := range map[string]error{
		"tail":      stopped.Tail(t.Context(), frame.Filter{}, nil),
		"replay to": stopped.ReplayTo(t.Context(), admin.Range{}, "mqtt", 0, nil),
	} {
		if !errors.Is(err, errkind.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := stopped.Set(t.Context(), "retain", "1h"); !errors.Is(err, errkind.Unavailable) {
		t.Errorf("set: %v", err)
	}

	copied := filepath.Join(t.TempDir(), "copy")
	if sum, err := busadmin.ImportDir(copied, &export); err != nil || sum.Frames != 5000 {
		t.Fatalf("import: %+v, %v", sum, err)
	}
	ca, err := bus.OpenArchive(copied, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	if got, err := busadmin.Stopped(ca, nil).Stats(t.Context()); err != nil || got.Epoch != s1.Epoch || got.LastSeq != 5000 {
		t.Errorf("copy: %+v, %v", got, err)
	}
}

func TestGCKeepsWhatNobodyHasHad(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "log"))
	defer b.Close()
	if _, err := b.OpenReader("mqtt", bus.StartOldest); err != nil {
		t.Fatal(err)
	}
	fill(t, b, 5000)
	x := busadmin.Running(b, nil)
	r, err := x.CollectGarbage(t.Context(), &pb.CollectGarbageRequest{})
	if err != nil || r.Frames != 0 || r.Blocked == 0 || len(r.Consumers) != 1 || r.FirstSeq != 1 {
		t.Errorf("without force: %+v, %v", r, err)
	}
	r, err = x.CollectGarbage(t.Context(), &pb.CollectGarbageRequest{Force: true, DryRun: true})
	if err != nil || r.Unacked == 0 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	if s, err := x.Stats(t.Context()); err != nil || s.FirstSeq != 1 {
		t.Errorf("the dry run deleted: %+v, %v", s, err)
	}
}

// TestRefusals: what the bus refuses has a kind, which is the code in the audit log.
func TestRefusals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	b := open(t, dir)
	if _, err := b.OpenReader("mqtt", bus.StartOldest); err != nil {
		t.Fatal(err)
	}
	fill(t, b, 10)
	x := busadmin.Running(b, nil)
	_, badImport := x.Import(t.Context(), strings.NewReader("no export"))
	refused := map[string]struct{ err, kind error }{
		"unknown consumer": {x.RemoveConsumer(t.Context(), "nobody"), errkind.NotFound},
		"consumer in use":  {x.RemoveConsumer(t.Context(), "mqtt"), errkind.Conflict},
		"no export":        {badImport, errkind.Invalid},
		"replay without a gateway": {
			x.ReplayTo(t.Context(), admin.Range{}, "mqtt", 0, func(*pb.ReplayToResponse) error { return nil }), errkind.Unavailable},
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, closed := x.Flush(t.Context())
	refused["closed"] = struct{ err, kind error }{closed, errkind.Unavailable}
	a, err := bus.OpenArchive(dir, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_, readOnly := busadmin.Stopped(a, nil).CollectGarbage(t.Context(), &pb.CollectGarbageRequest{Force: true})
	refused["opened for reading"] = struct{ err, kind error }{readOnly, errkind.Conflict}
	for name, r := range refused {
		if !errors.Is(r.err, r.kind) {
			t.Errorf("%s: %v, expected %v", name, r.err, r.kind)
		}
	}
}

func TestTailShowsNewFrames(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "log"))
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	x := busadmin.Running(b, nil)
	got := make(chan int, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- x.Tail(ctx, frame.Filter{Tags: []string{"line.a"}}, func(p admin.TailPart) error {
			got <- frame.CountFrames(p.Batches)
			return nil
		})
	}()
	for n := 0; n < 5; { // until the subscription has begun, what is published is not its business
		fill(t, b, 10)
		select {
		case k := <-got:
			n += k
		case <-time.After(50 * time.Millisecond):
		case err := <-ended:
			t.Fatalf("tail ended: %v", err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("tail: %v", err)
	}
}
