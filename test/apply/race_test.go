package apply

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestNewerPushAtEveryPhase pushes again as the gateway enters each phase. The
// newest configuration runs in the end, and a rollback never overwrites it.
func TestNewerPushAtEveryPhase(t *testing.T) {
	t.Parallel()
	d := newDuel(t, ", verify_timeout: 2s", "")
	d.runs(0)
	for _, state := range forward { // there, and back before it is over
		d.overtaken(d.new, d.old, state)
		d.runs(0)
	}
	for _, state := range []string{"Verifying", "RollingBack"} {
		newest := d.overtaken(d.dead, d.new, state)
		d.runs(1)
		if head, err := d.store.Head(t.Context()); err != nil || head.Rev != newest.Rev {
			t.Errorf("pushed over a bad commit in %s: the head is rev %d (%s), %v; want rev %d", state, head.Rev, head.Message, err, newest.Rev)
		}
		d.applied(d.old)
	}
	d.check()
}

// overtaken pushes one, and newest as the gateway enters state; it waits until that
// is applied.
func (d *duel) overtaken(one, newest tables, state string) center.Commit {
	d.tb.Helper()
	doc := newest.document()
	pushed := make(chan center.Commit, 1)
	_, stop := d.at(state, func() {
		base, err := d.pushAnyhow(doc, "newer, in "+state)
		if err != nil {
			d.tb.Error(err)
		}
		pushed <- base.Commit
	})
	defer stop()
	d.push(one)
	select {
	case c := <-pushed:
		if err := d.settled(c); err != nil {
			d.tb.Fatalf("newer in %s: %v", state, err)
		}
		return c
	case <-time.After(20 * time.Second):
		d.tb.Fatalf("the apply never came to %s", state)
	}
	return center.Commit{}
}

// pushAnyhow pushes doc as a person would who repeats what another push has beaten:
// the rollback's may.
func (d *duel) pushAnyhow(doc *config.Document, message string) (center.Version, error) {
	for {
		base, err := d.store.Load(d.tb.Context())
		if err != nil {
			return base, err
		}
		base.Commit, err = d.store.Push(d.tb.Context(), base, doc, center.PushOptions{Message: message})
		if conflict := (*center.ConflictError)(nil); !errors.As(err, &conflict) {
			return base, err
		}
	}
}

// cluster is an etcd server that can be stopped and started again.
type cluster struct {
	t    testing.TB
	dir  string
	addr string
	stop func()
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "e") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, addr: peer.FreeAddr(t)}
	c.start()
	t.Cleanup(func() { c.stop(); _ = os.RemoveAll(dir) })
	return c
}

func (c *cluster) start() {
	c.t.Helper()
	srv, err := embedded.New(embedded.Config{Dir: filepath.Join(c.dir, "etcd"), Socket: center.EmbeddedSocket(c.dir), Listen: c.addr, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Run(ctx); err != nil {
			c.t.Errorf("etcd: %v", err)
		}
	}()
	c.stop = func() { cancel(); <-done }
	select {
	case <-srv.Ready():
	case <-done:
		c.t.Fatal("etcd did not start")
	}
}

// TestEtcdLostAtEveryPhase takes etcd away as the gateway enters each phase. The
// apply ends as it would have, and when etcd is back it is told, or put back.
func TestEtcdLostAtEveryPhase(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "etcd-gone")
	c := startCluster(t)
	d := newDuel(t, ", verify_timeout: 2s", c.addr)
	d.runs(0)
	for i, state := range forward {
		which := 1 - i%2
		d.lost(c, []tables{d.old, d.new}[which], state)
		d.runs(which)
		c.start()
		row.Fault(1)
		back := time.Now()
		sha := []tables{d.old, d.new}[which].document().SHA256()
		d.status("the gateway to report", func(g center.Gateway) bool {
			return g.Online && g.State == center.Applied && g.SHA256 == sha
		})
		row.Recovered(time.Since(back))
	}
	for _, state := range []string{"Verifying", "RollingBack"} {
		d.lost(c, d.dead, state)
		peer.WaitFor(t, 20*time.Second, "the rollback", func() bool { return d.tried().State == "rolled_back" })
		d.runs(0)
		c.start()
		row.Fault(1)
		d.backToOld()
	}
	if n := len(d.rollbacks()); n != 2 {
		t.Errorf("%d rollbacks were told upstream: %v", n, d.rollbacks())
	}
	d.account(row)
}

// lost pushes t and stops etcd as the gateway enters state.
func (d *duel) lost(c *cluster, t tables, state string) {
	d.tb.Helper()
	gone := make(chan struct{})
	_, stop := d.at(state, func() { c.stop(); close(gone) })
	defer stop()
	d.push(t)
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		d.tb.Fatalf("the apply never came to %s", state)
	}
	if conn, err := net.DialTimeout("tcp", c.addr, time.Second); err == nil {
		_ = conn.Close()
		d.tb.Fatal("etcd still answers")
	}
}

// rollbacks returns what sys.cfg_rollback frames said.
func (p *plant) rollbacks() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.told...)
}

// TestConnectorSettings changes settings of the connector and the bus as they run:
// those of how messages are gathered without a new connection, others with one, and
// what the connector refuses touches nothing.
func TestConnectorSettings(t *testing.T) {
	t.Parallel()
	d := newDuel(t, "", "")
	d.runs(0)
	reconnects := func() int { return strings.Count(d.Output(), "connected to the broker") }
	before := reconnects()
	set := func(mqtt map[string]any) tables {
		n := d.old.clone()
		n.settings["connectors.mqtt"] = mqtt
		n.settings["bus"] = map[string]any{"wal_flush_ms": 15.0}
		return n
	}
	d.applied(set(map[string]any{"max_interval": "50ms", "max_frames": 500.0, "backoff": map[string]any{"base": "1s"}}))
	d.runs(0)
	if n := reconnects(); n != before {
		t.Errorf("%d connections to the broker, %d before: these settings need none", n, before)
	}
	if took := d.tried().Impact; !strings.Contains(took, "settings") || strings.Contains(took, "restart") {
		t.Errorf("the impact was %q", took)
	}
	d.applied(set(map[string]any{"keepalive": "5s"}))
	peer.WaitFor(t, 10*time.Second, "a new connection", func() bool { return reconnects() == before+1 })
	d.runs(0)
	err := d.settled(d.push(set(map[string]any{"topic": "/edge/{nobody}/data"})))
	if err == nil || !strings.Contains(err.Error(), "unknown placeholder {nobody}") {
		t.Errorf("a topic that can't be: %v", err)
	}
	if h := d.tried(); h.State != "rejected" || h.FailedIn != "Preparing" {
		t.Errorf("a topic that can't be: %+v", h)
	}
	if n := reconnects(); n != before+1 {
		t.Errorf("%d connections to the broker, want %d", n, before+1)
	}
	d.runs(0)
	d.check()
}
