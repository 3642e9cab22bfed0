package center_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// TestNoSpace fills an etcd up to its quota: a push fails and says what to do, gateways run on,
// and once there is room again, as it said, pushes reach them as before.
func TestNoSpace(t *testing.T) {
	row := faults.Open(t, "etcd-full")
	addr, peerAddr := freePort(t), freePort(t)
	child(t, "member", "NAME=m0", "DIR="+t.TempDir(), "CLIENT=http://"+addr, "PEER=http://"+peerAddr, "CLUSTER=m0=http://"+peerAddr, "QUOTA=4194304")
	s := open(t, []string{addr}, 0)
	gw, stop := follow(t, []string{addr}, "gw", nil)
	defer stop()
	l := &ledger{acks: map[int64]string{}}
	version, last := 0, ""
	pushed := func() error {
		base, err := s.Load(t.Context())
		if err != nil {
			return err
		}
		version++
		c, err := s.Push(t.Context(), base, document(2000, version), center.PushOptions{})
		if err == nil {
			l.acks[c.Rev], last = c.SHA256, c.SHA256
		}
		return err
	}
	runsLast := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); gw.View().SHA256 != last; time.Sleep(10 * time.Millisecond) { // the follower is at work
			if time.Now().After(deadline) {
				t.Fatalf("%s: the gateway does not run the last commit: %+v", what, gw.View())
			}
		}
	}
	for range campaign(1, 10) {
		var err error
		for n := 0; err == nil; n++ {
			if err = pushed(); n > 200 {
				t.Fatal("200 pushes do not fill 4 MiB")
			}
		}
		row.Fault(1)
		if !strings.Contains(err.Error(), "edge-cfg compact") {
			t.Fatalf("a push without space: %v", err)
		}
		runsLast("without space")
		if out, code := edgeCfg(t, "--endpoints", addr, "compact"); code != 0 {
			t.Fatalf("compact: exit code %d\n%s", code, out)
		}
		back := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		for err = pushed(); err != nil && ctx.Err() == nil; err = pushed() {
			time.Sleep(100 * time.Millisecond) // what the push without space began has a lease
		}
		cancel()
		if err != nil {
			t.Fatalf("with space again: %v", err)
		}
		runsLast("with space again")
		row.Recovered(time.Since(back))
	}
	row.Count(l.check(t, s))
}
