// Package supervise keeps a part of the gateway running: a panic of it is an error, and
// a part that ends by itself is started anew, after a pause that grows.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// PanicError is a panic as an error.
type PanicError struct {
	Value any
	Stack []byte
}

// Error says what the panic said.
func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Contain calls do and turns a panic into a [PanicError].
func Contain(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{r, debug.Stack()}
		}
	}()
	return do()
}

// Stack returns the stack of a contained panic as an attribute for the log, nothing for
// other errors.
func Stack(err error) []any {
	var p *PanicError
	if !errors.As(err, &p) {
		return nil
	}
	return []any{"stack", string(p.Stack)}
}

// Delay returns how long to wait after so many failures in a row: base after the first,
// doubled with each, at most longest, and up to a half of it less, at random, so that a
// fleet does not come in step.
func Delay(base, longest time.Duration, failures int) time.Duration {
	d := longest
	if shift := max(failures-1, 0); base <= longest>>min(shift, 62) { // so that doubling does not overflow
		d = base << shift
	}
	return d/2 + rand.N(d/2+1)
}

// How a part that fails is started anew.
const (
	minDelay = time.Second     // before the first attempt
	maxDelay = time.Minute     // doubled until here
	steady   = 2 * time.Minute // a part that ran so long begins with minDelay again
)

// Loop is a part that runs, and how it is renewed.
type Loop struct {
	// Run runs until ctx ends. If it ends before, with or without an error, it failed.
	Run func(ctx context.Context) error
	// Failed is told why the part ended by itself, or could not be renewed, and how
	// long the pause is.
	Failed func(err error, pause time.Duration)
	// Renew makes the part ready to run again.
	Renew func() error
	// Stopped is told the error with which Run ended once ctx had.
	Stopped func(err error)
}

// Do runs the loop until ctx ends.
func (l *Loop) Do(ctx context.Context) {
	for failures := 0; ; {
		began := time.Now()
		err := l.Run(ctx)
		if ctx.Err() != nil {
			if err != nil {
				l.Stopped(err)
			}
			return
		}
		if time.Since(began) >= steady {
			failures = 0
		}
		for {
			failures++
			pause := Delay(minDelay, maxDelay, failures)
			l.Failed(err, pause)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			if err = l.Renew(); err == nil {
				break
			}
		}
	}
}
