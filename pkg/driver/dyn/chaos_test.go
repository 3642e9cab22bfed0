//go:build linux

package dyn_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/dyn/dyntest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/sdk"
)

// be makes the process the driver that its executable's name says.
func be(name string) {
	switch {
	case strings.HasPrefix(name, "says-"):
		neverServes(name)
	case strings.HasPrefix(name, "liar-"):
		serveRaw(name)
	case name == "line":
		sdk.Main(lineDriver())
	case name == "registers":
		sdk.Main(registersDriver())
	default:
		sdk.Main(rudeDriver(name))
	}
}

// said is a log that is read while it is written.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// rig is a driver that runs.
type rig struct {
	driver.Driver
	t     *testing.T
	id    string
	log   *modbustest.Log
	said  *said
	ended chan error
	stop  context.CancelFunc
}

// rudeCfg are the settings of a rude driver. That one does not answer is noticed quickly; the
// others may be as slow as a loaded machine makes them.
func rudeCfg(name string) map[string]any {
	timeout := "30s"
	if strings.HasPrefix(name, "hang-") || name == "stopped" {
		timeout = "1s"
	}
	return map[string]any{"polling": "20ms", "timeout": timeout, "enable_write": true, "retry": 0, "backoff_max": "100ms"}
}

// start runs the driver that is installed as name, with four points.
func start(t *testing.T, f driver.Factory, name string, cfg map[string]any) (*rig, error) {
	t.Helper()
	id := fmt.Sprintf("%s-%d", name, os.Getpid()) // another copy of the test may run
	r := &rig{t: t, id: id, log: modbustest.NewLog(), said: &said{}, ended: make(chan error, 1)}
	var vars []config.Variable
	for i := range 4 {
		vars = append(vars, variable(fmt.Sprintf("t%d", i), i))
	}
	var err error
	r.Driver, err = f.New(driver.Config{ID: id, Item: item(name, cfg), Endpoint: config.Endpoint{Scheme: "tcp", Host: "127.0.0.1", Port: 1}, Points: modbustest.Compile(t, vars, nil)},
		driver.Deps{Endpoint: modbustest.Dial(t, "tcp", func() string { return "" }), Out: r.log,
			Log: slog.New(slog.NewTextHandler(r.said, &slog.HandlerOptions{Level: slog.LevelDebug})).With("driver", id)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(cancel)
	return r, nil
}

// end waits for the end of Run.
func (r *rig) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(time.Minute):
		r.t.Fatalf("Run has not ended; status %+v; it said %s", r.Status(), r.said)
		return nil
	}
}

// pids are the processes whose environment says that they belong to a driver.
func pids(id string) (out []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if pid, no := strconv.Atoi(e.Name()); err == nil && no == nil && bytes.Contains(env, []byte("EDGE_GW_DRIVER_ID="+id+"\x00")) {
			out = append(out, pid)
		}
	}
	return out
}

// pid is the one process of a driver.
func (r *rig) pid() int {
	r.t.Helper()
	list := pids(r.id)
	if len(list) != 1 {
		r.t.Fatalf("processes of %s: %v", r.id, list)
	}
	return list[0]
}

// nothingLeft fails if there is a process of the driver, or a zombie of ours.
func nothingLeft(t *testing.T, id string) {
	t.Helper()
	if list := pids(id); len(list) != 0 {
		t.Errorf("processes of %s are left: %v", id, list)
	}
}

// running counts the processes of an executable.
func running(t *testing.T, path string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe")); err == nil && exe == path {
			n++
		}
	}
	return n
}

// zombies are children of ours that nobody has waited for.
func zombies() (out []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] == "Z" && f[1] == strconv.Itoa(os.Getpid()) {
			out = append(out, string(stat))
		}
	}
	return out
}

// TestChaos runs drivers that crash, hang, flood and lie beside a Modbus driver, which does not
// notice.
func TestChaos(t *testing.T) {
	dir := dyntest.Dir(t)
	f := newFactory(t, dir)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp) // where the sockets are
	device := modbustest.NewDevice(t, "tcp", "tcp", 1)
	beside := modbustest.Start(t, modbustest.Dial(t, "tcp", device.Addr), []config.Variable{modbustest.Holding("steady", 0, config.TypeUint16)}, modbustest.Cfg("polling", "50ms"), modbustest.Cfg("timeout", "5s"))
	beside.Log.Good(t, "steady", 2)
	files, goroutines := countFiles(t), runtime.NumGoroutine()

	const broken = "the driver failed"
	t.Run("drivers", func(t *testing.T) {
		for _, c := range []struct {
			name, want string // in the error of Run; "": it goes on
			long       bool   // not in each run of the tests
			do         func(*testing.T, *rig)
		}{
			{name: "hang-open", long: true, want: "did not answer Open"},
			{name: "hang-poll", want: "did not answer Poll"},
			{name: "hang-write", want: "did not answer Write", do: func(t *testing.T, r *rig) {
				r.log.Good(t, "t0", 1)
				_, err := r.Write(t.Context(), driver.Write{Tag: "t0", Value: frame.IntValue(1)})
				if err == nil || !strings.Contains(err.Error(), driver.ErrOutcomeUnknown.Error()) {
					t.Errorf("a write that is never answered: %v", err)
				}
			}},
			{name: "hang-diagnose", long: true, want: "did not answer Diagnose", do: func(t *testing.T, r *rig) {
				r.log.Good(t, "t0", 1)
				if _, err := r.Driver.(driver.Diagnoser).Diagnose(t.Context()); err == nil {
					t.Error("a diagnosis that is never answered has no error")
				}
			}},
			{name: "hang-close", long: true},
			{name: "hang-status", want: "no heartbeat", long: true},
			{name: "stopped", want: "did not answer Poll", do: func(t *testing.T, r *rig) {
				r.log.Good(t, "t0", 3)
				if err := syscall.Kill(r.pid(), syscall.SIGSTOP); err != nil {
					t.Error(err)
				}
			}},
			{name: "panic", want: "panic: out of order"},
			{name: "exit", long: true, want: "exit status 3; it said: the licence has expired"},
			{name: "memory", want: "out of memory"},
			{name: "flood", do: func(t *testing.T, r *rig) {
				r.log.Good(t, "t0", 20)
				if n := len(r.said.String()); n > 1<<20 {
					t.Errorf("%d bytes are in the log", n)
				}
			}},
			{name: "spin", long: true, do: func(t *testing.T, r *rig) { r.log.Good(t, "t0", 10) }},
			{name: "forks", do: func(t *testing.T, r *rig) {
				r.log.Good(t, "t0", 3)
				if n := len(pids(r.id)); n < 30 {
					t.Errorf("%d processes, expected the driver and what it has started", n)
				}
			}},
			{name: "nan", long: true, do: func(t *testing.T, r *rig) {
				r.log.Wait(t, "the storm", func() bool {
					return r.log.Bad("t0") > 0 && r.log.Bad("t1") > 0 && r.log.Bad("t2") > 0 && r.log.Bad("t3") > 0
				})
				if n := r.log.Bad("t0"); n != 1 {
					t.Errorf("t0 was told bad %d times", n)
				}
			}},
			{name: "kinds", do: func(t *testing.T, r *rig) {
				r.log.Wait(t, "bad values", func() bool {
					return r.log.Bad("t0") > 0 && r.log.Bad("t1") > 0 && r.log.Bad("t2") > 0 && r.log.Bad("t3") > 0
				})
				_, tags := r.Driver.(driver.Reasoner).Reasons()
				if why := tags["t1"].Text; why != `the driver sent "-1", which is no uint16` {
					t.Errorf("the reason is %q", why)
				}
			}},
			{name: "away", do: func(t *testing.T, r *rig) {
				r.log.Wait(t, "bad", func() bool { return r.log.Bad("t0") > 0 && r.Status().State == driver.Fault })
				if st := r.Status(); st.LastError != "no answer [31m from the device" {
					t.Errorf("%q", st.LastError)
				}
			}},
			{name: "liar-more", long: true, want: "5 values came for 4 points"},
			{name: "liar-fewer", want: "1 values came for 4 points"},
			{name: "liar-nothing", long: true, want: "0 values came for 4 points"},
			{name: "liar-columns", want: "3 integers came, the kinds of the values need 4"},
			{name: "liar-kind", long: true, want: "kind 200"},
			{name: "liar-qualities", long: true, want: "1 qualities came for 4 values"},
			{name: "liar-huge", long: true, want: "larger than max"},
			{name: "liar-protobuf", want: "Poll"},
		} {
			if c.long && os.Getenv("EDGE_PLUGINS") == "" {
				continue // make crash runs all
			}
			dyntest.InstallSelf(t, dir, c.name)
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				r, err := start(t, f, c.name, rudeCfg(c.name))
				if err != nil {
					t.Fatal(err)
				}
				if c.do != nil {
					c.do(t, r)
				}
				if c.want == "" {
					r.log.Wait(t, "frames", func() bool { return len(r.log.Of("t0")) > 0 })
					began := time.Now()
					r.stop()
					if err := r.end(); err != nil {
						t.Errorf("Run: %v", err)
					}
					if d := time.Since(began); d > 20*time.Second {
						t.Errorf("it took %v to stop", d)
					}
				} else if err := r.end(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), broken) {
					t.Errorf("Run: %v, want an error with %q", err, c.want)
				} else if c.name != "hang-open" && (r.log.Last("t0").Quality != frame.Bad || r.log.Bad("t0") != 1) {
					t.Errorf("t0 was told bad %d times, the last is %v", r.log.Bad("t0"), r.log.Last("t0").Quality)
				}
				nothingLeft(t, r.id)
			})
		}
	})
	if err := beside.Stop(); err != nil {
		t.Errorf("beside: %v", err)
	}
	st := beside.Status()
	if st.Errors != 0 || beside.Log.Bad("steady") != 0 || os.Getenv("EDGE_PLUGINS") != "" && st.Overruns != 0 {
		t.Errorf("the Modbus driver beside them: %+v, %d times bad", st, beside.Log.Bad("steady"))
	}
	if list := zombies(); len(list) != 0 {
		t.Errorf("zombies: %v", list)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("left in the temporary directory: %v", left)
	}
	settled(t, "files", files, func() int { return countFiles(t) })
	settled(t, "goroutines", goroutines, runtime.NumGoroutine)
}

// settled waits until there are not more of something than before.
func settled(t *testing.T, what string, before int, count func() int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); count() > before; time.Sleep(10 * time.Millisecond) { // the runtime does not tell
		if time.Now().After(end) {
			t.Errorf("%d %s, there were %d before", count(), what, before)
			return
		}
	}
}

func countFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestNeverStarts: what is no driver, or one of another time, is refused with the reason.
func TestNeverStarts(t *testing.T) {
	dir := dyntest.Dir(t)
	f := newFactory(t, dir)
	for name, want := range map[string]string{
		"liar-newer":            "speaks version 2 of the contract for drivers, this gateway speaks version 1; update the gateway",
		"liar-nameless":         "it has no name or no version",
		"liar-schema":           "file:///etc/passwd, and must be whole",
		"liar-schema-text":      "its schema of address",
		"says-garbage":          "did not start as a driver",
		"says-endless":          "did not start as a driver",
		"says-elsewhere":        "expected a Unix socket in",
		"says-tcp":              "expected a Unix socket in",
		"says-nothing-and-ends": "it said: cannot open shared object",
	} {
		if name != "liar-newer" && name != "says-elsewhere" && name != "says-nothing-and-ends" && name != "liar-schema" && os.Getenv("EDGE_PLUGINS") == "" {
			continue // make crash runs all
		}
		dyntest.InstallSelf(t, dir, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := start(t, f, name, rudeCfg(name))
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("New: %v, want an error with %q", err, want)
			}
			if left := running(t, filepath.Join(dir, name)); left != 0 {
				t.Errorf("%d processes are left", left)
			}
		})
	}
}

// TestKilled: a driver that is killed again and again is a fault each time, and leaves nothing.
func TestKilled(t *testing.T) {
	n := 2
	if text := os.Getenv("EDGE_PLUGIN_KILLS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	dir := dyntest.Dir(t)
	dyntest.InstallSelf(t, dir, "killed")
	f := newFactory(t, dir)
	files := countFiles(t)
	var slowest time.Duration
	for range n {
		began := time.Now()
		r, err := start(t, f, "killed", rudeCfg("killed"))
		if err != nil {
			t.Fatal(err)
		}
		r.log.Good(t, "t3", 1)
		slowest = max(slowest, time.Since(began))
		if err := syscall.Kill(r.pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := r.end(); err == nil || !strings.Contains(err.Error(), "it was killed") {
			t.Fatalf("Run: %v", err)
		}
		if r.log.Bad("t0") != 1 {
			t.Errorf("t0 was told bad %d times", r.log.Bad("t0"))
		}
		r.stop()
	}
	t.Logf("%d starts, the slowest took %v to its first value", n, slowest)
	if left := running(t, filepath.Join(dir, "killed")); left != 0 {
		t.Errorf("%d processes are left", left)
	}
	if list := zombies(); len(list) != 0 {
		t.Errorf("zombies: %v", list)
	}
	settled(t, "files", files, func() int { return countFiles(t) })
}
