package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/backup"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/gateway"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newBackup() *cobra.Command {
	var secrets bool
	cmd := &cobra.Command{
		Use:   "backup FILE --config FILE",
		Short: "Write everything that a gateway needs to go on elsewhere to a file",
		Long: `backup writes tables with their history, the log of frames, the consumers' places
and the gateway's identity to FILE, which must not exist; - is standard output. The
gateway may run meanwhile.

Secrets are left out: secrets_dir, policy.secrets_dir, and passwords that stand in
gateway.yml. With --secrets they are in it, so keep such a file as you keep them. What
the environment holds is never in it (EDGE_SECRET_…), and neither are the tables of an
etcd cluster, which has backups of its own.

FILE is a tar archive: "tar --zstd -tf FILE" lists it.`,
		Example: `  edge-gw backup /backup/gw-$(date +%F).tar.zst \
    --config /etc/edge-gw/gateway.yml
  edge-gw backup - --config gateway.yml | ssh store 'cat > gw-001.tar.zst'
  edge-gw restore --check gw-001.tar.zst`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runBackup(cmd, args[0], secrets) },
	}
	addConfigFlags(cmd)
	cmd.Flags().BoolVar(&secrets, "secrets", false, "with secrets_dir, policy.secrets_dir, and gateway.yml as it stands")
	return cmd
}

func runBackup(cmd *cobra.Command, file string, secrets bool) error {
	cfg, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	opts := gateway.BackupOptions{File: cmd.Flag("config").Value.String(), Secrets: secrets, Log: toolLog(cmd)}
	p := cli.NewProgress(cmd, "backing up")
	defer p.Done()
	write := func(w io.Writer) error { return gateway.Backup(cmd.Context(), cfg, p.Writer(cmd.Context(), w), opts) }
	if file == "-" {
		return cli.Interrupted(cmd, write(cmd.OutOrStdout()), "what was written is no whole backup")
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s exists; name another file or remove it", file))
	}
	if err := durable.Write(file, 0o600, write); err != nil {
		return cli.Interrupted(cmd, fmt.Errorf("backup to %s: %w", file, err), "%s was not made", file)
	}
	p.Set("reading it back")
	c, err := gateway.CheckBackup(file)
	if err != nil {
		return fmt.Errorf("the backup was written, and can't be read back: %w", err)
	}
	p.Done()
	printContents(cmd, file, c)
	return nil
}

// toolLog is the log of a command that isn't the gateway: what is wrong, for
// people.
func toolLog(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// printContents tells what is in a backup.
func printContents(cmd *cobra.Command, file string, c *backup.Contents) {
	state := "stopped"
	if c.Running {
		state = "running"
	}
	cmd.PrintErrf("%s: gateway %s on %s, %s, made %s by edge-gw %s\n",
		cli.Printable(file), cli.Printable(c.Gateway), cli.Printable(c.Host), state, moment.Format(c.Time), cli.Printable(c.Version))
	for _, name := range slices.Sorted(maps.Keys(c.Names)) {
		cmd.PrintErrf("  %-28s %s\n", cli.Printable(name), cli.Bytes(uint64(c.Names[name])))
	}
	if !c.Secrets {
		cmd.PrintErrln("Secrets are not in it: secrets_dir, policy.secrets_dir, passwords in gateway.yml.")
		return
	}
	cmd.PrintErrln("Secrets are in it: secrets_dir (secrets/), policy.secrets_dir (policy/), gateway.yml. Those of the environment are not.")
}

func newRestore() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "restore FILE --config FILE",
		Short: "Put a backup where a gateway keeps its data",
		Long: `restore makes the data_dir of the gateway that FILE is a backup of, and the log's
directory. Both must be empty or not exist; everything in FILE is checked before
anything is written. Tables in config.dir and secrets are restored where they are
missing. Run it as the gateway's user.

The restored gateway goes on from the time of the backup: frames that were delivered
since then and are in it are delivered again, under a new epoch of the log. The
gateway that it replaces must not run any more.

With --check it reads FILE, says what is in it (with -o json to programs), and
restores nothing.`,
		Example: `  edge-gw restore --check gw-001.tar.zst
  sudo -u edge-gw edge-gw restore gw-001.tar.zst \
    --config /etc/edge-gw/gateway.yml
  tar --zstd -xOf gw-001.tar.zst gateway.yml       # what it was configured with`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !check {
				return runRestore(cmd, args[0])
			}
			return checkBackup(cmd, args[0])
		},
	}
	addConfigFlags(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "only read FILE and say what is in it")
	cli.AddOutputFlag(cmd)
	return cmd
}

// checkBackup reads a backup and says what is in it: to people on standard error.
func checkBackup(cmd *cobra.Command, file string) error {
	var c *backup.Contents
	err := cli.During(cmd, "reading "+file, func() (err error) {
		c, err = gateway.CheckBackup(file)
		return err
	})
	if err != nil {
		return err
	}
	out := cli.NewOutput(cmd)
	if out.Format != cli.FormatTable {
		return out.Print(struct {
			backup.Manifest
			Parts map[string]int64 `json:"parts"` // bytes
		}{c.Manifest, c.Names}, nil)
	}
	printContents(cmd, file, c)
	cmd.PrintErrln("✓ It is whole.")
	return nil
}

func runRestore(cmd *cobra.Command, file string) error {
	cfg, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	var done *gateway.Restored
	if err := cli.During(cmd, "restoring", func() (err error) {
		done, err = gateway.Restore(cmd.Context(), cfg, file, toolLog(cmd))
		return err
	}); err != nil {
		return err
	}
	cmd.PrintErrf("Restored to %s: gateway %s as it was at %s, with %s.\n",
		cfg.DataDir, done.Gateway, moment.Format(done.Time), words.Count(done.Log.Frames, "frame"))
	for _, path := range done.Placed {
		cmd.PrintErrf("  made %s\n", path)
	}
	for _, path := range done.Kept {
		cmd.PrintErrf("  kept %s, which was there\n", path)
	}
	if os.Geteuid() == 0 {
		cmd.PrintErrf("The files belong to root now; if the gateway runs as another user: chown -R USER: %s\n", cfg.DataDir)
	}
	return nil
}
