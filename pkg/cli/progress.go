package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

const (
	progressAfter = 500 * time.Millisecond // quick work shows nothing
	progressEvery = 200 * time.Millisecond
)

// AddQuietFlag gives cmd and all commands below it the flag -q.
func AddQuietFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().BoolP("quiet", "q", false, "show no progress of long work")
}

// Progress shows a person at a terminal how long work goes on: one line on standard
// error, which is redrawn a few times a second and is gone in the end. It shows nothing
// without a terminal, with -q, or where the output is for a program (-o json, yaml). A
// nil Progress shows nothing either.
type Progress struct {
	line  *bottomLine
	what  string
	begun time.Time
	end   chan struct{}
	once  sync.Once
	ended sync.WaitGroup

	mu   sync.Mutex
	text string
}

// NewProgress begins to show the progress of what a command does, such as "checking the
// log". The caller must call Done.
func NewProgress(cmd *cobra.Command, what string) *Progress {
	line, ok := cmd.ErrOrStderr().(*bottomLine)
	if !ok || !IsTerminal(line) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	if q := cmd.Flag("quiet"); q != nil && q.Value.String() == "true" {
		return nil
	}
	if f := NewOutput(cmd).Format; f == FormatJSON || f == FormatYAML {
		return nil
	}
	p := &Progress{line: line, what: what, begun: time.Now(), end: make(chan struct{})}
	p.ended.Go(p.run)
	return p
}

func (p *Progress) run() {
	wait := time.NewTimer(progressAfter)
	defer wait.Stop()
	for {
		select {
		case <-p.end:
			p.line.clear()
			return
		case <-wait.C:
			p.line.show(p.String())
			wait.Reset(progressEvery)
		}
	}
}

// String is the line as it stands.
func (p *Progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.what
	if p.text != "" {
		text += ": " + p.text
	}
	return fmt.Sprintf("%s (%s)", text, Span(time.Since(p.begun)))
}

// During shows the progress of do.
func During(cmd *cobra.Command, what string, do func() error) error {
	p := NewProgress(cmd, what)
	defer p.Done()
	return do()
}

// Reading is [During] for work that changes nothing and can't be told of a signal: a
// signal leaves it behind. The process is about to end, then.
func Reading[T any](cmd *cobra.Command, what string, do func() T) (T, error) {
	p := NewProgress(cmd, what)
	defer p.Done()
	done := make(chan T, 1)
	go func() { done <- do() }()
	select {
	case result := <-done:
		return result, nil
	case <-cmd.Context().Done():
		var none T
		return none, Interrupted(cmd, cmd.Context().Err(), "nothing was changed")
	}
}

// Set says how far it is. It costs little, so that it can be called for each step.
func (p *Progress) Set(text string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.text = text
	p.mu.Unlock()
}

// Done takes the line away. It may be called again.
func (p *Progress) Done() {
	if p == nil {
		return
	}
	p.once.Do(func() { close(p.end) })
	p.ended.Wait()
}

// Reader returns r, whose size is known (0: it isn't), with the progress of reading it.
// It fails when ctx ends, so that what only reads ends too.
func (p *Progress) Reader(ctx context.Context, r io.Reader, size int64) *Meter {
	return &Meter{ctx: ctx, r: r, size: size, progress: p}
}

// Writer is the same for what is written.
func (p *Progress) Writer(ctx context.Context, w io.Writer) *Meter {
	return &Meter{ctx: ctx, w: w, progress: p}
}

// Meter counts what goes through it.
type Meter struct {
	ctx      context.Context
	r        io.Reader
	w        io.Writer
	size, n  int64
	progress *Progress
}

// Read implements [io.Reader].
func (m *Meter) Read(p []byte) (int, error) { return m.pass(p, m.r.Read) }

// Write implements [io.Writer].
func (m *Meter) Write(p []byte) (int, error) { return m.pass(p, m.w.Write) }

func (m *Meter) pass(p []byte, do func([]byte) (int, error)) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := do(p)
	m.n += int64(n)
	m.progress.Set(m.String())
	return n, err
}

// String says how much went through, and of how much.
func (m *Meter) String() string {
	if m.size > 0 {
		return fmt.Sprintf("%s of %s", Bytes(uint64(m.n)), Bytes(uint64(m.size)))
	}
	return Bytes(uint64(m.n))
}

// Interrupted returns err; or, if err comes from the signal that ended cmd, an error that
// says what had been done by then and how to go on.
func Interrupted(cmd *cobra.Command, err error, format string, args ...any) error {
	if err == nil || cmd.Context().Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return &interruptedError{fmt.Sprintf(format, args...)}
}

// interruptedError is the end of a command by a signal.
type interruptedError struct{ text string }

func (e *interruptedError) Error() string { return "interrupted: " + e.text }

// bottomLine is standard error with a line below all others that is redrawn in place.
// Whatever else is written takes its place. On a terminal, lines are broken between words.
type bottomLine struct {
	mu    sync.Mutex
	w     io.Writer
	shown bool
}

// Fd is that of the file below.
func (b *bottomLine) Fd() uintptr {
	if f, ok := b.w.(*os.File); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// Write implements [io.Writer].
func (b *bottomLine) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
	if _, err := io.WriteString(b.w, fitted(string(p), terminalWidth(b))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// show draws text, cut to the width of the terminal.
func (b *bottomLine) show(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if width := terminalWidth(b); width > 1 {
		text = truncate(text, width-1)
	}
	_, _ = io.WriteString(b.w, "\r"+Printable(text)+clearLine) // it is a courtesy
	b.shown = true
}

func (b *bottomLine) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
}

func (b *bottomLine) erase() {
	if b.shown {
		_, _ = io.WriteString(b.w, "\r"+clearLine) // as above
		b.shown = false
	}
}
