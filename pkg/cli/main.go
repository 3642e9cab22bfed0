package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// Main runs root and returns the exit code; errors go to root's standard error.
// The context of the commands ends with the first SIGINT or SIGTERM; a second
// signal ends the process at once.
//
// Every flag that was not given is taken from the environment: --wal-dir from
// EDGE_BUS_WAL_DIR where envPrefix is EDGE_BUS. Whatever fails before a command's
// RunE (unknown command or flag, wrong number of arguments, a bad value) is a
// usage error. An argument that begins with a minus and a digit is a number or a time
// ago (-15m), never a flag.
func Main(root *cobra.Command, envPrefix string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// From the first signal on, signals have their default effect again.
	defer context.AfterFunc(ctx, stop)()
	root.SetArgs(readNegatives(root, os.Args[1:]))
	return Execute(ctx, root, envPrefix)
}

// Execute is [Main] without the signals, for a caller that has a context.
func Execute(ctx context.Context, root *cobra.Command, envPrefix string) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetErr(&bottomLine{w: root.ErrOrStderr()})
	addMan(root)
	root.InitDefaultCompletionCmd() // here, so that it is prepared like the others
	prepare(root, envPrefix)
	root.SetFlagErrorFunc(flagError)
	root.SetUsageFunc(usage)
	root.Version = version.String()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")

	cmd, err := root.ExecuteContextC(ctx)
	var ran *runError
	if err == nil || errors.As(err, &ran) {
		if ran != nil {
			err = ran.err
		}
	} else {
		err = Exit(Usage, err)
	}
	report(ctx, cmd, err)
	return CodeOf(err)
}

// report prints what err says to a person.
func report(ctx context.Context, cmd *cobra.Command, err error) {
	if err == nil {
		return
	}
	var exit *ExitError
	if errors.As(err, &exit) && exit.Err == nil {
		return
	}
	text := err.Error()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		text = "interrupted"
	}
	// It may quote what others wrote: a commit's author, a device's answer.
	lines := strings.Split(cmd.Root().Name()+": "+text, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	cmd.PrintErrln(fitted(strings.Join(lines, "\n"), terminalWidth(cmd.ErrOrStderr())))
	if CodeOf(err) == Usage {
		cmd.PrintErrf("Type '%s --help' to see how it is used.\n", cmd.CommandPath())
	}
}

// runError marks an error that came from a command's RunE, as opposed to one of
// the command line's.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// prepare hooks the environment and the marking of errors into cmd and all
// commands below it.
func prepare(cmd *cobra.Command, envPrefix string) {
	for _, c := range cmd.Commands() {
		prepare(c, envPrefix)
	}
	cmd.Long = reflow(cmp.Or(cmd.Long, cmd.Short))
	readNumbers(cmd.Flags())
	readNumbers(cmd.PersistentFlags())
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = missingSubcommand
		cmd.DisableFlagsInUseLine = true
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(c *cobra.Command, args []string) error {
			if err := run(c, args); err != nil {
				return &runError{err}
			}
			return nil
		}
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return argsError(c, args)
			}
			return nil
		}
	}
	preRun := cmd.PreRunE
	cmd.PreRunE = func(c *cobra.Command, args []string) error {
		if err := bindEnv(c, envPrefix); err != nil {
			return err
		}
		if err := checkRequired(c); err != nil || preRun == nil {
			return err
		}
		return preRun(c, args)
	}
}

// likeness says how much word looks like a command's name: letters in their places, and
// a bonus for the same letters in another order ("puhs").
func likeness(word, name string) int {
	n := 0
	for i := range min(len(word), len(name)) {
		if word[i] == name[i] {
			n += 2
		}
	}
	a, b := []byte(word), []byte(name)
	slices.Sort(a)
	slices.Sort(b)
	if slices.Equal(a, b) {
		n += 3
	}
	return n
}

// missingSubcommand is what a command that only groups others does.
func missingSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		cmd.SuggestionsMinimumDistance = max(cmd.SuggestionsMinimumDistance, 2)
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += fmt.Sprintf("; did you mean %q?", slices.MaxFunc(near, func(a, b string) int { return likeness(args[0], a) - likeness(args[0], b) }))
		}
		return Usagef("%s", text)
	}
	cmd.SetOut(cmd.ErrOrStderr())
	_ = cmd.Help() // it can only fail as stderr does
	return Exit(Usage, nil)
}
