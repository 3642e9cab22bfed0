package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// plant is a gateway that follows the config center which is embedded in it, seeded
// from its directory, and an operator's directory with the same tables.
type plant struct {
	*peer.Gateway
	tables string // the operator's
}

func newPlant(t *testing.T, broker, plc string) *plant {
	t.Helper()
	p := &plant{Gateway: peer.NewGateway(t, connector(broker, ""), tables(plc, 3, "50ms")), tables: filepath.Join(t.TempDir(), "tables")}
	path := filepath.Join(p.Dir, "gateway.yml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p.WriteFile(t, "gateway.yml", strings.Replace(string(text), "source: dir, dir: ./config", "source: etcd, dir: ./config, verify_timeout: 5s", 1))
	p.Start(t)
	p.WaitReady(t)
	return p
}

// cfg runs edge-cfg against the plant's config center; it must exit with code.
func (p *plant) cfg(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	bin := peer.Build(t, "edge-cfg") // before the time counts
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append([]string{"--endpoints", "unix:" + filepath.Join(p.Dir, "data", "etcd.sock")}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("edge-cfg %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &errs)
	}
	return out.String(), errs.String()
}

// watchLocal runs edge-cfg watch --local until the function that it returns is
// called, which returns what was printed.
func (p *plant) watchLocal(t *testing.T) func() string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer.Build(t, "edge-cfg"), "watch", "--local", "--socket", p.Socket())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	connected := func() int { // of the listener and of each connection there is a line
		text, err := os.ReadFile("/proc/net/unix")
		must(t, err)
		return strings.Count(string(text), p.Socket()+"\n")
	}
	before := connected()
	must(t, cmd.Start())
	peer.WaitFor(t, 20*time.Second, "edge-cfg to connect", func() bool { return connected() > before })
	time.Sleep(300 * time.Millisecond) // it prints nothing when it watches
	return func() string {
		must(t, cmd.Process.Signal(os.Interrupt))
		must(t, cmd.Wait())
		return out.String()
	}
}

// edit replaces text in one of the operator's tables.
func (p *plant) edit(t *testing.T, file, old, new string) {
	t.Helper()
	path := filepath.Join(p.tables, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), old, new, 1)
	if changed == string(text) {
		t.Fatalf("%s has no %q:\n%s", file, old, text)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// entry is a commit as 'edge-cfg log -o json' lists it.
type entry struct {
	Rev     int64  `json:"rev"`
	SHA256  string `json:"sha256"`
	Author  string `json:"author"`
	Message string `json:"message"`
	Time    string `json:"time"`
}

func (p *plant) log(t *testing.T) []entry {
	t.Helper()
	out, _ := p.cfg(t, 0, "log", "-o", "json")
	var list []entry
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// rollbacks returns the frames that told of a rollback.
func rollbacks(sub *peer.Subscriber) []map[string]any {
	var out []map[string]any
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			if v, ok := f.Value.(map[string]any); ok && f.Tag == "sys.cfg_rollback" {
				out = append(out, v)
			}
		}
	}
	return out
}

// TestPushAndRollback takes a gateway through what an operator does to it with
// edge-cfg: a change that is applied live; a driver without a unit_id, which lint
// refuses, and which, forced, is refused by the gateway; a driver whose plugin does
// not exist; an endpoint where nobody answers, which is drained, tried, and undone. Each time what is in force in the
// config center is again what ran before, and the broker is told.
func TestPushAndRollback(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "center", topic)
	gw := newPlant(t, broker.URL(), plc.Addr)
	peer.WaitFor(t, 10*time.Second, "the first frames", func() bool { return has(sub, tag(0)) })

	if log := gw.log(t); len(log) != 1 || !strings.Contains(log[0].Author, "edge-gw/gw-test") {
		t.Fatalf("the store was not seeded by the gateway: %+v", log)
	}
	gw.cfg(t, 0, "pull", gw.tables)
	gw.cfg(t, 0, "diff", filepath.Join(gw.Dir, "config"), "--exit-code")
	local := gw.watchLocal(t)

	gw.edit(t, "variables.yml", "scale: value / 10", "scale: value + 100000")
	_, said := gw.cfg(t, 0, "push", gw.tables, "-y", "-m", "another scale", "--wait")
	if !strings.Contains(said, "gw-test: applied") {
		t.Errorf("push --wait did not tell that the gateway applied it:\n%s", said)
	}
	peer.WaitFor(t, 10*time.Second, "a value of the new scale", func() bool { return lastValue(sub, tag(0)) >= 100000 })
	good := gw.log(t)[0]
	if said := local(); !strings.Contains(said, "Preparing") || !strings.Contains(said, "applied") {
		t.Errorf("watch --local said:\n%s", said)
	}

	gw.edit(t, "drivers.yml", "unit_id: 1", "unit_idd: 1")
	if _, said := gw.cfg(t, 1, "push", gw.tables, "-y"); !strings.Contains(said, "unit_id") {
		t.Errorf("lint did not name what is missing:\n%s", said)
	}
	gw.edit(t, "drivers.yml", "unit_idd: 1", "")
	gw.refused(t, sub, good, 1, "unit_id", "push", gw.tables, "-y", "--force", "--wait")
	gw.edit(t, "drivers.yml", "polling: 50ms", "unit_id: 1\n    polling: 50ms")

	gw.edit(t, "drivers.yml", "kind: static", "kind: dyn\n  path: nothere")
	gw.refused(t, sub, good, 2, "is not installed", "push", gw.tables, "-y", "--wait")
	gw.edit(t, "drivers.yml", "kind: dyn\n  path: nothere", "kind: static")

	// The PLC that answers is left for an address where nobody does.
	_, port, _ := strings.Cut(plc.Addr, ":")
	dead := peer.FreeAddr(t)
	_, deadPort, _ := strings.Cut(dead, ":")
	gw.edit(t, "endpoints.yml", port, deadPort)
	gw.refused(t, sub, good, 3, "refused", "push", gw.tables, "-y", "--wait")

	before := sub.Count()
	peer.WaitFor(t, 10*time.Second, "frames after the rollback", func() bool { return sub.Count() > before+10 && lastValue(sub, tag(0)) >= 100000 })
	if v, ok := gw.Metric(`cfg_revision_current`); !ok || int64(v) < good.Rev {
		t.Errorf("cfg_revision_current is %v, %v", v, ok)
	}

	// What undid it was a gateway and nobody's work: the next push needs no pull.
	gw.edit(t, "endpoints.yml", deadPort, port)
	gw.edit(t, "variables.yml", "scale: value + 100000", "scale: value + 200000")
	gw.cfg(t, 0, "push", gw.tables, "-y", "--wait")
	peer.WaitFor(t, 10*time.Second, "a value of the mended tables", func() bool { return lastValue(sub, tag(0)) >= 200000 })
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, w := range sub.Check() {
		t.Error(w)
	}
}

// refused pushes what the gateway must undo: exit code 4 with the reason, the good
// document in force again, the nth rollback counted and told upstream.
func (p *plant) refused(t *testing.T, sub *peer.Subscriber, good entry, nth int, reason string, args ...string) {
	t.Helper()
	_, said := p.cfg(t, 4, args...)
	if !strings.Contains(said, reason) {
		t.Errorf("push --wait gave no reason (%q):\n%s", reason, said)
	}
	peer.WaitFor(t, 10*time.Second, "the rollback in etcd", func() bool { return p.log(t)[0].SHA256 == good.SHA256 })
	if head := p.log(t)[0]; !strings.Contains(head.Author, "edge-gw/gw-test") || !strings.Contains(head.Message, "rollback of rev") {
		t.Errorf("the rollback is on the log as %+v", head)
	}
	peer.WaitFor(t, 10*time.Second, "the rollback's frame", func() bool { return len(rollbacks(sub)) == nth })
	told := rollbacks(sub)[nth-1]
	bad := p.log(t)[1].Rev
	if fmt.Sprint(told["rev_bad"]) != fmt.Sprint(float64(bad)) || !strings.Contains(fmt.Sprint(told["reason"]), reason) {
		t.Errorf("the broker was told %v; the bad commit is rev %d", told, bad)
	}
	if n, ok := p.Metric("cfg_rollback_total"); !ok || n != float64(nth) {
		t.Errorf("cfg_rollback_total is %v, want %d", n, nth)
	}
	out, _ := p.cfg(t, 0, "status", "-o", "json")
	if !strings.Contains(out, `"state": "rolled_back"`) {
		t.Errorf("the status does not tell of the rollback:\n%s", out)
	}
}

// lastValue returns the newest number of a tag; -1 if there is none.
func lastValue(sub *peer.Subscriber, tag string) float64 {
	messages := sub.Messages()
	for i := len(messages) - 1; i >= 0; i-- {
		for j := len(messages[i].Frames) - 1; j >= 0; j-- {
			if f := messages[i].Frames[j]; f.Tag == tag {
				if v, ok := f.Value.(float64); ok {
					return v
				}
			}
		}
	}
	return -1
}
