package center_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// cluster is three etcd members, each a process.
type cluster struct {
	t       *testing.T
	env     [3][]string
	clients [3]string
	cmds    [3]*exec.Cmd
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var peers []string
	for i := range c.env {
		client, peer := freePort(t), freePort(t)
		c.clients[i] = client
		peers = append(peers, fmt.Sprintf("m%d=http://%s", i, peer))
		c.env[i] = []string{fmt.Sprint("NAME=m", i), "DIR=" + t.TempDir(), "CLIENT=http://" + client, "PEER=http://" + peer}
	}
	for i := range c.env {
		c.env[i] = append(c.env[i], "CLUSTER="+strings.Join(peers, ","))
	}
	var wg sync.WaitGroup
	for i := range c.env { // the first waits for the second
		wg.Go(func() { c.start(i) })
	}
	wg.Wait()
	return c
}

func (c *cluster) start(i int) { c.cmds[i], _ = child(c.t, "member", c.env[i]...) }

// killLeader kills the member that leads and returns its index.
func (c *cluster) killLeader() int {
	c.t.Helper()
	for {
		for i, addr := range c.clients {
			if c.leads(addr) {
				kill(c.cmds[i])
				return i
			}
		}
		if c.t.Context().Err() != nil {
			c.t.Fatal("no leader")
		}
	}
}

func (c *cluster) leads(addr string) bool {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }() // only asked
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
	defer cancel()
	st, err := etcd.Status(ctx, addr)
	return err == nil && st.Leader == st.Header.MemberId
}

// The leader of a cluster is killed again and again while an operator pushes and
// gateways watch: no acknowledged commit is lost, and no gateway misses the last.
func TestLeaderKilled(t *testing.T) {
	row := faults.Open(t, "etcd-leader")
	c := startCluster(t)
	s := open(t, c.clients[:], 40)
	var gateways []*center.Follower
	for i := range 3 {
		f, stop := follow(t, c.clients[:], fmt.Sprint("gw-", i), nil)
		defer stop()
		gateways = append(gateways, f)
	}
	l := &ledger{acks: map[int64]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	var last *config.Document
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			last = push(ctx, t, s, l, n, last)
		}
	})
	for range campaign(3, 60) {
		time.Sleep(700 * time.Millisecond) // pushes and watches go on for a while
		i := c.killLeader()
		row.Fault(1)
		acks, killed := l.len(), time.Now()
		time.Sleep(700 * time.Millisecond)
		c.start(i)
		for l.len() == acks && t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond) // another process elects
		}
		row.Recovered(time.Since(killed))
	}
	cancel()
	wg.Wait()
	head, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range gateways {
		deadline := time.Now().Add(30 * time.Second)
		for f.View().SHA256 != head.Commit.SHA256 {
			if time.Now().After(deadline) {
				t.Fatalf("%s has not got rev %d: %+v", f.View().Gateway, head.Commit.Rev, f.View())
			}
			time.Sleep(10 * time.Millisecond) // the follower is at work
		}
	}
	repaired(t, s, -1)
	row.Count(l.check(t, s))
}

// push makes one commit and writes it down if it was acknowledged. One whose answer
// was lost may be in the store or not; the document tells.
func push(ctx context.Context, t *testing.T, s *center.Store, l *ledger, n int, last *config.Document) *config.Document {
	base, err := s.Load(ctx)
	if err != nil {
		return last
	}
	doc := document(20+n%60, n)
	c, err := s.Push(ctx, base, doc, center.PushOptions{Message: fmt.Sprint(n)})
	conflict := (*center.ConflictError)(nil)
	switch {
	case err == nil:
		l.mu.Lock()
		l.acks[c.Rev] = c.SHA256
		l.mu.Unlock()
		return doc
	case errors.As(err, &conflict):
		t.Errorf("a conflict, with one writer only: %v", err)
	case ctx.Err() == nil:
		t.Logf("push %d: %v", n, err)
	}
	return last
}

// follow runs a gateway; applied, if not nil, is told of every snapshot.
func follow(t *testing.T, endpoints []string, name string, applied func(*config.Snapshot)) (*center.Follower, func()) {
	t.Helper()
	f, err := center.NewFollower(center.FollowerConfig{
		Store: center.Config{Endpoints: endpoints}, Gateway: name, Instance: name,
		CacheFile: cacheDir(t) + "/cache", Rollback: center.RollbackLocal,
		Apply: func(_ context.Context, snap *config.Snapshot) center.Outcome {
			if applied != nil {
				applied(snap)
			}
			return center.Outcome{State: center.Applied}
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Run(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}()
	return f, func() { cancel(); <-done }
}

// cacheDir is in memory where that is possible: the gateways of a fleet have disks of
// their own, and here they would all wait for the one that etcd writes to.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "center-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestDoctorWithoutMajority: with two of three members down, the doctor says which, by
// name, although it was told of one address alone, and what that means.
func TestDoctorWithoutMajority(t *testing.T) {
	c := startCluster(t)
	s := open(t, c.clients[:], 40)
	if _, err := s.Push(t.Context(), center.Version{}, document(3, 1), center.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	kill(c.cmds[0])
	kill(c.cmds[2])
	out, code := edgeCfg(t, "--endpoints", c.clients[1], "doctor")
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{c.clients[1] + " is up", c.clients[0] + " is down", c.clients[2] + " is down", "connection refused",
		"1 of 3 servers are up and 2 are needed", "gateways run on with what they have"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}
	if out, code = edgeCfg(t, "--endpoints", c.clients[1], "status"); code != 2 || !strings.Contains(out, "'edge-cfg doctor' tells which servers are down") {
		t.Errorf("status: exit code %d:\n%s", code, out)
	}
	kill(c.cmds[1])
	if out, code = edgeCfg(t, "--endpoints", strings.Join(c.clients[:], ","), "doctor"); code != 2 || !strings.Contains(out, "no server answers") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
