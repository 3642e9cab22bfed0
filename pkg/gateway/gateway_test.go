package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func TestTypedValue(t *testing.T) {
	for _, c := range []struct {
		datatype config.DataType
		text     string
		want     frame.Value
		fails    bool
	}{
		{config.TypeUint16, "42", frame.IntValue(42), false},
		{config.TypeUint16, "42.5", frame.FloatValue(42.5), false},
		{config.TypeInt32, "-7", frame.IntValue(-7), false},
		{config.TypeUint64, "18446744073709551615", frame.UintValue(1<<64 - 1), false},
		{config.TypeFloat32, "1e3", frame.FloatValue(1000), false},
		{config.TypeFloat32, "warm", frame.Value{}, true},
		{config.TypeBool, "on", frame.BoolValue(true), false},
		{config.TypeBool, "0", frame.BoolValue(false), false},
		{config.TypeBool, "maybe", frame.Value{}, true},
		{config.TypeString, "42", frame.StringValue("42"), false},
		{config.TypeBinary, "ab", frame.BytesValue([]byte("ab")), false},
	} {
		got, err := typedValue(&config.Variable{Tag: "t", Datatype: c.datatype}, c.text)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s %q: %v, %v; want %v", c.datatype, c.text, got, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s %q: the error does not show the value: %v", c.datatype, c.text, err)
		}
	}
}

func TestInstanceIDStays(t *testing.T) {
	dir := t.TempDir()
	first, err := instanceID(dir)
	if err != nil || first == "" {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := instanceID(dir); err != nil || again != first {
		t.Errorf("%q, %v; want %q again", again, err, first)
	}
	if other, err := instanceID(t.TempDir()); err != nil || other == first {
		t.Errorf("another directory has the same id %q, %v", other, err)
	}
}

func TestTapShowsTracedEndpoint(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	tap := newTap(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
	log := slog.New(tap)
	one, two := log.With("endpoint", "one"), log.With("endpoint", "two")
	one.Debug("sent", "hex", "00 01")
	var seen []string
	stop := tap.hub.watch("one", func(r slog.Record) { seen = append(seen, r.Message) })
	one.Debug("received", "hex", "02")
	two.Debug("received", "hex", "03")
	one.Info("endpoint is up")
	stop()
	one.Debug("sent", "hex", "04")
	if len(seen) != 1 || seen[0] != "received" {
		t.Errorf("seen %v; want what endpoint one received while it was watched", seen)
	}
	if strings.Contains(out.String(), "received") || !strings.Contains(out.String(), "endpoint is up") {
		t.Errorf("the log holds debug records, or lacks others:\n%s", out.String())
	}
	if kept := string(tap.hub.text()); !strings.Contains(kept, "INFO endpoint is up endpoint=one") || strings.Contains(kept, "received") {
		t.Errorf("kept for the archive: %q", kept)
	}
}

func TestTapKeepsTheLastLines(t *testing.T) {
	log := newTap(slog.NewTextHandler(io.Discard, nil))
	for i := range tapLines + 5 {
		slog.New(log).Info("line", "n", i)
	}
	lines := strings.Split(strings.TrimSpace(string(log.hub.text())), "\n")
	if len(lines) != tapLines || !strings.HasSuffix(lines[0], "n=5") {
		t.Errorf("%d lines, the first %q", len(lines), lines[0])
	}
}

func TestPartsEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failure error
		p := newParts(func(err error) { failure = err })
		p.start("good", func(ctx context.Context) error { <-ctx.Done(); return nil })
		p.start("bad", func(context.Context) error { return errors.New("no luck") })
		synctest.Wait()
		if failure == nil || failure.Error() != "bad: no luck" {
			t.Errorf("failure %v", failure)
		}
		if !p.stop(time.Second) {
			t.Error("they did not end")
		}
		hang := newParts(func(error) {})
		release := make(chan struct{})
		hang.start("deaf", func(context.Context) error { <-release; return nil })
		if began := time.Now(); hang.stop(time.Second) || time.Since(began) != time.Second {
			t.Errorf("stop of what hangs took %s", time.Since(began))
		}
		close(release)
	})
}

func TestHistoryIsBoundedAndTold(t *testing.T) {
	h := newHistory()
	events, stop := h.watch()
	h.progress(apply.Progress{State: apply.DrainEP})
	for i := range historySize + 3 {
		h.add(apply.Result{Rev: uint64(i)})
	}
	if _, ok := (<-events).(apply.Progress); !ok {
		t.Error("the progress was not told first")
	}
	stop()
	if all := h.list(0); len(all) != historySize || all[0].Rev != historySize+2 {
		t.Errorf("%d results, the newest %d", len(all), all[0].Rev)
	}
	if two := h.list(2); len(two) != 2 {
		t.Errorf("%d results; want 2", len(two))
	}
}

// A rollback by hand goes to what ran, not to a release that failed.
func TestHistoryKnowsWhatRanBefore(t *testing.T) {
	h := newHistory()
	for _, r := range []apply.Result{
		{Rev: 3, SHA256: "a", Outcome: apply.Applied}, {Rev: 5, SHA256: "b", Outcome: apply.Applied},
		{Rev: 7, SHA256: "c", Outcome: apply.RolledBack}, {Rev: 11, SHA256: "d", Outcome: apply.Rejected},
	} {
		h.add(r)
	}
	for current, want := range map[feed.Revision]uint64{
		{Rev: 9, SHA256: "b"}:  3, // the store was put back: b has another revision
		{Rev: 13, SHA256: "e"}: 5, {Rev: 3, SHA256: "a"}: 0,
	} {
		if got := h.ranBefore(current); got.Rev != want {
			t.Errorf("before rev %d %s ran rev %d, want %d", current.Rev, current.SHA256, got.Rev, want)
		}
	}
}

// The history survives a restart, and a file that is no history begins anew.
func TestHistoryIsKept(t *testing.T) {
	dir := t.TempDir()
	h := newHistory()
	h.open(dir, slog.New(slog.DiscardHandler))
	h.add(apply.Result{Rev: 3, SHA256: "a", Author: "ann", Message: "a new pump", Outcome: apply.Applied, Impact: "drivers ~1", Began: time.Now(), Duration: time.Second})
	h.add(apply.Result{Rev: 5, SHA256: "b", Outcome: apply.Rejected, Err: errors.New("no"), FailedIn: apply.Preparing, Began: time.Now()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Run(ctx); err != nil {
		t.Fatal(err)
	}
	next := newHistory()
	next.open(dir, slog.New(slog.DiscardHandler))
	was, is := &pb.ListConfigHistoryResponse{Applies: h.list(0)}, &pb.ListConfigHistoryResponse{Applies: next.list(0)}
	if !proto.Equal(was, is) || len(is.Applies) != 2 {
		t.Errorf("was %+v, is %+v", was, is)
	} else if a := is.Applies[1]; a.Author != "ann" || a.Message != "a new pump" {
		t.Errorf("by %q: %q", a.Author, a.Message)
	}
	if err := os.WriteFile(filepath.Join(dir, historyFile), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := newHistory()
	broken.open(dir, slog.New(slog.DiscardHandler))
	if len(broken.list(0)) != 0 {
		t.Errorf("a broken file: %+v", broken.list(0))
	}
}

// What can't be read is no restore that was cut off: nobody is told to empty it.
func TestUnreadableDataDirIsNoRestore(t *testing.T) {
	dir := t.TempDir()
	if err := checkRestored(dir); err != nil {
		t.Error(err)
	}
	mark := filepath.Join(dir, restoringAt)
	if err := os.Mkdir(mark, 0o700); err != nil { // root may read everything, but no directory
		t.Fatal(err)
	}
	if err := checkRestored(dir); err == nil || strings.Contains(err.Error(), "empty") {
		t.Errorf("an unreadable mark: %v", err)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mark, []byte("b.tar.zst\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkRestored(dir); err == nil || !strings.Contains(err.Error(), "restore of b.tar.zst is not complete: empty the directory") {
		t.Errorf("a restore that was cut off: %v", err)
	}
}

func TestMaskedHidesPasswords(t *testing.T) {
	snap := &config.Snapshot{Endpoints: map[string]config.Endpoint{
		"a": {Scheme: "tcp", Host: "h", Opts: map[string]string{"password": "hunter2", "timeout": "1s"}},
		"b": {Scheme: "tcp", Host: "h", Opts: map[string]string{"password": "${file:pw}"}},
	}}
	doc := string(masked(snap).Document().JSON())
	if strings.Contains(doc, "hunter2") || !strings.Contains(doc, "${file:pw}") || !strings.Contains(doc, "timeout") {
		t.Errorf("%s", doc)
	}
	if snap.Endpoints["a"].Opts["password"] != "hunter2" {
		t.Error("the snapshot itself was changed")
	}
}

// TestTraceShowsQuestions: waiting for a silent line before a question is no event;
// a question without an answer is one.
func TestTraceShowsQuestions(t *testing.T) {
	record := func(msg string, args ...any) slog.Record {
		r := slog.NewRecord(time.Time{}, slog.LevelDebug, msg, 0)
		r.Add(append([]any{"conn", uint64(3)}, args...)...)
		return r
	}
	nothing := []any{"bytes", 0, "hex", "", "error", errors.New("read /dev/ttyUSB0: i/o timeout")}
	var q questions
	var seen []string
	for _, r := range []slog.Record{
		record("received", nothing...), record("sent", "hex", "01 03"), record("received", "hex", "01 83"), record("received", nothing...),
		record("sent", "hex", "01 04"), record("received", nothing...), record("received", nothing...),
	} {
		if e := traceEvent(r); q.shows(e) {
			seen = append(seen, fmt.Sprintf("%d %s %x %s", e.Connection, e.Event, e.Data, e.Text))
		}
	}
	if got := strings.Join(seen, "|"); got != "3 send 0103 |3 receive 0183 |3 send 0104 |3 error  no answer in time" {
		t.Error(got)
	}
}

// TestTracesAreCounted: who stops looking first does not blind the other.
func TestTracesAreCounted(t *testing.T) {
	pool, err := endpoint.NewPool(endpoint.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(t.Context())
	u, err := endpoint.Parse("tcp://127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Open("plc1", u); err != nil {
		t.Fatal(err)
	}
	var tr traces
	on := func(want bool) {
		t.Helper()
		if s, err := pool.State("plc1"); err != nil || s.Trace != want {
			t.Errorf("traced %t, %v; want %t", s.Trace, err, want)
		}
	}
	for range 2 {
		if err := tr.begin(pool, "plc1"); err != nil {
			t.Fatal(err)
		}
	}
	tr.end(pool, "plc1")
	on(true)
	tr.end(pool, "plc1")
	on(false)
	if err := tr.begin(pool, "nope"); !errors.Is(err, endpoint.ErrNotFound) {
		t.Errorf("an endpoint that is not there: %v", err)
	}
}
