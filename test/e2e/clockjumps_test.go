package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// What is put into the standard library, and into the command, of a gateway whose clock a
// test can set: the wall clock alone, as a person or a time server does it.
const (
	offsetOfTime = `package time

import "sync/atomic"

var testOffset atomic.Int64

// SetTestOffset adds seconds to what Now shows.
func SetTestOffset(sec int64) { testOffset.Store(sec) }
`
	offsetOfCommand = `package main

import (
	"fmt"
	"os"
	"time"
)

func init() {
	look := func() {
		var sec int64
		data, err := os.ReadFile(os.Getenv("EDGE_TEST_CLOCK"))
		if err != nil {
			panic(err)
		}
		if _, err := fmt.Sscan(string(data), &sec); err == nil {
			time.SetTestOffset(sec)
		}
	}
	look()
	go func() {
		for {
			time.Sleep(10 * time.Millisecond)
			look()
		}
	}()
}
`
)

// buildWithClock builds edge-gw with a clock that the file EDGE_TEST_CLOCK sets. The whole
// standard library is compiled for it, which takes minutes.
func buildWithClock(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	now, err := os.ReadFile(filepath.Join(source, "time.go"))
	must(t, err)
	const begins = "sec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(now), begins) != 1 {
		t.Fatalf("time.Now of %s is not what this test changes", runtime.Version())
	}
	command, err := filepath.Abs("../../cmd/edge-gw")
	must(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(source, "time.go"):        write("time.go", strings.Replace(string(now), begins, begins+"\tsec += testOffset.Load()\n", 1)),
		filepath.Join(source, "testoffset.go"):  write("testoffset.go", offsetOfTime),
		filepath.Join(command, "testoffset.go"): write("command.go", offsetOfCommand),
	}})
	must(t, err)
	bin := filepath.Join(dir, "edge-gw")
	if out, err := exec.Command("go", "build", "-overlay", write("overlay.json", string(overlay)), "-o", bin, "github.com/edge-gateway/edge-gateway/cmd/edge-gw").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// TestClockJumps starts a gateway in 1970 and sets its clock to now, a day ahead, a day and
// a year back, with the broker away in between, and starts it anew in 1970. Every frame
// arrives once, in order of its number, whatever its time says.
func TestClockJumps(t *testing.T) {
	if !faults.Long() {
		return // TestClockNotSet is the short one
	}
	row := faults.Open(t, "clock")
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "clock", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, 20, "20ms"))
	gw.Bin = buildWithClock(t)
	clock := filepath.Join(gw.Dir, "clock")
	t.Setenv("EDGE_TEST_CLOCK", clock)
	set := func(offset time.Duration) {
		must(t, os.WriteFile(clock+".new", fmt.Append(nil, int64(offset.Seconds())), 0o600))
		must(t, os.Rename(clock+".new", clock))
	}
	in1970 := time.Minute - time.Since(time.Unix(0, 0))
	set(in1970)
	gw.Start(t)
	gw.WaitReady(t)
	goesOn(t, row, gw, sub, time.Now())
	const day = 24 * time.Hour
	for _, offset := range []time.Duration{0, day, -day, 0, -365 * day, 365 * day, in1970, 0} {
		broker.Stop(t)
		set(offset)
		row.Fault(1)
		time.Sleep(3 * time.Second) // frames of the new time, which wait for the broker
		broker.Start(t)
		goesOn(t, row, gw, sub, time.Now())
	}
	gw.Kill(t)
	set(in1970) // the board has no battery
	gw.Start(t)
	gw.WaitReady(t)
	row.Fault(1)
	goesOn(t, row, gw, sub, time.Now())
	set(0)
	row.Fault(1)
	time.Sleep(time.Second) // frames of the new time
	goesOn(t, row, gw, sub, time.Now())
	ends(t, row, gw, sub)
	decades := map[int]bool{}
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			decades[time.UnixMilli(f.TS).Year()/10] = true
		}
	}
	if !decades[197] || !decades[202] {
		t.Errorf("frames of the decades %v: the clock did not jump", decades)
	}
}
