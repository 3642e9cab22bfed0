package gateway

import (
	"errors"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// adminError marks err with the kind that the API's callers tell apart.
func adminError(err error) error {
	if err == nil {
		return nil
	}
	for _, kind := range []struct{ is, as error }{
		{driver.ErrOutcomeUnknown, admin.ErrOutcomeUnknown}, // first: it wraps what caused it
		{driver.ErrUnknownDriver, admin.ErrNotFound},
		{driver.ErrUnknownTag, admin.ErrNotFound},
		{endpoint.ErrNotFound, admin.ErrNotFound},
		{point.ErrRange, admin.ErrInvalid},
		{point.ErrNotInvertible, admin.ErrInvalid},
		{modbus.ErrRange, admin.ErrInvalid},
		{driver.ErrAccess, admin.ErrDenied},
		{driver.ErrPaused, admin.ErrConflict},
		{driver.ErrNotRunning, admin.ErrUnavailable},
		{driver.ErrClosed, admin.ErrUnavailable},
		{endpoint.ErrDown, admin.ErrUnavailable},
		{endpoint.ErrPaused, admin.ErrUnavailable},
		{endpoint.ErrClosed, admin.ErrUnavailable},
		{endpoint.ErrLineInUse, admin.ErrConflict},
		{errors.ErrUnsupported, admin.ErrUnsupported},
	} {
		if errors.Is(err, kind.is) {
			if kind.is.Error() == kind.as.Error() {
				return &marked{err, kind.as}
			}
			return fmt.Errorf("%w: %w", kind.as, err)
		}
	}
	return err
}

// marked is err with a kind that says nothing new.
type marked struct{ err, kind error }

// Error returns err's text.
func (m *marked) Error() string { return m.err.Error() }

// Unwrap returns both.
func (m *marked) Unwrap() []error { return []error{m.kind, m.err} }
