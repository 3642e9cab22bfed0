// Package errkind says of which kind an error is: whose fault, and what a caller can
// do about it. Every package gives its sentinels a kind where it declares them, with
// [New]; whoever wraps them keeps it. [Of] finds it again, and the table in this
// package, which is the only one, says which code of gRPC and which exit code belong
// to it.
package errkind

import (
	"context"
	"errors"
)

// Kind is a kind of error. It is an error itself, for [errors.Is] and for messages:
// fmt.Errorf("driver %q: %w", id, errkind.NotFound).
type Kind uint8

// The kinds. An error that is of several is of the first one.
const (
	None           Kind = iota
	Stopping            // the gateway is stopping; to a client it is as if there were none
	OutcomeUnknown      // it may have been done, and nobody can tell: not to be repeated blindly
	NotFound            // there is nothing of that name
	Invalid             // what was asked for is wrong
	Unsupported         // this gateway can't do it
	Denied              // it is not allowed
	Conflict            // not possible in this state
	Unavailable         // what is needed for it is away
	TooMany             // too many calls
	Canceled            // the caller went away
	Deadline            // it took too long
	Unreachable         // there is no gateway, or no store, to talk to
	Outdated            // somebody else changed it meanwhile
	NotApplied          // it was stored, but does not run everywhere
	Usage               // the command line is wrong
)

// row is what belongs to a kind.
type row struct {
	kind   Kind
	text   string
	code   uint32 // gRPC's; 0: the kind is not for the wire
	reason string // in the details of a gRPC status
	exit   int    // of a command; 0: that of any failure
}

// table lists the kinds in the order in which they are looked for.
func table() []row {
	return []row{
		{Stopping, "the gateway is stopping", 14, "STOPPING", 0},
		// A code that no client's library takes for a reason to call again.
		{OutcomeUnknown, "outcome unknown", 15, "OUTCOME_UNKNOWN", 7},
		{NotFound, "not found", 5, "NOT_FOUND", 0},
		{Invalid, "invalid", 3, "INVALID", 0},
		{Unsupported, "not supported by this gateway", 12, "UNSUPPORTED", 0},
		{Denied, "not allowed", 7, "DENIED", 0},
		{Conflict, "not possible in this state", 9, "CONFLICT", 0},
		{Unavailable, "not available now", 14, "UNAVAILABLE", 0},
		{TooMany, "too many calls", 8, "TOO_MANY", 0},
		{Canceled, "canceled", 1, "CANCELED", 0},
		{Deadline, "not done in time", 4, "DEADLINE", 0},
		{Unreachable, "not reachable", 0, "", 2},
		{Outdated, "conflict", 0, "", 3},
		{NotApplied, "not applied everywhere", 0, "", 4},
		{Usage, "wrong usage", 0, "", 64},
	}
}

func (k Kind) row() row {
	for _, r := range table() {
		if r.kind == k {
			return r
		}
	}
	return row{code: 2, reason: "FAILED"} // unknown, in gRPC's words
}

// Error returns the kind in words.
func (k Kind) Error() string { return k.row().text }

// Code returns gRPC's code for k; that of [None] is 2, unknown.
func (k Kind) Code() uint32 { return k.row().code }

// Reason returns the word for k in the details of a gRPC status.
func (k Kind) Reason() string { return k.row().reason }

// Is reports that an error of kind Stopping is [Unavailable] too, and what the
// standard library's errors mean.
func (k Kind) Is(target error) bool {
	switch target {
	case Unavailable:
		return k == Stopping
	case errors.ErrUnsupported:
		return k == Unsupported
	}
	return false
}

// Of returns the kind of err; [None] if it has none.
func Of(err error) Kind {
	for _, r := range table() {
		if r.code != 0 && is(err, r.kind) {
			return r.kind
		}
	}
	return None
}

func is(err error, k Kind) bool {
	switch k {
	case Unsupported:
		return errors.Is(err, k) || errors.Is(err, errors.ErrUnsupported)
	case Canceled:
		return errors.Is(err, k) || errors.Is(err, context.Canceled)
	case Deadline:
		return errors.Is(err, k) || errors.Is(err, context.DeadlineExceeded)
	}
	return errors.Is(err, k)
}

// ExitCode returns what a command ends with because of err: 0 for nil, 1 for an error
// whose kind has no code of its own.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	for _, r := range table() {
		if r.exit != 0 && is(err, r.kind) {
			return r.exit
		}
	}
	return 1
}

// New returns an error with a text and a kind, as [errors.New] does: it is equal to no
// other.
func New(kind Kind, text string) error { return &kinded{kind, text} }

type kinded struct {
	kind Kind
	text string
}

// Error returns the text.
func (e *kinded) Error() string { return e.text }

// Unwrap returns the kind.
func (e *kinded) Unwrap() error { return e.kind }
