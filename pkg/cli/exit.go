package cli

import (
	"errors"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// The exit codes that every command uses. edge-cfg has more of its own.
const (
	OK          = 0
	Failed      = 1  // it was tried and did not work
	Unreachable = 2  // the gateway (or etcd) could not be reached, or refused
	Unknown     = 7  // it was tried, and nobody can tell whether it worked: don't repeat it blindly
	Usage       = 64 // the command line is wrong; nothing was tried
)

// ExitError is an error that decides the exit code of the command.
type ExitError struct {
	Code int
	Err  error // nil: the command has said all there is to say
}

// Error returns the text of the wrapped error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the wrapped error.
func (e *ExitError) Unwrap() error { return e.Err }

// Exit returns an error that ends the command with code. With a nil err nothing
// more is printed.
func Exit(code int, err error) error { return &ExitError{Code: code, Err: err} }

// Usagef returns an error for a wrong command line.
func Usagef(format string, args ...any) error {
	return &ExitError{Code: Usage, Err: fmt.Errorf(format, args...)}
}

// CodeOf returns the exit code for an error that a command returned: that of [Exit] if
// it came from there, else that of its kind.
func CodeOf(err error) int {
	var exit *ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return errkind.ExitCode(err)
}
