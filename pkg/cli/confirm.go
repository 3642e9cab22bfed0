package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// IsTerminal reports whether a stream (a file, usually) is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth returns the columns of the terminal that a stream is, 0 if it is none.
func terminalWidth(stream any) int {
	f, ok := stream.(interface{ Fd() uintptr })
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Confirm asks question on standard error and returns nil if the answer is yes.
// With yes set (the command's -y) it asks nothing. Without a terminal to ask, it
// is a usage error: a script must say -y.
func Confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	if !IsTerminal(cmd.InOrStdin()) {
		return Usagef("%s There is no terminal to ask; say -y to go on without a question", question)
	}
	cmd.PrintErrf("%s [y/N] ", question)
	answer, err := readLine(cmd.Context(), cmd.InOrStdin())
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return Exit(Failed, errors.New("not confirmed; nothing was changed"))
}

// Confirmed asks as [Confirm] does, then does what was asked about, and says so on
// standard error.
func Confirmed(cmd *cobra.Command, yes bool, question string, do func() error, done string) error {
	if err := Confirm(cmd, yes, question); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	cmd.PrintErrln(done)
	return nil
}

// AddYesFlag adds -y, without which a command asks.
func AddYesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
}

// readLine reads one line, or gives up when ctx ends. The reading goroutine then
// stays behind with the terminal; the process is about to end.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := bufio.NewReader(r).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		done <- result{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-done:
		return r.line, r.err
	}
}
