package e2e

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// often is how many times a scenario injects its fault: a sample, or the long run's.
func often(sample, long int) int {
	if faults.Long() {
		return long
	}
	return sample
}

// moment is a random time within the kth of n parts of d.
func moment(r *rand.Rand, d time.Duration, k, n int) time.Duration {
	return time.Duration((float64(k) + r.Float64()) / float64(n) * float64(d))
}

// TestKilledInStart kills the gateway at each step of a start, again and again. The start
// that is left alone goes on where the last that delivered ended.
func TestKilledInStart(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "kill-start")
	random := row.Random(t)
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "start", topic)
	peer.Build(t, "edge-gw") // before the time counts
	began := time.Now()
	gw := newPlant(t, broker.URL(), plc.Addr) // log, config center, connector: all that a start opens
	whole := time.Since(began)
	peer.WaitFor(t, 20*time.Second, "frames", func() bool { return sub.Count() > 50 })
	gw.Kill(t)
	row.Fault(1)
	n := often(5, 60)
	for k := range n {
		gw.Start(t)
		time.Sleep(moment(random, whole, k, n)) // the moment of the kill is the test
		gw.Kill(t)
		row.Fault(1)
	}
	began = time.Now()
	gw.Start(t)
	gw.WaitReady(t)
	row.Recovered(time.Since(began))
	before := sub.LastSeq()
	peer.WaitFor(t, 30*time.Second, "frames after the kills", func() bool { return sub.LastSeq() > before+50 })
	if list := gw.log(t); len(list) != 1 {
		t.Errorf("the tables have %d commits: %+v", len(list), list)
	}
	row.Memory(gw.Peak())
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	row.Count(sub.Account(1, 0))
	for _, w := range sub.Check() {
		t.Error(w)
	}
}

// TestKilledInSeeding kills the gateway while it fills its empty config center from a
// directory. The next start finds all tables or none, fills them, and reads by them.
func TestKilledInSeeding(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "kill-seeding")
	random := row.Random(t)
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	peer.Build(t, "edge-gw") // before the time counts
	began := time.Now()
	gw := newPlant(t, broker.URL(), plc.Addr)
	whole := time.Since(began)
	gw.Kill(t)
	n := often(3, 60)
	for k := range n {
		must(t, os.RemoveAll(filepath.Join(gw.Dir, "data")))
		gw.Start(t)
		time.Sleep(moment(random, whole, k, n)) // the moment of the kill is the test
		gw.Kill(t)
		row.Fault(1)
		began := time.Now()
		gw.Start(t)
		gw.WaitReady(t)
		row.Recovered(time.Since(began))
		if list := gw.log(t); len(list) != 1 || !strings.Contains(list[0].Message, "seeded") {
			t.Errorf("kill %d: the tables have %d commits: %+v", k, len(list), list)
		}
		if _, said := gw.cfg(t, 0, "diff", filepath.Join(gw.Dir, "config"), "--exit-code"); strings.Contains(said, "differ") {
			t.Errorf("kill %d: the tables are not those of the directory: %s", k, said)
		}
		row.Count(1, 0, 0) // a start that doesn't fill the tables has been told above
		gw.Kill(t)
	}
	row.Memory(gw.Peak())
}

// heldLog is what edge-bus says of a stopped gateway's log.
type heldLog struct {
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	Frames   uint64 `json:"frames"`
	Damages  []any  `json:"damages"`
}

func look(t *testing.T, log string) heldLog {
	t.Helper()
	return decode[heldLog](t, "edge-bus", "--wal-dir", log, "check")
}

// killedTool is a command that is killed while it works on the data of a stopped gateway.
type killedTool struct {
	scenario string
	prepare  func(t *testing.T)                       // after the data is put in place
	command  []string                                 // its name and arguments
	after    func(t *testing.T) (frames, lost uint64) // after the kill: holds what is there, and gives the command again
}

// toolPlant is a stopped gateway with a log, an image of its data, and what is made of it.
type toolPlant struct {
	*plant
	image, backup, export, format1, made string
	held                                 heldLog
}

func newToolPlant(t *testing.T) *toolPlant {
	t.Helper()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	gw := &plant{Gateway: peer.NewGateway(t, connector(broker.URL(), "")+"bus: {min_free: 0}\n", tables(plc.Addr, 120, "10ms"))}
	gw.Start(t)
	gw.WaitReady(t)
	frames := float64(often(20_000, 200_000))
	peer.WaitFor(t, time.Minute, "frames", func() bool {
		n, _ := gw.Metric(`framebus_publish_total{kind="data"}`)
		return n > frames
	})
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	dir := t.TempDir()
	p := &toolPlant{plant: gw, image: filepath.Join(dir, "image"), backup: filepath.Join(dir, "backup"), export: filepath.Join(dir, "export"),
		format1: filepath.Join(dir, "format1"), made: filepath.Join(dir, "made")}
	must(t, os.CopyFS(p.image, os.DirFS(p.data())))
	p.held = look(t, p.log())
	gw.edgeGW(t, 0, "backup", p.backup)
	run(t, "edge-bus", "--wal-dir", p.log(), "export", p.export)
	must(t, os.Mkdir(p.format1, 0o700))
	if out, err := exec.Command("tar", "xzf", "../../pkg/wal/testdata/format1.tar.gz", "-C", p.format1).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return p
}

func (p *toolPlant) data() string { return filepath.Join(p.Dir, "data") }
func (p *toolPlant) log() string  { return filepath.Join(p.data(), "log") }

// put puts the data back as it was.
func (p *toolPlant) put(t *testing.T) {
	t.Helper()
	must(t, errors.Join(os.RemoveAll(p.data()), os.CopyFS(p.data(), os.DirFS(p.image)), os.RemoveAll(p.made)))
}

// whole holds a log to what it was, and returns how many frames it held and how many are missing.
func (p *toolPlant) whole(t *testing.T, log string) (frames, lost uint64) {
	t.Helper()
	now := look(t, log)
	if now.LastSeq != p.held.LastSeq || len(now.Damages) > 0 || now.Frames != p.held.Frames {
		t.Errorf("the log holds %+v; it held %+v", now, p.held)
	}
	return p.held.Frames, p.held.Frames - min(now.Frames, p.held.Frames)
}

// edge runs a command to its end and returns its exit code and what it said.
func (p *toolPlant) edge(t *testing.T, command []string) (int, string) {
	t.Helper()
	cmd := exec.Command(peer.Build(t, command[0]), command[1:]...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// again runs a command to its end, which must be a good one.
func (p *toolPlant) again(t *testing.T, command []string) {
	t.Helper()
	if code, said := p.edge(t, command); code != 0 {
		t.Errorf("%v after the kill: exit code %d\n%s", command, code, said)
	}
}

// there says whether a file or directory with something in it is there.
func there(t *testing.T, path string) bool {
	t.Helper()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	must(t, err)
	if !info.IsDir() {
		return true
	}
	names, err := os.ReadDir(path)
	must(t, err)
	return len(names) > 0
}

func (p *toolPlant) tools() []killedTool {
	config := []string{"--config", filepath.Join(p.Dir, "gateway.yml")}
	gw := func(args ...string) []string { return append(append([]string{"edge-gw"}, args...), config...) }
	bus := func(args ...string) []string { return append([]string{"edge-bus", "--wal-dir", p.log()}, args...) }
	restore := gw("restore", p.backup)
	replay := append([]string{"edge-bus", "replay", "--from", "1", "--target", "mqtt"}, config...)
	importing := []string{"edge-bus", "--wal-dir", p.made, "import", p.export}
	gc := bus("gc", "--keep-bytes", "64K")
	return []killedTool{
		{scenario: "kill-backup", command: gw("backup", p.made), after: func(t *testing.T) (uint64, uint64) {
			if there(t, p.made) { // what has its name is whole
				p.again(t, gw("restore", "--check", p.made))
			}
			must(t, os.RemoveAll(p.made))
			p.again(t, gw("backup", p.made))
			return p.whole(t, p.log())
		}},
		{scenario: "kill-restore", command: restore, prepare: func(t *testing.T) { must(t, os.RemoveAll(p.data())) }, after: func(t *testing.T) (uint64, uint64) {
			if there(t, filepath.Join(p.data(), "RESTORING")) {
				if code, said := p.edge(t, gw("run")); code != 1 || !strings.Contains(said, "is not complete") {
					t.Errorf("run after half a restore: exit code %d\n%s", code, said)
				}
				must(t, os.RemoveAll(p.data())) // as it says
			}
			if !there(t, p.log()) {
				p.again(t, restore) // it was killed before it began
			}
			return p.whole(t, p.log())
		}},
		{scenario: "kill-migrate", command: gw("migrate"), prepare: func(t *testing.T) {
			must(t, errors.Join(os.RemoveAll(p.log()), os.CopyFS(p.log(), os.DirFS(p.format1))))
		}, after: func(t *testing.T) (uint64, uint64) {
			p.again(t, gw("migrate"))
			now := look(t, p.log())
			if now.Frames != 101 || len(now.Damages) > 0 {
				t.Errorf("the log holds %+v", now)
			}
			return 101, 101 - min(now.Frames, 101)
		}},
		{scenario: "kill-replay", command: replay, after: func(t *testing.T) (uint64, uint64) {
			p.again(t, replay)
			return p.whole(t, p.log())
		}},
		{scenario: "kill-gc", command: gc, after: func(t *testing.T) (uint64, uint64) {
			var now heldLog
			for range 2 { // after the kill, and after gc has done its work
				if now = look(t, p.log()); now.LastSeq != p.held.LastSeq || len(now.Damages) > 0 || now.Frames != now.LastSeq-now.FirstSeq+1 {
					t.Errorf("the log holds %+v; it held %+v", now, p.held)
				}
				p.again(t, gc)
			}
			return now.LastSeq - now.FirstSeq + 1, now.LastSeq - now.FirstSeq + 1 - now.Frames
		}},
		{scenario: "kill-import", command: importing, after: func(t *testing.T) (uint64, uint64) {
			if code, said := p.edge(t, importing); code != 0 && !strings.Contains(said, "not empty") {
				t.Errorf("import again: exit code %d\n%s", code, said)
			}
			return p.whole(t, p.made)
		}},
	}
}

// TestKilledTools kills the commands that work on a stopped gateway's data at any moment.
// Each leaves what was there before or what it was to make, or says what to do, and nothing
// else is touched; the same command, given again, does its work.
func TestKilledTools(t *testing.T) {
	t.Parallel()
	p := newToolPlant(t)
	n := often(2, 40)
	for _, tool := range p.tools() {
		t.Run(tool.scenario, func(t *testing.T) {
			row := faults.Open(t, tool.scenario)
			random := row.Random(t)
			setUp := func() {
				p.put(t)
				if tool.prepare != nil {
					tool.prepare(t)
				}
			}
			setUp()
			began := time.Now()
			p.again(t, tool.command)
			whole := time.Since(began)
			for k := range n {
				setUp()
				cmd := exec.Command(peer.Build(t, tool.command[0]), tool.command[1:]...)
				must(t, cmd.Start())
				time.Sleep(moment(random, whole, k, n)) // the moment of the kill is the test
				row.Memory(faults.PeakOf(cmd.Process.Pid))
				_ = cmd.Process.Kill() // it may have ended by itself
				_ = cmd.Wait()
				row.Fault(1)
				began := time.Now()
				frames, lost := tool.after(t)
				row.Count(frames, lost, 0)
				row.Recovered(time.Since(began))
				if t.Failed() {
					t.Fatalf("after kill %d", k)
				}
			}
		})
	}
}
