package center_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/logtest"
)

// TestCutOff takes the store away from a gateway in the ways that happen: it stops, it
// hangs, its certificate is of another authority, the password changes. Each time the link
// says so, with the cause, which is logged once; and what is needed is read anew, so that
// the gateway is back without a restart.
func TestCutOff(t *testing.T) {
	ca := newAuthority(t)
	ca.sign("server", ca)
	ca.sign("ann", ca)
	client, peerAddr, dir := freePort(t), freePort(t), t.TempDir()
	var member *exec.Cmd
	start := func() {
		member, _ = child(t, "member", "NAME=m0", "DIR="+dir, "CLIENT=https://"+client, "PEER=http://"+peerAddr, "CLUSTER=m0=http://"+peerAddr,
			"CERT="+ca.path("server.crt"), "KEY="+ca.path("server.key"), "CA="+ca.path("ca.crt"))
	}
	start()
	files := center.TLS{CA: ca.path("ca.crt"), Cert: ca.path("ann.crt"), Key: ca.path("ann.key")}
	enableAuth(t, client, files)
	password := ca.path("password")
	setPassword := func(text string) {
		if err := os.WriteFile(password, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	setPassword("secret")
	store := center.Config{Endpoints: []string{client}, TLS: &files, User: "operator", DialTimeout: 2 * time.Second,
		ReadPassword: func() (string, error) { b, err := os.ReadFile(password); return string(b), err }}
	var log logtest.Buffer
	f, err := center.NewFollower(center.FollowerConfig{
		Store: store, Gateway: "gw", Instance: "i", CacheFile: filepath.Join(t.TempDir(), "cache"), LeaseTTL: 2 * time.Second,
		Seed:  func() (*config.Snapshot, error) { return document(3, 1).Snapshot(nil) },
		Apply: func(context.Context, *config.Snapshot) center.Outcome { return center.Outcome{State: center.Applied} },
		Log:   log.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	link := func(up bool, causes ...string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // a real server comes and goes
			st := f.Feed()
			if st.Link.Connected == up && (up || st.Link.Error != "" && contains(st.Link.Error, causes)) && (!up || st.State == feed.Applied) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("not in time: connected %v with one of %q: %+v", up, causes, st)
			}
		}
	}
	again := 0
	back := func() {
		t.Helper()
		link(true)
		if again++; strings.Count(log.String(), "the config center is followed again") != again {
			t.Errorf("the return was told %d times, expected %d", strings.Count(log.String(), "followed again"), again)
		}
	}
	link(true)

	kill(member)
	link(false, "connection refused")
	time.Sleep(time.Second) // for more attempts, which are not told again
	if n := strings.Count(log.String(), "connection refused"); n != 1 {
		t.Errorf("one cause was logged %d times", n)
	}
	start()
	back()

	if err := member.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	link(false, "no answer in time")
	if err := member.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	back()

	// Another authority: its certificate first, then its file.
	kill(member)
	other := newAuthority(t)
	other.sign("server", other)
	copyFile(t, other.path("server.crt"), ca.path("server.crt"))
	copyFile(t, other.path("server.key"), ca.path("server.key"))
	start()
	link(false, "x509")
	copyFile(t, other.path("ca.crt"), ca.path("ca.crt"))
	back()

	changePassword(t, client, files)
	link(false, "authentication failed", "invalid auth token", "invalid user ID or password")
	setPassword("another")
	back()
}

func contains(text string, any []string) bool {
	for _, a := range any {
		if strings.Contains(text, a) {
			return true
		}
	}
	return false
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
