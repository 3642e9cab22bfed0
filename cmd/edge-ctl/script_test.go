package main

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"edge-ctl": main})
}

// TestScripts runs the command against the small gateway of admintest, whose
// socket is $WORK/admin.sock. "gateway stop" stops it; "listens HOST:PORT" waits
// for a listener; "lint DIR" wants tables without a finding; "audited METHOD CODE" wants
// a call in the audit log; clitest has the other commands.
func TestScripts(t *testing.T) {
	cmds := clitest.Commands()
	cmds["gateway"], cmds["listens"], cmds["lint"], cmds["audited"] = gateway, listens, lintTables, audited
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			socket := filepath.Join(env.WorkDir, "admin.sock")
			s, err := admintest.Serve(admin.Config{Socket: socket}, admintest.New().Backend())
			if err != nil {
				return err
			}
			env.Defer(func() { _ = s.Stop() }) // nil, or said by the script
			env.Values["gateway"] = s
			env.Setenv("EDGE_CTL_SOCKET", socket)
			env.Setenv("TZ", "UTC")
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Setenv("SIM", l.Addr().String()) // free a moment ago
			if err := l.Close(); err != nil {
				return err
			}
			return nil
		},
		Cmds: cmds,
	})
}

func gateway(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || args[0] != "stop" {
		ts.Fatalf("usage: gateway stop")
	}
	ts.Check(ts.Value("gateway").(*admintest.Server).Stop())
}

func audited(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: audited METHOD CODE")
	}
	for _, r := range ts.Value("gateway").(*admintest.Server).Audits() {
		if r.Method == args[0] && r.Code == args[1] && r.User != "" {
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
	for began := time.Now(); time.Since(began) < 10*time.Second; {
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
	res := lint.Paths(ts.MkAbs(args[0]))
	if len(res.Findings) > 0 || len(res.Files) != 3 {
		ts.Fatalf("%v: %v", res.Files, res.Findings)
	}
}
