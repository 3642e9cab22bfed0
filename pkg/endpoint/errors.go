package endpoint

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// Errors that callers branch on.
var (
	// ErrPaused is what Acquire returns while the endpoint is paused.
	ErrPaused = errkind.New(errkind.Unavailable, "endpoint is paused")
	// ErrDown marks a [DownError].
	ErrDown = errkind.New(errkind.Unavailable, "endpoint is down")
	// ErrClosed is returned for a handle or a pool after its Close.
	ErrClosed = errkind.New(errkind.Unavailable, "endpoint is closed")
	// ErrUnknownScheme marks a scheme that this package has never heard of; a
	// driver may bring its own.
	ErrUnknownScheme = errors.New("unknown scheme")
	// ErrUnsupportedScheme marks a scheme that parses but can't be dialled in
	// this version.
	ErrUnsupportedScheme = errors.New("scheme not supported yet")
	// ErrUnknownOption marks an option that does not exist.
	ErrUnknownOption = errors.New("unknown option")
	// ErrLineInUse is returned for a serial line that another endpoint owns.
	ErrLineInUse = errkind.New(errkind.Conflict, "serial line is in use")
	// ErrStale is what a holder releases a connection with that it does not trust
	// with what it has to send. The connection is closed; it is nobody's failure.
	ErrStale = errors.New("connection given up unused")
	// ErrExists is returned for an id that is open already.
	ErrExists = errors.New("endpoint exists")
	// ErrNotFound is returned for an id that isn't open.
	ErrNotFound = errkind.New(errkind.NotFound, "no such endpoint")
	// ErrSecret marks a secret that can't be resolved.
	ErrSecret = errors.New("secret not available")
)

// Errors of a TLS, DTLS or QUIC handshake. The error that wraps them holds the
// library's own error too.
var (
	// ErrUnknownAuthority: the peer's certificate isn't signed by an authority
	// that we trust (option ca).
	ErrUnknownAuthority = errors.New("peer's certificate is signed by an unknown authority")
	// ErrCertificateExpired: the peer's certificate is expired, or not valid yet.
	ErrCertificateExpired = errors.New("peer's certificate is expired or not yet valid")
	// ErrCertificateName: the peer's certificate is for another name (option
	// server_name).
	ErrCertificateName = errors.New("peer's certificate is for another name")
	// ErrClientCertificate: the peer refused our certificate, or wants one
	// (options client_cert and client_key). With TLS 1.3 it shows at the first
	// Read, since the handshake is over before the peer has looked.
	ErrClientCertificate = errors.New("peer refused our certificate")
	// ErrCertificateFile: ca, client_cert or client_key can't be used.
	ErrCertificateFile = errors.New("certificate file not usable")
)

// fieldError is a [config.FieldError] of an item of the endpoints table: "scheme",
// "host", "port", "opts.NAME", or "url" for the whole.
func fieldError(field, format string, args ...any) error {
	for i, a := range args {
		if text, ok := a.(string); ok { // a URL may stand in a field for something else
			args[i] = config.MaskUser(text)
		}
	}
	return config.FieldErrorf(field, format, args...)
}

// DownError is why an endpoint can't be reached. It is made once per failed dial
// and shared by all who get it.
type DownError struct {
	ID       string    // of the endpoint, as it was opened first
	Since    time.Time // of the first failure in a row
	Failures int       // in a row
	Retry    time.Time // no dial before
	Err      error     // of the last dial
}

// Error says what stays true: it is kept as the reason of every tag behind the endpoint,
// where the time of a next dial would soon be past. Who wants that asks for the [State].
func (e *DownError) Error() string {
	// The reason first: what follows may be cut off on a narrow terminal.
	return fmt.Sprintf("endpoint %s is down: %v (since %s)", e.ID, e.Err, moment.Format(e.Since))
}

// Unwrap makes errors.Is find both [ErrDown] and the cause.
func (e *DownError) Unwrap() []error { return []error{ErrDown, e.Err} }
