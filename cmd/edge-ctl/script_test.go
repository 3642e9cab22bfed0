package main

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"edge-ctl": main})
}

// TestScripts runs the command against the small gateway of admintest, whose
// socket is $WORK/admin.sock. "gateway stop" stops it, "gateway busy"
// gives it as many calls as it takes at once, "gateway refused" makes a device refuse a tag, "gateway watched" waits for a client; "listens HOST:PORT" waits
// for a listener; "lint DIR" wants tables without a finding; "audited METHOD CODE
// [REQUEST]" wants a call in the audit log, with this in its request; clitest has the other commands.
func TestScripts(t *testing.T) {
	cmds := clitest.Commands()
	cmds["gateway"], cmds["listens"], cmds["lint"], cmds["audited"] = gateway, listens, lintTables, audited
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			socket := filepath.Join(env.WorkDir, "admin.sock")
			fake := admintest.New()
			s, err := admintest.Serve(admin.Config{Socket: socket}, fake.Backend())
			if err != nil {
				return err
			}
			env.Defer(func() { _ = s.Stop() }) // nil, or said by the script
			env.Values["gateway"], env.Values["fake"] = s, fake
			env.Setenv("EDGE_CTL_SOCKET", socket)
			env.Setenv("TZ", "UTC")
			env.Setenv("SIM", peer.FreeAddr(t))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "home"))
			return nil
		},
		Cmds: cmds,
	})
}

func gateway(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gateway stop|busy|refused|watched")
	}
	s, fake := ts.Value("gateway").(*admintest.Server), ts.Value("fake").(*admintest.Gateway)
	switch args[0] {
	case "stop":
		ts.Check(s.Stop())
	case "busy":
		ts.Defer(keepBusy(ts, s, fake))
	case "refused":
		fake.Refuse()
	case "watched":
		await(ts, "a client watches tags", func() bool { return fake.TagCalls() > 0 })
	default:
		ts.Fatalf("usage: gateway stop|busy|refused|watched")
	}
}

// keepBusy makes as many calls as the gateway takes at once; they go on until end.
func keepBusy(ts *testscript.TestScript, s *admintest.Server, fake *admintest.Gateway) (end func()) {
	const calls = 64
	free := fake.Busy()
	c, err := admin.Dial(context.Background(), s.Socket)
	ts.Check(err)
	ended := make(chan error, calls)
	for range calls {
		go func() {
			_, err := c.Config.ReloadConfig(context.Background(), &pb.ReloadConfigRequest{})
			ended <- err
		}()
	}
	await(ts, "64 calls run", func() bool { return fake.Reloads() == calls })
	return func() {
		free()
		for range calls {
			<-ended // nil, or that the gateway was stopped
		}
		_ = c.Close() // every call has ended
	}
}

// await waits until cond holds.
func await(ts *testscript.TestScript, what string, cond func() bool) {
	for began := time.Now(); !cond(); time.Sleep(10 * time.Millisecond) { // another process works on it
		if time.Since(began) > 30*time.Second {
			ts.Fatalf("%s: not within 30 s", what)
		}
	}
}

func audited(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: audited METHOD CODE [REQUEST]")
	}
	for _, r := range ts.Value("gateway").(*admintest.Server).Audits() {
		if r.Method == args[0] && r.Code == args[1] && r.User != "" && strings.Contains(r.Request, strings.Join(args[2:], "")) {
			return
		}
	}
	ts.Fatalf("%s is not in the audit log with %s", args[0], args[1])
}

// listens waits until somebody listens on an address.
func listens(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listens HOST:PORT")
	}
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		if c, err := net.Dial("tcp", args[0]); err == nil {
			_ = c.Close() // nothing was sent
			return
		}
		time.Sleep(20 * time.Millisecond) // another process starts
	}
	ts.Fatalf("nobody listens on %s", args[0])
}

// lintTables fails if the tables of a directory have any finding.
func lintTables(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lint DIR")
	}
	await(ts, "three tables without a finding", func() bool {
		res := lint.Paths(ts.MkAbs(args[0]))
		return len(res.Findings) == 0 && len(res.Files) == 3
	})
}
