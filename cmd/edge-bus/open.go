package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// defaultWAL is where the log of a packaged gateway is.
const defaultWAL = "/var/lib/edge-gw/log"

// source is the log that a command works on.
type source struct {
	admin.BusBackend
	stopped *busadmin.Bus // set when it is a stopped gateway's directory
	outlets *outlets      // of a stopped gateway whose configuration is known
}

// place is where a gateway is looked for when no flag says so.
type place struct {
	socket  string // "": the usual ones
	dir     string // of its log
	outlets *outlets
}

// access is what a command does with a log.
type access bool

const (
	reading access = false
	writing access = true
)

// withLog opens the log that the flags name and runs use. Without flags it is the
// running gateway's, else the log at the default place, and it says which.
func withLog(cmd *cobra.Command, a access, use func(context.Context, source) error) error {
	return withLogAt(cmd, a, place{dir: defaultWAL}, use)
}

func withLogAt(cmd *cobra.Command, a access, at place, use func(context.Context, source) error) error {
	dir, err := walDir(cmd)
	if err != nil {
		return err
	}
	if dir != "" {
		return withDir(cmd, dir, a, at.outlets, use)
	}
	socket := cmd.Flags().Lookup("socket")
	given := socket.Changed && (at.socket == "" || cli.FromEnv(socket) == "") // a place that a flag names wins over the environment
	if at.socket != "" && !given {
		if err := cmd.Flags().Set("socket", at.socket); err != nil {
			return err
		}
	}
	err = cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error { return use(ctx, source{BusBackend: c.Bus}) })
	var away *admin.UnreachableError
	if !errors.As(err, &away) || errors.Is(err, context.DeadlineExceeded) { // one that hangs has the log
		return err
	}
	if _, serr := os.Stat(at.dir); given || serr != nil {
		return fmt.Errorf("%w; for the log of a stopped gateway say --wal-dir DIR", err)
	}
	cmd.PrintErrf("no gateway runs: working on the log in %s\n", at.dir)
	return withDir(cmd, at.dir, a, at.outlets, use)
}

// walDir returns the directory to work on, "" for the socket. A flag wins over
// the environment.
func walDir(cmd *cobra.Command) (string, error) {
	dir, socket := cmd.Flags().Lookup("wal-dir"), cmd.Flags().Lookup("socket")
	given := func(f *pflag.Flag) bool { return f.Changed && cli.FromEnv(f) == "" }
	switch {
	case given(dir) && given(socket):
		return "", cli.Usagef("--socket and --wal-dir: expected one of them")
	case given(socket):
		return "", nil
	}
	return dir.Value.String(), nil
}

func withDir(cmd *cobra.Command, dir string, a access, out *outlets, use func(context.Context, source) error) error {
	archive, err := bus.OpenArchive(dir, bool(a), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if errors.Is(err, bus.ErrLocked) {
		return fmt.Errorf("%s: a gateway that runs uses this log: leave --wal-dir out to work through its socket, or stop it: %w", dir, err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: this user may not read it; use sudo, or leave --wal-dir out while the gateway runs: %w", dir, fs.ErrPermission)
	}
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		b := busadmin.Stopped(archive, out.resendFrom(archive))
		err := use(cmd.Context(), source{BusBackend: b, stopped: b, outlets: out})
		out.close()
		if cerr := archive.Close(); err == nil {
			err = cerr
		}
		done <- err
	}()
	select {
	case err = <-done:
	case <-archive.Failed(): // what met the failure never returns
		err = archive.Err()
	}
	return err
}

// runningOnly is the error of what a stopped gateway cannot do.
func (s source) runningOnly(what string) error {
	if s.stopped != nil {
		return cli.Usagef("%s is for a running gateway; leave --wal-dir out", what)
	}
	return nil
}
