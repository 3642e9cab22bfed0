package cli

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// View is what [Output.Interact] shows. Its methods are called one after the other.
type View interface {
	// Refresh gets newer data.
	Refresh(ctx context.Context) error
	// Draw draws it, within out's width and height.
	Draw(out *Output) error
	// Key is told of a key: a letter, or "up", "down", "left", "right", "pgup", "pgdown",
	// "home", "end", "enter", "backspace", "esc". It returns whether that ends the view.
	Key(key string) (done bool)
}

// resizePoll is how often a view looks whether the terminal has another size.
const resizePoll = 200 * time.Millisecond

// Interact shows view, with new data every interval, until ctx ends, a key ends it, or
// Ctrl-C is typed, which are no errors. Keys come from in, which must be a terminal, as
// the output must be. The terminal is as it was afterwards, also after a panic of view's.
func (o *Output) Interact(ctx context.Context, in *os.File, interval time.Duration, view View) error {
	screen := &screen{out: o}
	defer screen.leave()
	cooked, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(in.Fd()), cooked) }() // before the last picture, which is for a cooked one
	if err := view.Refresh(ctx); err != nil {
		return ended(ctx, err)
	}
	keys := readKeys(in)
	refresh, poll := time.NewTicker(interval), time.NewTicker(resizePoll)
	defer refresh.Stop()
	defer poll.Stop()
	for drawn := [2]int{}; ; {
		if size := o.size(); drawn != size {
			if err := screen.refresh(view.Draw); err != nil {
				return err
			}
			drawn = size
		}
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case <-refresh.C:
			if err := view.Refresh(ctx); err != nil {
				return ended(ctx, err)
			}
			drawn = [2]int{}
		case key, ok := <-keys:
			if !ok || key == ctrlC || view.Key(key) {
				return nil
			}
			drawn = [2]int{}
		}
	}
}

// ended is err, unless the end of ctx is behind it.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// size is that of the terminal, in columns and rows.
func (o *Output) size() [2]int {
	if f, ok := o.w.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			return [2]int{w, h}
		}
	}
	return [2]int{80, 24}
}

const ctrlC = "\x03"

// readKeys reads keys until r ends. Its goroutine stays behind with the terminal, as a
// read of one can't be ended; the process is about to end, then.
func readKeys(r io.Reader) <-chan string {
	keys := make(chan string, 16)
	go func() {
		defer close(keys)
		buf := make([]byte, 64)
		for {
			n, err := r.Read(buf)
			for _, key := range parseKeys(string(buf[:n])) {
				select {
				case keys <- key:
				default: // nobody looks any more, or somebody leans on the keyboard
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return keys
}

// parseKeys splits what a terminal sends at once into keys.
func parseKeys(s string) []string {
	names := map[string]string{"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left", "\x1b[5~": "pgup", "\x1b[6~": "pgdown",
		"\x1b[H": "home", "\x1b[F": "end", "\x1b[1~": "home", "\x1b[4~": "end", "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
		"\x1bOH": "home", "\x1bOF": "end", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\x1b": "esc"}
	var keys []string
	for s != "" {
		n := keyLength(s)
		if name := names[s[:n]]; name != "" {
			keys = append(keys, name)
		} else if s[0] >= ' ' || s[0] == ctrlC[0] {
			keys = append(keys, s[:n])
		}
		s = s[n:]
	}
	return keys
}

// keyLength is how many bytes of s are its first key: a rune, or ESC [ … up to a letter
// or ~, or ESC O and one more.
func keyLength(s string) int {
	if s[0] != 0x1b || len(s) == 1 || s[1] != '[' && s[1] != 'O' {
		for i := range s {
			if i > 0 {
				return i
			}
		}
		return len(s)
	}
	for i := 2; i < len(s); i++ {
		if s[i] >= '@' && s[i] <= '~' {
			return i + 1
		}
	}
	return len(s)
}
