package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// Session is the running code of a driver.
type Session interface {
	driverpb.DriverServiceClient
	// Done is closed when the code has ended.
	Done() <-chan struct{}
	// Why says how it ended. It is called after Done.
	Why() error
	// Stop ends the code, with what it has started, within a second, and waits for
	// that. It may be called twice.
	Stop()
}

const (
	grace     = 2 * time.Second        // that a call may take longer than the driver was given
	heartbeat = 2 * time.Second        // between two heartbeats
	missed    = 8 * time.Second        // without an answer to one: the driver hangs
	lastWord  = 300 * time.Millisecond // until the end of a driver is noticed, after a call failed
	closing   = 3 * time.Second        // the same, where the connection ended: the driver is about to
	farewell  = 200 * time.Millisecond // for Close when the driver is to stop
)

// ErrBroken means that the driver did not keep to the contract: it ended, did not answer
// in time, or answered what makes no sense.
var ErrBroken = errors.New("the driver failed")

// fault is the error of a call that failed as such.
func fault(ctx context.Context, s Session, call string, limit time.Duration, err error) error {
	wait := lastWord
	if status.Code(err) == codes.Unavailable {
		wait = closing
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.Done():
		return fmt.Errorf("%w: %w", ErrBroken, s.Why())
	case <-timer.C:
	case <-ctx.Done():
	}
	switch status.Code(err) {
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: it did not answer %s within %v, although it had %v", ErrBroken, call, limit+grace, limit)
	case codes.Unimplemented:
		return fmt.Errorf("%w: it does not implement %s", ErrBroken, call)
	}
	return fmt.Errorf("%w: %s: %s", ErrBroken, call, clean(status.Convert(err).Message()))
}

// nonsense is the error of an answer that the contract does not allow.
func nonsense(call string, err error) error { return fmt.Errorf("%w: %s: %w", ErrBroken, call, err) }

// DeviceError is what a driver says of its device.
type DeviceError struct {
	Text, Hint string
	Lost       bool // the connection is of no use any more
}

// Error implements error.
func (e *DeviceError) Error() string { return e.Text }

const maxText = 1024 // of what a driver says that is shown

// clean makes text of others fit for one line that is shown.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " …"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// deviceError makes an error of what a driver says; nil if it says nothing.
func deviceError(e *driverpb.Error) error {
	if e == nil {
		return nil
	}
	d := &DeviceError{Text: clean(e.GetText()), Hint: clean(e.GetHint()), Lost: e.GetLost()}
	if d.Text == "" {
		d.Text = "the driver gave no reason"
	}
	if e.GetOutcomeUnknown() {
		return fmt.Errorf("%w: %w", driver.ErrOutcomeUnknown, d)
	}
	return d
}

// lostBy reports whether the connection is of no use after err.
func lostBy(err error) bool {
	d, ok := errors.AsType[*DeviceError](err)
	return ok && d.Lost
}

// watch ends run's context when the code ends or misses its heartbeats. The result waits
// for it.
func watch(ctx context.Context, s Session, end context.CancelCauseFunc, told func(*driverpb.StatusResponse)) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.Done():
				end(fmt.Errorf("%w: %w", ErrBroken, s.Why()))
				return
			case <-tick.C:
			}
			call, cancel := context.WithTimeout(ctx, missed)
			r, err := s.Status(call, &driverpb.StatusRequest{})
			cancel()
			switch {
			case ctx.Err() != nil:
				return
			case err != nil && status.Code(err) == codes.DeadlineExceeded:
				end(fmt.Errorf("%w: no heartbeat came for %v", ErrBroken, missed))
				return
			case err != nil:
				end(fault(ctx, s, "Status", missed, err))
				return
			}
			told(r)
		}
	}()
	return func() { <-done }
}
