package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// readyz returns whether the gateway is ready and what it says.
func readyz(gw *peer.Gateway) (bool, string) { return gw.Readyz() }

// within waits for ok, limit at most, and returns how long that took.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	peer.WaitFor(t, limit, what, ok)
	return time.Since(began)
}

// TestLogDirectoryGone moves the log of a running gateway away and back, and then
// deletes it: noticed within a second or so, told by readyz and edge-ctl status, and
// the end of the process, with the reason, if it doesn't come back.
func TestLogDirectoryGone(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	gw := peer.NewGateway(t, "", tables(plc.Addr, 10, "50ms"))
	gw.Start(t)
	gw.WaitReady(t)
	log := filepath.Join(gw.Dir, "data", "log")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(log, log+".away")
	took := within(t, 10*time.Second, "readyz to notice", func() bool { ready, _ := readyz(gw); return !ready })
	t.Logf("noticed after %s", took)
	if took > 1500*time.Millisecond { // a second, and a loaded machine
		t.Errorf("noticed after %s", took)
	}
	if _, text := readyz(gw); !strings.Contains(text, log) || !strings.Contains(text, "moved") {
		t.Errorf("readyz: %s", text)
	}
	if status := run(t, "edge-ctl", "--socket", gw.Socket(), "status"); !strings.Contains(status, "put it back") {
		t.Errorf("status:\n%s", status)
	}
	move(log+".away", log)
	gw.WaitReady(t)

	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	if code := gw.Wait(t, 30*time.Second); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if last := gw.Output(); !strings.Contains(last, "was deleted, moved or replaced while it was in use") {
		t.Errorf("it ended without the reason:\n%s", last)
	}
	gw.Start(t) // a new log begins
	gw.WaitReady(t)
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestNoInodes uses up the inodes of the log's disk: nothing is logged, and nothing is
// called ready. It takes root and runs where EDGE_FULL_DISK is set.
func TestNoInodes(t *testing.T) {
	if os.Getenv("EDGE_FULL_DISK") == "" {
		return // part of make crash
	}
	plc := peer.StartPLC(t, "")
	gw := peer.NewGateway(t, "bus: {min_free: 0, wal_max_bytes: 16M, retain: 0s, ring_pow: 14}\n", tables(plc.Addr, 100, "10ms"))
	data := filepath.Join(gw.Dir, "data")
	mount(t, data, "size=256m,nr_inodes=200")
	gw.Start(t)
	gw.WaitReady(t)
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(data, fmt.Sprint("filler", i)), nil, 0o600); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	peer.WaitFor(t, 60*time.Second, "readyz to notice", func() bool { ready, text := readyz(gw); return !ready && strings.Contains(text, "inodes") })
	fillers, err := filepath.Glob(filepath.Join(data, "filler*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fillers {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	gw.WaitReady(t)
}

// TestReadOnlyDisk remounts the log's disk: the gateway ends with the reason, and does
// not start, until it can be written again.
func TestReadOnlyDisk(t *testing.T) {
	if os.Getenv("EDGE_FULL_DISK") == "" {
		return // part of make crash
	}
	row := faults.Open(t, "disk-read-only")
	plc := peer.StartPLC(t, "")
	gw := peer.NewGateway(t, "bus: {min_free: 16M}\n", tables(plc.Addr, 100, "10ms"))
	data := filepath.Join(gw.Dir, "data")
	mount(t, data, "size=256m")
	gw.Start(t)
	gw.WaitReady(t)
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("", data, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	gw.Start(t)
	if code := gw.Wait(t, 20*time.Second); code != 1 || !strings.Contains(gw.Output(), "read-only file system") {
		t.Errorf("exit code %d", code)
	}
	remount(0)
	row.Fault(1)
	back := time.Now()
	gw.Start(t)
	gw.WaitReady(t)
	row.Recovered(time.Since(back))
	row.Memory(gw.Peak())
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	row.Count(checkLog(t, filepath.Join(data, "log")))
}

// checkLog has edge-bus check a stopped gateway's log, and returns how many frames there are and how
// many of them are damaged.
func checkLog(t *testing.T, log string) (accepted, lost, repeated uint64) {
	t.Helper()
	r := decode[struct {
		Frames  uint64
		Damages []struct {
			First uint64 `json:"first_seq"`
			Last  uint64 `json:"last_seq"`
		}
	}](t, "edge-bus", "--wal-dir", log, "check")
	for _, d := range r.Damages {
		lost += d.Last - d.First + 1
	}
	if r.Frames == 0 || lost > 0 {
		t.Errorf("the log holds %d frames, %d damaged", r.Frames, lost)
	}
	return r.Frames, lost, 0
}

// mount puts a file system in memory on dir, which takes root.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o700), syscall.Mount("tmpfs", dir, "tmpfs", 0, options)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// TestReadOnlyCard reads the log of a stopped gateway on a medium that can't be written
// with every command that only reads; nothing on it changes. While the gateway runs, and
// writes through another mount, it is in use. It takes root and runs where
// EDGE_FULL_DISK is set.
func TestReadOnlyCard(t *testing.T) {
	if os.Getenv("EDGE_FULL_DISK") == "" {
		return // part of make crash
	}
	plc := peer.StartPLC(t, "")
	gw := peer.NewGateway(t, "bus: {min_free: 0}\n", tables(plc.Addr, 10, "20ms"))
	data, card := filepath.Join(gw.Dir, "data"), t.TempDir()
	mount(t, data, "size=256m")
	if err := syscall.Mount(data, card, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(card, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mount("", card, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(card, "log")
	bus := func(args ...string) (string, error) {
		out, err := exec.Command(peer.Build(t, "edge-bus"), append([]string{"--wal-dir", log}, args...)...).CombinedOutput()
		return string(out), err
	}
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 10*time.Second, "frames", func() bool { v, _ := gw.Metric(`framebus_publish_total{kind="data"}`); return v > 100 })
	if out, err := bus("stats"); err == nil || !strings.Contains(out, "a gateway that runs uses this log") {
		t.Errorf("while it runs: %v\n%s", err, out)
	}
	gw.Kill(t)
	before := list(t, log)
	export := filepath.Join(t.TempDir(), "export")
	for _, args := range [][]string{
		{"stats"}, {"stats", "-o", "json"}, {"consumers"}, {"check"}, {"replay", "--from", "1"}, {"replay", "--from", "1", "-o", "csv"},
		{"export", export},
	} {
		if out, err := bus(args...); err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	for _, args := range [][]string{{"check", "--repair"}, {"gc", "--keep-bytes", "1M"}, {"consumers", "rm", "-y", "mqtt"}} {
		if out, err := bus(args...); err == nil || !strings.Contains(out, "read-only") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if after := list(t, log); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// list names every file below dir with its size, time and inode.
func list(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%p %s %T@ %i\n").CombinedOutput()
	if err != nil {
		t.Fatalf("find: %v\n%s", err, out)
	}
	return string(out)
}
