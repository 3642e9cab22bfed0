package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(selfEnv); path != "" {
		os.Exit(asCommand(path))
	}
	testscript.Main(m, map[string]func(){"edge-cfg": main, "code": code})
}

// TestScripts runs the scenarios in testdata: the command itself, on a real etcd.
// Each scenario has a prefix of its own there.
func TestScripts(t *testing.T) {
	server := startEtcd(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EDGE_CFG_ENDPOINTS", server)
			env.Setenv("EDGE_CFG_PREFIX", "/"+strings.TrimPrefix(filepath.Base(env.WorkDir), "script-"))
			env.Values[gatewaysKey{}] = map[string]func(){}
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"gateway": gateway, "rev": rev, "etcd": etcd},
	})
}

// startEtcd runs the embedded server in this process.
func startEtcd(t *testing.T) (endpoint string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "e") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := embedded.New(embedded.Config{Dir: filepath.Join(dir, "etcd"), Socket: center.EmbeddedSocket(dir), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	case <-time.After(30 * time.Second):
		t.Fatal("etcd did not start")
	}
	return s.Endpoint()
}

// code runs a command that must exit with a given code: code 3 edge-cfg push ….
func code() {
	want, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		panic(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		fmt.Fprintf(os.Stderr, "exit code %d, want %d\n", got, want)
		os.Exit(1)
	}
}
