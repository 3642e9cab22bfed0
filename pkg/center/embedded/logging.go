package embedded

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// harmless reports messages that every start prints: advice for those who run etcd
// as a service, and a new database whose version is not written yet (it is tried
// again).
func harmless(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed",
		"Failed to detect schema version",
		"failed to update storage version":
		return true
	}
	return false
}

// newZap returns a zap logger that writes warnings and errors to log, until quiet
// is set. A fatal error goes to hook instead of ending the process.
func newZap(log *slog.Logger, quiet *atomic.Bool, hook *fatalHook) *zap.Logger {
	return zap.New(&slogCore{log: log.With("component", "etcd"), quiet: quiet},
		zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

// slogCore is a zapcore.Core over slog.
type slogCore struct {
	log   *slog.Logger
	quiet *atomic.Bool // while stopping, etcd logs each closed listener as an error
}

func (c *slogCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{log: c.log.With(attrs(fields)...), quiet: c.quiet}
}

func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) || c.quiet.Load() || harmless(e.Message) {
		return ce
	}
	return ce.AddCore(e, c)
}

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	c.log.Log(context.Background(), level, e.Message, attrs(fields)...)
	return nil
}

func (c *slogCore) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]any, 0, len(fields))
	for _, f := range fields {
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}

// fatalHook ends the goroutine that logged a fatal error or a panic, and keeps the
// first of them.
type fatalHook struct {
	failed chan error // of capacity 1
}

func newFatalHook() *fatalHook { return &fatalHook{failed: make(chan error, 1)} }

// OnWrite implements zapcore.CheckWriteHook.
func (h *fatalHook) OnWrite(ce *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := errors.New(ce.Message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			err = &fatalError{message: ce.Message, cause: cause}
		}
	}
	select {
	case h.failed <- err:
	default:
	}
	runtime.Goexit()
}

type fatalError struct {
	message string
	cause   error
}

func (e *fatalError) Error() string { return e.message + ": " + e.cause.Error() }
func (e *fatalError) Unwrap() error { return e.cause }
