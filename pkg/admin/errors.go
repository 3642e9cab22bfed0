package admin

import (
	"context"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// errorDomain is the domain of the ErrorInfo details.
const errorDomain = "edge-gateway"

// toStatus makes a gRPC status of an error of the backend. Its text names the kind.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err // it comes from gRPC itself
	}
	kind, text := errkind.Of(err), err.Error()
	switch kind {
	case errkind.None, errkind.Canceled, errkind.Deadline:
	default:
		if !strings.Contains(text, kind.Error()) {
			text = kind.Error() + ": " + text
		}
	}
	st := status.New(codes.Code(kind.Code()), text)
	if detailed, derr := st.WithDetails(&errdetails.ErrorInfo{Reason: kind.Reason(), Domain: errorDomain}); derr == nil {
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

// Is makes errors.Is find the kind of the code.
func (e *Error) Is(target error) bool {
	kind, ok := target.(errkind.Kind)
	return ok && kind != errkind.None && kind.Code() == uint32(e.Code)
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
			if info.Reason == errkind.Stopping.Reason() {
				return &UnreachableError{Text: answer.Text, Err: answer}
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

// UnreachableError says that there is no gateway to talk to, and what to do.
type UnreachableError struct {
	Text string
	Err  error // what the system said; may be nil
}

// Error returns the text.
func (e *UnreachableError) Error() string { return e.Text }

// Unwrap returns the kind and what the system said.
func (e *UnreachableError) Unwrap() []error { return []error{errkind.Unreachable, e.Err} }
