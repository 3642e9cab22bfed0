package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// newRoot is a small command tree: "tool do ARG [--size N]", "tool group sub".
func newRoot(run func(*cobra.Command, []string) error) *cobra.Command {
	root := &cobra.Command{Use: "tool"}
	cli.AddColorFlag(root)
	do := &cobra.Command{Use: "do ARG", Args: cobra.ExactArgs(1), RunE: run}
	do.Flags().Int("block-size", 1, "")
	cli.AddOutputFlag(do)
	group := &cobra.Command{Use: "group"}
	group.AddCommand(&cobra.Command{Use: "sub", RunE: run})
	root.AddCommand(do, group)
	return root
}

type coded struct{}

func (coded) Error() string { return "no answer" }
func (coded) Unwrap() error { return errkind.Unreachable }

func TestExitCodes(t *testing.T) {
	fail := errors.New("disk on fire")
	for _, tc := range []struct {
		name   string
		args   string
		err    error
		code   int
		stderr string // contained in it; "" means that stderr is empty
	}{
		{"success", "do x", nil, 0, ""},
		{"failure", "do x", fail, 1, "tool: disk on fire\n"},
		{"own code", "do x", cli.Exit(3, fail), 3, "disk on fire"},
		{"silent", "do x", cli.Exit(5, nil), 5, ""},
		{"wrapped code", "do x", fmt.Errorf("status: %w", coded{}), 2, "status: no answer"},
		{"usage from the command", "do x", cli.Usagef("FILE is empty"), 64, "tool do --help"},
		{"interrupted", "do x", fmt.Errorf("dial: %w", context.Canceled), 1, "dial"},
		{"unknown command", "dro x", nil, 64, `unknown command "dro"`},
		{"unknown subcommand", "group sob", nil, 64, `did you mean "sub"`},
		{"group alone", "group", nil, 64, "Usage:"},
		{"root alone", "", nil, 64, "Usage:"},
		{"unknown flag", "do x --nope", nil, 64, "unknown flag: --nope"},
		{"bad flag value", "do x --block-size many", nil, 64, "--block-size many: expected a whole number\n"},
		{"too many arguments", "do x y", nil, 64, "tool do: expected ARG, got: x y"},
		{"bad format", "do x -o xml", nil, 64, "expected table|json|yaml"},
		{"missing argument", "do", nil, 64, "tool do: expected ARG"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := newRoot(func(*cobra.Command, []string) error { return tc.err })
			var out, errs bytes.Buffer
			root.SetOut(&out)
			root.SetErr(&errs)
			root.SetArgs(strings.Fields(tc.args))
			if code := cli.Execute(t.Context(), root, "TOOL"); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if out.Len() > 0 {
				t.Errorf("standard output is for data, got %q", out.String())
			}
			if got := errs.String(); !strings.Contains(got, tc.stderr) || tc.stderr == "" && got != "" {
				t.Errorf("stderr %q, want %q", got, tc.stderr)
			}
		})
	}
}

func TestInterruptedSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	root := newRoot(func(cmd *cobra.Command, _ []string) error {
		cancel()
		return fmt.Errorf("read: %w", cmd.Context().Err())
	})
	var errs bytes.Buffer
	root.SetErr(&errs)
	root.SetArgs([]string{"do", "x"})
	if code := cli.Execute(ctx, root, "TOOL"); code != cli.Failed {
		t.Errorf("exit code %d, want %d", code, cli.Failed)
	}
	if got := errs.String(); got != "tool: interrupted\n" {
		t.Errorf("stderr %q", got)
	}
}

func TestFlagsReadTheEnvironment(t *testing.T) {
	for _, tc := range []struct {
		name, env, args string
		want, from      string
		code            int
	}{
		{"default", "", "do x", "1", "", 0},
		{"environment", "7", "do x", "7", "TOOL_BLOCK_SIZE", 0},
		{"flag wins", "7", "do x --block-size 9", "9", "", 0},
		{"bad value", "seven", "do x", "", "", 64},
		{"another command's variable", "seven", "group sub", "", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("TOOL_BLOCK_SIZE", tc.env)
			var got, from string
			root := newRoot(func(cmd *cobra.Command, _ []string) error {
				if f := cmd.Flags().Lookup("block-size"); f != nil {
					got, from = f.Value.String(), cli.FromEnv(f)
					if changed := tc.name != "default"; f.Changed != changed {
						t.Errorf("changed is %v, want %v", f.Changed, changed)
					}
				}
				return nil
			})
			var errs bytes.Buffer
			root.SetErr(&errs)
			root.SetArgs(strings.Fields(tc.args))
			if code := cli.Execute(t.Context(), root, "TOOL"); code != tc.code {
				t.Fatalf("exit code %d, want %d: %s", code, tc.code, errs.String())
			}
			if got != tc.want || from != tc.from {
				t.Errorf("value %q from %q, want %q from %q", got, from, tc.want, tc.from)
			}
			if tc.code == 64 && !strings.Contains(errs.String(), `TOOL_BLOCK_SIZE="seven"`) {
				t.Errorf("stderr %q does not name the variable", errs.String())
			}
		})
	}
}

func TestConfirmWithoutTerminalIsUsage(t *testing.T) {
	for _, yes := range []bool{false, true} {
		root := newRoot(func(cmd *cobra.Command, _ []string) error {
			return cli.Confirm(cmd, yes, "Delete it?")
		})
		var errs bytes.Buffer
		root.SetIn(strings.NewReader("y\n"))
		root.SetErr(&errs)
		root.SetArgs([]string{"do", "x"})
		want := cli.Usage
		if yes {
			want = cli.OK
		}
		if code := cli.Execute(t.Context(), root, "TOOL"); code != want {
			t.Errorf("yes=%v: exit code %d, want %d: %s", yes, code, want, errs.String())
		}
	}
}
