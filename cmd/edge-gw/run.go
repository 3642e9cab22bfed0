package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/gateway"
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the gateway",
		Long: `run polls the devices of the tables and delivers what it reads, until SIGTERM or
SIGINT. It stops within five seconds: what is in flight then is kept for the
next start. A second signal stops it at once. SIGHUP makes it read the tables again.`,
		Example: `  edge-gw run --config /etc/edge-gw/gateway.yml
  edge-gw run --config gateway.yml --log-format text --set bus.wal_flush_ms=20`,
		Args: cobra.NoArgs,
		RunE: run,
	}
	addConfigFlags(cmd)
	cmd.Flags().Bool("safe", false, "start the configuration center and the admin socket alone, to put right what keeps the gateway from running")
	cmd.Flags().Uint64("replay-from", 0, "set every consumer back to this seq, once: it is delivered again from there")
	return cmd
}

// lastWords is how long the end of the process waits for readers of its output.
const lastWords = 500 * time.Millisecond

// logFormat is what log.format says, or, where nothing says it, what suits those who
// read: a person at a terminal.
func logFormat(cfg *bootstrap.Gateway, terminal bool) string {
	if terminal && cfg.Origin("log.format") == "default" {
		return "text"
	}
	return cfg.Log.Format
}

func run(cmd *cobra.Command, _ []string) error {
	cfg, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	replayFrom, err := cmd.Flags().GetUint64("replay-from")
	if err != nil {
		return err
	}
	safe, err := cmd.Flags().GetBool("safe")
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	syscall.Umask(0o077) // sockets and files are born private
	// Whoever reads the log may stall or go away: neither holds up the gateway.
	signal.Ignore(syscall.SIGPIPE)
	cmd.Root().SetErr(gateway.Patient(os.Stderr, lastWords))
	out := gateway.NewLogOutput(os.Stdout)
	defer out.Close(lastWords)
	log, err := gateway.NewLogger(out, logFormat(cfg, cli.IsTerminal(os.Stdout)), level)
	if err != nil {
		return err
	}
	// A gateway shares a small machine: less memory is worth some more collections.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP) // from here on it ends nothing
	defer signal.Stop(hups)
	g, err := open(cmd.Context(), func() (*gateway.Gateway, error) {
		return gateway.Open(cfg, gateway.Options{Log: log, Level: level, Dropped: out.Dropped, ReplayFrom: replayFrom, Safe: safe})
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hups:
				g.Reload(ctx)
			}
		}
	}()
	err = g.Run(ctx)
	if errors.Is(err, gateway.ErrRestart) {
		return restart(log, out, err)
	}
	return err
}

// open opens the gateway, or gives it up when ctx ends: on a full disk the log
// waits for space, and a stop must not.
func open(ctx context.Context, open func() (*gateway.Gateway, error)) (*gateway.Gateway, error) {
	type opened struct {
		g   *gateway.Gateway
		err error
	}
	done := make(chan opened, 1)
	go func() {
		g, err := open()
		done <- opened{g, err}
	}()
	select {
	case o := <-done:
		return o.g, o.err
	case <-ctx.Done():
	}
	select {
	case o := <-done:
		return o.g, o.err // Run cleans up
	case <-time.After(2 * time.Second):
		return nil, errors.New("stopped before the log was open: is its disk full?")
	}
}

// restarted is set in the environment of a process that has replaced one whose
// rollback had failed.
const restarted = "EDGE_RESTARTED"

// restart replaces this process by a new one, which begins with the last good
// configuration. It does so once: if that one has to be restarted too, it ends, and
// its supervisor decides.
func restart(log *slog.Logger, out *gateway.LogOutput, cause error) error {
	if os.Getenv(restarted) != "" {
		return fmt.Errorf("this process was restarted for the same reason already: %w", cause)
	}
	exe, err := os.Executable()
	if err != nil {
		return errors.Join(cause, err)
	}
	log.Error("the process is replaced by a new one, which runs the last good configuration", "error", cause)
	out.Close(lastWords)
	return errors.Join(cause, syscall.Exec(exe, os.Args, append(os.Environ(), restarted+"=1")))
}
