package gateway

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// The log waits for its reader so long, in lines and in bytes; beyond that lines are
// dropped.
const (
	maxLogLines = 8192
	maxLogBytes = 4 << 20
)

// LogOutput stands between the logger and a stream whose reader may stall or go away:
// writing a line never waits. What the reader does not take is dropped and counted, and
// the log says how much it was as soon as it is read again.
type LogOutput struct {
	to      io.Writer
	lines   chan []byte
	bytes   atomic.Int64 // of lines
	dropped atomic.Uint64
	ended   chan struct{}

	mu     sync.RWMutex
	closed bool
}

// NewLogOutput begins to write to a stream. [LogOutput.Close] ends it.
func NewLogOutput(to io.Writer) *LogOutput {
	o := &LogOutput{to: to, lines: make(chan []byte, maxLogLines), ended: make(chan struct{})}
	go o.run()
	return o
}

// Write takes one line. It never waits and never fails.
func (o *LogOutput) Write(line []byte) (int, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	n := int64(len(line))
	if o.closed || o.bytes.Add(n) > maxLogBytes {
		o.drop(n)
		return len(line), nil
	}
	select {
	case o.lines <- append([]byte(nil), line...):
	default:
		o.drop(n)
	}
	return len(line), nil
}

func (o *LogOutput) drop(n int64) {
	if !o.closed {
		o.bytes.Add(-n)
	}
	o.dropped.Add(1)
}

// Dropped returns how many lines were dropped.
func (o *LogOutput) Dropped() uint64 { return o.dropped.Load() }

func (o *LogOutput) run() {
	defer close(o.ended)
	var told uint64
	for line := range o.lines {
		_, err := o.to.Write(line)
		o.bytes.Add(-int64(len(line)))
		if err != nil {
			o.dropped.Add(1)
			continue
		}
		if n := o.dropped.Load(); n > told {
			text := fmt.Sprintf("{\"time\":%q,\"level\":\"WARN\",\"msg\":\"lines of the log were dropped: its reader did not take them\",\"lines\":%d}\n",
				time.Now().Format(time.RFC3339Nano), n-told)
			if line[0] != '{' {
				text = fmt.Sprintf("time=%s level=WARN msg=\"lines of the log were dropped: its reader did not take them\" lines=%d\n",
					time.Now().Format(time.RFC3339Nano), n-told)
			}
			if _, err := io.WriteString(o.to, text); err == nil {
				told = n
			}
		}
	}
}

// Close writes what waits, for limit at most.
func (o *LogOutput) Close(limit time.Duration) {
	o.mu.Lock()
	if !o.closed {
		o.closed = true
		close(o.lines)
	}
	o.mu.Unlock()
	select {
	case <-o.ended:
	case <-time.After(limit):
	}
}

// Patient returns a writer to a stream that gives a stalled reader up after limit, for
// the last words of a process.
func Patient(to io.Writer, limit time.Duration) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		done := make(chan error, 1)
		text := append([]byte(nil), p...)
		go func() { _, err := to.Write(text); done <- err }()
		select {
		case err := <-done:
			return len(p), err
		case <-time.After(limit):
			return len(p), fmt.Errorf("nobody reads: %d bytes were given up", len(p))
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
