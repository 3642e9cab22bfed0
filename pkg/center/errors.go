package center

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// Errors that callers branch on.
var (
	// ErrUnavailable: etcd can't be reached, has no leader, or did not answer in
	// time.
	ErrUnavailable = errkind.New(errkind.Unavailable, "etcd is not available")
	// ErrRefused: etcd, or TLS on the way to it, turned the client away.
	ErrRefused = errors.New("etcd refused")
	// ErrDamaged: what is in the store is not what this package writes there.
	ErrDamaged = errors.New("the store is damaged")
	// ErrFormat: the store was written by a version with another format.
	ErrFormat = errors.New("the store has another format")
	// ErrNotKept: the release exists, but its document is not kept any more.
	ErrNotKept = errkind.New(errkind.NotFound, "the document is not kept any more")
	// ErrNoRelease: there is no such release.
	ErrNoRelease = errkind.New(errkind.NotFound, "no such release")
)

// StoreError is an [ErrUnavailable] or [ErrRefused] with its cause.
type StoreError struct {
	Kind      error // ErrUnavailable or ErrRefused
	Endpoints []string
	Op        string
	Err       error
	Settings  clienttls.Settings // as a person finds them; without a Peer no advice is given
}

// Error names the endpoints, what was tried and what went wrong.
func (e *StoreError) Error() string {
	cause := e.Err.Error()
	if st, ok := status.FromError(e.Err); ok {
		cause = st.Message() // without gRPC's own words around it
	}
	if quoted, ok := strings.CutPrefix(cause, "connection error: desc = "); ok {
		if text, err := strconv.Unquote(quoted); err == nil {
			cause = strings.TrimPrefix(strings.TrimPrefix(text, "transport: "), "Error while dialing: ")
		}
	}
	advice := e.advice()
	switch {
	case advice != "":
		cause = advice + " (" + cause + ")"
	case strings.HasSuffix(cause, context.DeadlineExceeded.Error()):
		cause = "no answer in time"
	case strings.Contains(cause, rpctypes.ErrorDesc(rpctypes.ErrNoSpace)):
		cause += " (edge-cfg compact makes room; an embedded etcd does so by itself within seconds)"
	case strings.Contains(cause, "tls: "), strings.Contains(cause, "x509: "):
	case strings.HasPrefix(cause, "dial unix") && strings.HasSuffix(cause, "permission denied"):
		cause += " (only the gateway's own user may use it: try sudo)"
	case strings.HasPrefix(cause, "dial unix"):
		cause += " (the gateway whose etcd it is does not run, or its data_dir is elsewhere)"
	}
	where := make([]string, len(e.Endpoints))
	for i, at := range e.Endpoints {
		where[i] = config.MaskUser(at)
	}
	return fmt.Sprintf("%s: %v (%s): %s", e.Op, e.Kind, strings.Join(where, ","), cause)
}

// advice says what a person can do about e, "" if nothing more than its cause tells.
func (e *StoreError) advice() string {
	s := e.Settings
	if s.Peer == "" {
		return ""
	}
	if text := s.Explain(clienttls.CauseOf(e.Err)); text != "" {
		return text
	}
	switch {
	case is(e.Err, rpctypes.ErrAuthFailed):
		return fmt.Sprintf("user name or password is wrong: check %s and %s", s.User, s.Password)
	case is(e.Err, rpctypes.ErrUserEmpty):
		return fmt.Sprintf("etcd wants a user name and a password: set %s and %s", s.User, s.Password)
	case is(e.Err, rpctypes.ErrAuthNotEnabled):
		return "this etcd has no users: leave " + s.User + " out"
	case is(e.Err, rpctypes.ErrPermissionDenied):
		return "the rights of this user don't allow it: an administrator gives them with 'edge-cfg enroll' to a gateway, with 'etcdctl role grant-permission' to a person"
	case strings.Contains(e.Err.Error(), "error reading server preface"):
		return "the server does not answer as etcd does: it may expect TLS (set " + s.CA + ")"
	}
	return ""
}

// is reports whether err is one of etcd's own, or has its text.
func is(err, etcds error) bool {
	return errors.Is(err, etcds) || strings.Contains(err.Error(), rpctypes.ErrorDesc(etcds))
}

// Unwrap returns kind and cause.
func (e *StoreError) Unwrap() []error { return []error{e.Kind, e.Err, errkind.Unreachable} }

// ConflictError tells that somebody else pushed after the base was read. Nothing
// was overwritten.
type ConflictError struct {
	Base Commit // what the push was made against
	Head Commit // what is there now
}

// Unwrap returns the kind.
func (e *ConflictError) Unwrap() error { return errkind.Outdated }

// Error says what is there and what to do.
func (e *ConflictError) Error() string {
	if e.Head.None() {
		return fmt.Sprintf("conflict: the push is based on rev %d, but the store is empty now", e.Base.Rev)
	}
	return fmt.Sprintf("conflict: the push is based on rev %d, but %s pushed rev %d (%q) at %s; nothing was overwritten: pull, merge, push again",
		e.Base.Rev, e.Head.Author, e.Head.Rev, e.Head.Message, moment.Format(e.Head.Time))
}

// ClaimedError tells that a gateway_id belongs to another instance.
type ClaimedError struct {
	Gateway  string
	Instance string // who holds it
	Host     string
	Alive    bool
}

// Error says who holds the id and what to do.
func (e *ClaimedError) Error() string {
	seen := "is not running now"
	if e.Alive {
		seen = "is running"
	}
	return fmt.Sprintf("gateway_id %q belongs to instance %s on %s, which %s; choose another gateway_id, or, if this machine replaces that one: edge-cfg forget %s",
		e.Gateway, e.Instance, e.Host, seen, e.Gateway)
}

// classify makes a [StoreError] of an error of etcd's client.
func (s *Store) classify(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", op, err)
	}
	kind := ErrUnavailable
	if refused(err) {
		kind = ErrRefused
	}
	return &StoreError{Kind: kind, Endpoints: s.cfg.Endpoints, Op: op, Err: err, Settings: s.cfg.Settings}
}

// isCompacted reports that a revision is compacted already.
func isCompacted(err error) bool {
	return is(err, rpctypes.ErrCompacted)
}

// refused reports errors that trying again will not change.
func refused(err error) bool {
	for _, e := range []error{
		rpctypes.ErrAuthFailed, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound,
		rpctypes.ErrAuthNotEnabled, rpctypes.ErrInvalidAuthToken, rpctypes.ErrNoSpace, rpctypes.ErrRequestTooLarge,
		rpctypes.ErrTooManyOps,
	} {
		if is(err, e) {
			return true
		}
	}
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	// A handshake that fails (wrong CA, no client certificate) will fail again.
	text := err.Error()
	return strings.Contains(text, "authentication handshake failed") || strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ")
}
