package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

// run runs "tool do x" with args on a terminal, or with a buffer as standard error.
func runOn(ctx context.Context, stderr io.Writer, run func(*cobra.Command, []string) error, args ...string) int {
	root := newRoot(run)
	cli.AddQuietFlag(root)
	root.SetArgs(append([]string{"do", "x"}, args...))
	root.SetOut(io.Discard)
	root.SetErr(stderr)
	return cli.Execute(ctx, root, "TOOL_TEST")
}

// TestProgress: a person sees one line that fits, which other lines take the place of
// and which is gone in the end.
func TestProgress(t *testing.T) {
	term := clitest.NewTerminal(t, 40, 24)
	code := runOn(t.Context(), term.Device, func(cmd *cobra.Command, _ []string) error {
		p := cli.NewProgress(cmd, "counting many things")
		p.Set("1 of 7, " + strings.Repeat("much more ", 20))
		at := term.WaitFor("\rcounting many things: 1 of 7", 0)
		cmd.PrintErrln("a warning")
		at = term.WaitFor("\r\x1b[Ka warning\r\n", at)
		p.Set("6 of 7")
		at = term.WaitFor("\rcounting many things: 6 of 7 (", at)
		p.Done()
		p.Done() // does nothing
		term.WaitFor("\r\x1b[K", at)
		return nil
	})
	shown := term.Shown()
	if code != 0 || !strings.HasSuffix(shown, "\r\x1b[K") {
		t.Errorf("exit code %d, and in the end %q", code, shown[max(0, len(shown)-40):])
	}
	for line := range strings.SplitSeq(shown, "\r") {
		if n := cli.Width(strings.TrimSpace(strings.ReplaceAll(line, "\x1b[K", ""))); n > 39 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

// TestLinesFit: what a command tells a person is broken between words, but for commands,
// which are copied.
func TestLinesFit(t *testing.T) {
	term := clitest.NewTerminal(t, 40, 24)
	const command = "  tool do x --with many --flags and --arguments"
	code := runOn(t.Context(), term.Device, func(cmd *cobra.Command, _ []string) error {
		cmd.PrintErrf("1,000 frames from 14:03 to now: seq 1 to 1000, read from 14:03 to 14:19\n%s\n", command)
		return errors.New("three words and some more " + strings.Repeat("and more ", 5) + "went wrong")
	})
	end := term.WaitFor("wrong\r\n", 0)
	lines := strings.Split(term.Shown()[:end], "\r\n")
	if code != cli.Failed || lines[0] != "1,000 frames from 14:03 to now: seq 1 to" || lines[1] != "1000, read from 14:03 to 14:19" || lines[2] != command {
		t.Errorf("exit code %d, %q", code, lines)
	}
	for _, line := range lines {
		if n := cli.Width(line); n > 40 && line != command {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

// TestNoProgress: who isn't a person at a terminal sees none.
func TestNoProgress(t *testing.T) {
	work := func(cmd *cobra.Command, _ []string) error {
		p := cli.NewProgress(cmd, "counting")
		defer p.Done()
		if p != nil {
			t.Error("it shows progress")
		}
		p.Set("1 of 7")
		_, err := io.Copy(io.Discard, p.Reader(cmd.Context(), strings.NewReader("abc"), 3))
		return err
	}
	var b bytes.Buffer
	runOn(t.Context(), &b, work)
	for _, flag := range []string{"-q", "-ojson", "-oyaml"} {
		term := clitest.NewTerminal(t, 80, 24)
		runOn(t.Context(), term.Device, work, flag)
		b.WriteString(term.Shown())
	}
	term := clitest.NewTerminal(t, 80, 24)
	t.Setenv("TERM", "dumb")
	runOn(t.Context(), term.Device, work)
	if got := b.String() + term.Shown(); got != "" {
		t.Errorf("shown: %q", got)
	}
}

// TestQuickWork shows nothing.
func TestQuickWork(t *testing.T) {
	term := clitest.NewTerminal(t, 80, 24)
	runOn(t.Context(), term.Device, func(cmd *cobra.Command, _ []string) error {
		begun := time.Now()
		err := cli.During(cmd, "counting", func() error { return nil })
		if time.Since(begun) > 400*time.Millisecond {
			return errors.New("skip") // the machine is too slow to tell
		}
		return err
	})
	if got := term.Shown(); got != "" && !strings.Contains(got, "skip") {
		t.Errorf("shown: %q", got)
	}
}

// TestInterrupted: who ends long work hears what it has done, also where the work only reads.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var b bytes.Buffer
	code := runOn(ctx, &b, func(cmd *cobra.Command, _ []string) error {
		var p *cli.Progress
		m := p.Reader(cmd.Context(), endless{cancel}, 4096)
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, m, make([]byte, 1024))
		return cli.Interrupted(cmd, fmt.Errorf("x: %w", err), "%s were read", m)
	})
	if want := "tool: interrupted: 1.0 KiB of 4.0 KiB were read\n"; b.String() != want || code != cli.Failed {
		t.Errorf("%d, %q; want %q", code, b.String(), want)
	}
	b.Reset()
	runOn(t.Context(), &b, func(cmd *cobra.Command, _ []string) error {
		return cli.Interrupted(cmd, errors.New("disk on fire"), "half is done")
	})
	if want := "tool: disk on fire\n"; b.String() != want {
		t.Errorf("without a signal: %q; want %q", b.String(), want)
	}
}

// endless has a signal come at the first read.
type endless struct{ signal func() }

func (e endless) Read(p []byte) (int, error) {
	e.signal()
	return len(p), nil
}
