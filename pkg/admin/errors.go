package admin

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What a caller of the API may want to tell apart. Backends wrap these with the
// subject: fmt.Errorf("driver %q: %w", id, admin.ErrNotFound). The errors that a
// [Client] returns match them again with errors.Is.
var (
	ErrNotFound    = errors.New("not found")
	ErrInvalid     = errors.New("invalid")
	ErrUnsupported = errors.New("not supported by this gateway")
	ErrDenied      = errors.New("not allowed")
	ErrConflict    = errors.New("not possible in this state")
	ErrUnavailable = errors.New("not available now")
	ErrTooMany     = errors.New("too many calls")
	// ErrOutcomeUnknown: a write may have been executed, and nobody can tell.
	ErrOutcomeUnknown = errors.New("outcome unknown")
)

// errStopping ends what runs when the gateway stops. To a client it is as if there
// were no gateway.
var errStopping = fmt.Errorf("the gateway is stopping: %w", ErrUnavailable)

const (
	stoppingReason = "STOPPING"
	unknownReason  = "OUTCOME_UNKNOWN"
)

// errorDomain is the domain of the ErrorInfo details.
const errorDomain = "edge-gateway"

// errorKind ties a sentinel to its gRPC code and the reason in the details.
type errorKind struct {
	err    error
	code   codes.Code
	reason string
}

func errorKinds() []errorKind {
	return []errorKind{
		{errStopping, codes.Unavailable, stoppingReason},
		// A code that no client's library takes for a reason to call again.
		{ErrOutcomeUnknown, codes.DataLoss, unknownReason},
		{ErrNotFound, codes.NotFound, "NOT_FOUND"},
		{ErrInvalid, codes.InvalidArgument, "INVALID"},
		{ErrUnsupported, codes.Unimplemented, "UNSUPPORTED"},
		{ErrDenied, codes.PermissionDenied, "DENIED"},
		{ErrConflict, codes.FailedPrecondition, "CONFLICT"},
		{ErrUnavailable, codes.Unavailable, "UNAVAILABLE"},
		{ErrTooMany, codes.ResourceExhausted, "TOO_MANY"},
		{errors.ErrUnsupported, codes.Unimplemented, "UNSUPPORTED"},
		{context.Canceled, codes.Canceled, "CANCELED"},
		{context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE"},
	}
}

// toStatus makes a gRPC status of an error of the backend.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err // it comes from gRPC itself
	}
	kind := errorKind{code: codes.Unknown, reason: "FAILED"}
	for _, k := range errorKinds() {
		if errors.Is(err, k.err) {
			kind = k
			break
		}
	}
	st := status.New(kind.code, err.Error())
	if detailed, derr := st.WithDetails(&errdetails.ErrorInfo{Reason: kind.reason, Domain: errorDomain}); derr == nil {
		st = detailed
	}
	return st.Err()
}

// Error is an error that the gateway answered with.
type Error struct {
	Code codes.Code
	Text string
}

// Error returns what the gateway said.
func (e *Error) Error() string { return e.Text }

// Is makes errors.Is find the sentinel of the code.
func (e *Error) Is(target error) bool {
	for _, k := range errorKinds() {
		if k.err == target {
			return k.code == e.Code
		}
	}
	return false
}

// fromStatus makes an error for people of a gRPC error.
func fromStatus(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == errorDomain {
			answer := &Error{Code: st.Code(), Text: st.Message()}
			switch info.Reason {
			case stoppingReason:
				return &UnreachableError{Text: answer.Text, Err: answer}
			case unknownReason:
				return &UnknownError{answer}
			}
			return answer
		}
	}
	switch st.Code() {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Unavailable:
		return &UnreachableError{Text: "the connection to the gateway was lost: " + st.Message()}
	case codes.Unimplemented:
		return &Error{Code: st.Code(), Text: "the gateway does not know this call (" + st.Message() +
			"); it may be older than this command: compare with 'edge-ctl version'"}
	}
	return &Error{Code: st.Code(), Text: st.Message()}
}

// UnknownError says that a write may have been executed, and that nobody can tell.
type UnknownError struct{ err *Error }

// Error returns what the gateway said.
func (e *UnknownError) Error() string { return e.err.Error() }

// Unwrap returns the gateway's error.
func (e *UnknownError) Unwrap() error { return e.err }

// ExitCode is what a command ends with because of this error.
func (e *UnknownError) ExitCode() int { return 7 }

// UnreachableError says that there is no gateway to talk to, and what to do.
type UnreachableError struct {
	Text string
	Err  error // what the system said; may be nil
}

// Error returns the text.
func (e *UnreachableError) Error() string { return e.Text }

// Unwrap returns what the system said.
func (e *UnreachableError) Unwrap() error { return e.Err }

// ExitCode is what a command ends with because of this error.
func (e *UnreachableError) ExitCode() int { return 2 }
