package apply

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// command runs one of the product's commands, which must exit with code, and
// returns what it wrote.
func command(t testing.TB, code int, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer.Build(t, name), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%s %s: exit code %d, want %d\n%s", name, strings.Join(args, " "), got, code, &out)
	}
	return out.String()
}

// says runs edge-ctl, which must succeed, and holds its output to what it must
// contain.
func says(t testing.TB, socket, want string, args ...string) {
	t.Helper()
	if out := command(t, 0, "edge-ctl", append([]string{"--socket", socket}, args...)...); !strings.Contains(out, want) {
		t.Errorf("edge-ctl %s does not say %q:\n%s", strings.Join(args, " "), want, out)
	}
}

// TestOperatorPutsGatewayBack goes back with edge-ctl on the gateway itself: it
// stays there, and says so, until it is reloaded or something newer comes; edge-cfg
// sees it as pinned.
func TestOperatorPutsGatewayBack(t *testing.T) {
	t.Parallel()
	d := newDuel(t, "", "")
	d.applied(d.new)
	d.runs(1)
	head, err := d.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	says(t, d.Socket(), "pinned", "config", "rollback", "-y")
	d.runs(0)
	g := d.status("the gateway to say that it is pinned", func(g center.Gateway) bool { return g.State == center.Pinned })
	if !strings.Contains(g.Error, "by hand") || g.Target != head.Rev {
		t.Errorf("its status: %+v", g)
	}
	peer.WaitFor(t, 10*time.Second, "the rollback to be told upstream", func() bool { return len(d.rollbacks()) == 1 })
	if n, _ := d.Metric("cfg_rollback_total"); n != 1 {
		t.Errorf("cfg_rollback_total is %v", n)
	}

	d.Kill(t)
	d.Start(t)
	d.runs(0)
	d.status("the gateway to be pinned after a restart", func(g center.Gateway) bool { return g.Online && g.State == center.Pinned })
	peer.WaitFor(t, 10*time.Second, "edge-ctl to say who put it back, once etcd is reached", func() bool {
		return strings.Contains(command(t, 0, "edge-ctl", "--socket", d.Socket(), "config", "status"), "by hand")
	})
	says(t, d.Socket(), "by hand", "status")

	says(t, d.Socket(), "applied", "config", "reload")
	d.runs(1)
	command(t, 1, "edge-ctl", "--socket", d.Socket(), "config", "rollback", "-y", "--to", "1")
	d.runs(1)

	says(t, d.Socket(), "pinned", "config", "rollback", "-y")
	more := d.new.clone().variable("more", "l", 7, "")
	d.applied(more)
	peer.WaitFor(t, 10*time.Second, "what is newer", func() bool { return len(d.seen("more")) > 0 })
	d.status("the gateway to follow again", func(g center.Gateway) bool { return g.State == center.Applied })
	d.check()
}

// TestOperatorPutsGatewayBackAfterFailure goes back by hand after a push that failed
// and was taken back in the store: to what ran, not to what failed. A reload then is
// a success: what is in force runs.
func TestOperatorPutsGatewayBackAfterFailure(t *testing.T) {
	t.Parallel()
	d := newDuel(t, "", "")
	d.applied(d.new)
	d.push(d.dead)
	d.status("the store to be put back", func(g center.Gateway) bool { return g.State == center.RolledBack && g.Rev > 0 && g.Target == g.Rev })
	d.runs(1)
	says(t, d.Socket(), "rolled_back", "config", "reload")
	says(t, d.Socket(), "pinned", "config", "rollback", "-y")
	d.runs(0)
	d.check()
}

// dirPlant is a gateway whose tables are in a directory.
func dirPlant(t *testing.T, tab tables) *peer.Gateway {
	t.Helper()
	gw := peer.NewGateway(t, "", nil)
	writeTables(t, gw, tab)
	gw.Start(t)
	gw.WaitReady(t)
	return gw
}

// writeTables writes tab into the gateway's directory, as JSON, which YAML includes.
func writeTables(t *testing.T, gw *peer.Gateway, tab tables) {
	t.Helper()
	vars := slices.SortedFunc(maps.Values(tab.variables), func(a, b config.Variable) int { return strings.Compare(a.Tag, b.Tag) })
	for table, items := range map[config.Table]any{config.Endpoints: tab.endpoints, config.Drivers: tab.drivers, config.Variables: vars, config.Settings: tab.settings} {
		text, err := json.Marshal(items)
		if err != nil {
			t.Fatal(err)
		}
		gw.WriteFile(t, filepath.Join("config", table.FileName()), string(text))
	}
}

// running returns what a gateway says it runs: its configuration's state and hash.
func running(t *testing.T, gw *peer.Gateway) *pb.ConfigStatus {
	t.Helper()
	c, err := admin.Dial(t.Context(), gw.Socket())
	if err != nil {
		return &pb.ConfigStatus{}
	}
	defer func() { _ = c.Close() }() // only asked
	r, err := c.Config.GetConfigStatus(t.Context(), &pb.GetConfigStatusRequest{})
	if err != nil {
		return &pb.ConfigStatus{}
	}
	return r.GetStatus()
}

// TestOperatorPutsDirectoryBack does the same with tables in a directory, of which
// the gateway remembers what ran before.
func TestOperatorPutsDirectoryBack(t *testing.T) {
	t.Parallel()
	a := startPLC(t, baseA)
	one := newTables().endpoint("e", a.addr).driver("d", "e", 50*time.Millisecond).variable("x", "d", 0, "")
	two := one.clone().variable("y", "d", 1, "")
	gw := dirPlant(t, one)
	command(t, 1, "edge-ctl", "--socket", gw.Socket(), "config", "rollback", "-y")
	writeTables(t, gw, two)
	is := func(tab tables, state string) func() bool {
		return func() bool { s := running(t, gw); return s.State == state && s.Sha256 == tab.document().SHA256() }
	}
	peer.WaitFor(t, 10*time.Second, "the second configuration", is(two, "applied"))
	says(t, gw.Socket(), "pinned", "config", "rollback", "-y")
	if !is(one, "pinned")() {
		t.Errorf("after the rollback: %+v", running(t, gw))
	}
	gw.Kill(t)
	gw.Start(t)
	peer.WaitFor(t, 10*time.Second, "the first one after a restart", is(one, "pinned"))
	says(t, gw.Socket(), "edge-ctl config reload", "status")
	writeTables(t, gw, two)     // written anew, and the same
	time.Sleep(3 * time.Second) // longer than a directory is watched for
	if !is(one, "pinned")() {
		t.Errorf("after the same files were written again: %+v", running(t, gw))
	}
	says(t, gw.Socket(), "applied", "config", "reload")
	if !is(two, "applied")() {
		t.Errorf("after a reload: %+v", running(t, gw))
	}
	says(t, gw.Socket(), "pinned", "config", "rollback", "-y")

	// A rollback that fails leaves what the one before it has put back.
	previous := filepath.Join(gw.Dir, "data", "config.previous.json")
	text, err := os.ReadFile(previous)
	if err == nil {
		err = os.WriteFile(previous, bytes.ReplaceAll(text, []byte(`"unit_id":1`), []byte(`"framing":"ascii","max_inflight":4,"unit_id":1`)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out := command(t, 1, "edge-ctl", "--socket", gw.Socket(), "config", "rollback", "-y"); !strings.Contains(out, "what ran before does not run now") {
		t.Errorf("the rollback failed for another reason: %s", out)
	}
	gw.Kill(t)
	gw.Start(t)
	peer.WaitFor(t, 10*time.Second, "the first one after a rollback that failed", is(one, "pinned"))

	writeTables(t, gw, two.clone().variable("z", "d", 2, ""))
	peer.WaitFor(t, 10*time.Second, "what is newer", is(two.clone().variable("z", "d", 2, ""), "applied"))
	command(t, 1, "edge-ctl", "--socket", gw.Socket(), "config", "rollback", "-y", "--to", "7")
}

// breaker is a pair of serial devices of which one can be made to look like the
// other: then nothing can open it with settings of its own, in a rollback neither.
type breaker struct {
	t   *testing.T
	dir string
}

func newBreaker(t *testing.T) breaker {
	t.Helper()
	b := breaker{t, t.TempDir()}
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(b.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.point("link", "one")
	return b
}

// point makes the link lead to a device.
func (b breaker) point(link, device string) {
	b.t.Helper()
	path := filepath.Join(b.dir, link)
	if err := os.Symlink(filepath.Join(b.dir, device), path+".new"); err != nil {
		b.t.Error(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		b.t.Error(err)
	}
}

// onto adds drivers on both devices to tab; timeout is what a change of them changes.
func (b breaker) onto(tab tables, timeout string) tables {
	tab = tab.clone()
	for _, line := range []struct{ id, device, baud string }{{"line1", "link", "19200"}, {"line2", "two", "9600"}} {
		ep := config.Endpoint{Scheme: "serial", Host: filepath.Join(b.dir, line.device), Opts: map[string]string{"baud": line.baud}}
		if line.id == "line1" {
			ep.Opts["timeout"] = timeout
		}
		tab.endpoints[line.id] = ep
		tab.driver(line.id, line.id, time.Second).variable(line.id+".x", line.id, 0, "")
	}
	return tab
}

// TestRollbackFails makes a rollback impossible. The process is replaced once by one
// that runs the last good configuration, says so, has the store put back, and does
// not try the bad one again; when it happens again the process ends.
func TestRollbackFails(t *testing.T) {
	t.Parallel()
	b := newBreaker(t)
	a := startPLC(t, baseA)
	base := newTables().endpoint("e", a.addr).driver("d", "e", 50*time.Millisecond).variable("x", "d", 0, "")
	good := b.onto(base, "1s")
	p := newPlant(t, good, "", "")
	sha := good.document().SHA256()
	pid := p.Proc()
	fails := func(timeout string) center.Commit {
		b.point("link", "two")
		failed := make(chan struct{})
		stop := p.phases(func(e *pb.WatchConfigResponse) {
			if e.State == "failed" {
				b.point("link", "one") // for the next process
				close(failed)
			}
		})
		defer stop()
		c := p.push(b.onto(base, timeout))
		select {
		case <-failed:
		case <-time.After(20 * time.Second):
			t.Fatal("the rollback did not fail")
		}
		return c
	}
	bad := fails("2s")
	p.status("the store to be put back", func(g center.Gateway) bool {
		return g.Online && g.State == center.RolledBack && g.SHA256 == sha && g.Rev > bad.Rev && strings.Contains(g.Error, "the rollback failed")
	})
	if p.Proc() != pid {
		t.Errorf("process %v, was %v", p.Proc(), pid)
	}
	out := p.Output()
	if !strings.Contains(out, "NOT applied, and the old one could not be put back") || strings.Count(out, "the process is replaced by a new one") != 1 {
		t.Errorf("nothing loud was said:\n%s", out)
	}
	if list := p.history(); list[0].State != "applied" || list[0].Sha256 != sha || p.tried().State != "applied" ||
		!slices.ContainsFunc(list, func(a *pb.ConfigApply) bool { return a.State == "failed" && a.Rev == uint64(bad.Rev) }) {
		t.Errorf("the new process applied %+v, after what failed in the one before", list)
	}
	p.forgetValues()
	peer.WaitFor(t, 10*time.Second, "values", func() bool { return len(p.seen("x")) > 2 })
	peer.WaitFor(t, 10*time.Second, "the rollback to be told upstream", func() bool { return len(p.rollbacks()) == 1 })

	fails("3s")
	if code := p.Wait(t, 30*time.Second); code != 1 {
		t.Errorf("the second time it ended with %d", code)
	}
	if !strings.Contains(p.Output(), "was restarted for the same reason already") {
		t.Errorf("it did not say why:\n%s", p.Output())
	}
	p.Start(t) // as its supervisor does
	p.status("the store to be put back again", func(g center.Gateway) bool {
		return g.Online && g.State == center.RolledBack && g.SHA256 == sha
	})
	p.check()
}

// TestRollbackFailsInDirectory is the same with tables in a directory: the new
// process holds them back until they change.
func TestRollbackFailsInDirectory(t *testing.T) {
	t.Parallel()
	b := newBreaker(t)
	a := startPLC(t, baseA)
	base := newTables().endpoint("e", a.addr).driver("d", "e", 50*time.Millisecond).variable("x", "d", 0, "")
	good := b.onto(base, "1s")
	gw := dirPlant(t, good)
	b.point("link", "two")
	writeTables(t, gw, b.onto(base, "2s"))
	peer.WaitFor(t, 10*time.Second, "the failure", func() bool { return strings.Contains(gw.Output(), "the process is replaced") })
	b.point("link", "one")
	is := func(tab tables, state string) func() bool {
		return func() bool { s := running(t, gw); return s.State == state && s.Sha256 == tab.document().SHA256() }
	}
	peer.WaitFor(t, 10*time.Second, "the good configuration in the new process", is(good, "pinned"))
	if s := running(t, gw); !strings.Contains(s.Error, "restarted") {
		t.Errorf("status: %+v", s)
	}
	next := b.onto(base, "3s")
	writeTables(t, gw, next)
	peer.WaitFor(t, 10*time.Second, "the mended directory", is(next, "applied"))
}

// TestNobodysFault changes one driver while the PLC of another goes away, and adds
// one whose PLC is not there: both changes are applied, and both drivers say so.
func TestNobodysFault(t *testing.T) {
	t.Parallel()
	a, b := startPLC(t, baseA), startPLC(t, baseB)
	tab := newTables().endpoint("a", a.addr).endpoint("b", b.addr).driver("a", "a", 50*time.Millisecond).driver("b", "b", 50*time.Millisecond).
		variable("a.0", "a", 0, "").variable("b.0", "b", 0, "")
	p := newPlant(t, tab, ", verify: first_read, verify_timeout: 5s", "")
	p.shows(tab, []*plc{a, b})
	stop := p.phases(func(e *pb.WatchConfigResponse) {
		if e.State == "RestartDrv" {
			b.stop()
		}
	})
	tab = tab.clone().driver("a", "a", 100*time.Millisecond)
	p.applied(tab)
	stop()
	tab = tab.clone().endpoint("c", peer.FreeAddr(t)).driver("c", "c", 50*time.Millisecond).variable("c.0", "c", 0, "")
	p.applied(tab)
	p.forgetValues()
	p.shows(tab, []*plc{a})
	c := p.dial()
	defer func() { _ = c.Close() }() // only asked
	peer.WaitFor(t, 10*time.Second, "the drivers without a device, and no other, to be at fault", func() bool {
		states := ""
		drivers, err := c.Drivers.ListDrivers(t.Context(), &pb.ListDriversRequest{})
		for _, d := range drivers.GetDrivers() {
			states += d.Id + " " + d.State + "; "
		}
		return err == nil && states == "a running; b fault; c fault; "
	})
	if h := p.history(); h[0].State != "applied" || strings.Contains(h[1].Impact, "b") {
		t.Errorf("history: %+v", h[:2])
	}
	p.check()
}

// TestOneSiteDoesNotRollBackTheFleet has two gateways on one config center, of which
// one can't run what is pushed: the other runs it, the push says whose fault it is,
// and a retry is all it takes when the reason is gone.
func TestOneSiteDoesNotRollBackTheFleet(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	a := startPLC(t, baseA)
	tab := newTables().endpoint("a", a.addr).driver("a", "a", 50*time.Millisecond).variable("a.0", "a", 0, "")
	p := newPlant(t, tab, "", c.addr)
	other := peer.NewGateway(t, "", nil)
	text, err := os.ReadFile(filepath.Join(other.Dir, "gateway.yml"))
	if err != nil {
		t.Fatal(err)
	}
	other.WriteFile(t, "gateway.yml", strings.NewReplacer("gateway_id: gw-test", "gateway_id: gw-other",
		"source: dir, dir: ./config", `source: etcd, verify: strict, verify_timeout: 2s, etcd: {endpoints: ["`+c.addr+`"]}`).Replace(string(text)))
	other.Start(t)
	states := func() string {
		all, err := p.store.Gateways(t.Context())
		if err != nil {
			return err.Error()
		}
		out := ""
		for _, g := range all {
			out += g.Gateway + " " + string(g.State) + "; "
		}
		return out
	}
	both := func(want string) {
		t.Helper()
		peer.WaitFor(t, 20*time.Second, want, func() bool { return states() == want })
	}
	both("gw-other applied; gw-test applied; ")
	addr := peer.FreeAddr(t)
	next := tab.clone().endpoint("new", addr).driver("new", "new", 50*time.Millisecond).variable("new.0", "new", 0, "")
	pushed := p.push(next)
	err = p.settled(pushed)
	if err == nil || !strings.Contains(err.Error(), "gw-other: pinned: not done within 2s: driver new") || strings.Contains(err.Error(), "gw-test:") {
		t.Errorf("the push says: %v", err)
	}
	both("gw-other pinned; gw-test applied; ")
	if head, err := p.store.Head(t.Context()); err != nil || head.Rev != pushed.Rev {
		t.Errorf("the head is rev %d, %v; want rev %d", head.Rev, err, pushed.Rev)
	}
	// The device comes, and the gateway is told.
	host, port, _ := strings.Cut(addr, ":")
	sim := exec.Command(peer.Build(t, "edge-ctl"), "sim", "modbus", "--listen", host+":"+port)
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Process.Kill(); _ = sim.Wait() }) // the test is over
	peer.WaitFor(t, 10*time.Second, "the simulator", func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		return err == nil && conn.Close() == nil
	})
	command(t, 0, "edge-cfg", "--endpoints", c.addr, "retry", "gw-other")
	both("gw-other applied; gw-test applied; ")
	p.check()
}

// TestHangUpReloads: SIGHUP has the tables read anew, and ends nothing.
func TestHangUpReloads(t *testing.T) {
	t.Parallel()
	a := startPLC(t, baseA)
	one := newTables().endpoint("e", a.addr).driver("d", "e", 50*time.Millisecond).variable("x", "d", 0, "")
	two := one.clone().variable("y", "d", 1, "")
	gw := dirPlant(t, one)
	writeTables(t, gw, two)
	if err := syscall.Kill(int(gw.Proc()), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	peer.WaitFor(t, 10*time.Second, "the reload", func() bool { return strings.Contains(gw.Output(), "the configuration was reloaded") })
	if s := running(t, gw); s.Sha256 != two.document().SHA256() {
		t.Errorf("it runs %+v", s)
	}
	writeTables(t, gw, newTables()) // nothing at all: refused
	if err := syscall.Kill(int(gw.Proc()), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	peer.WaitFor(t, 10*time.Second, "the refusal", func() bool {
		return strings.Contains(gw.Output(), "1 of 1 endpoints, 1 of 1 drivers, 2 of 2 variables") && running(t, gw).State == "rejected"
	})
	if s := running(t, gw); s.Sha256 != two.document().SHA256() {
		t.Errorf("it runs %+v", s)
	}
}
