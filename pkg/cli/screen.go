package cli

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Watch calls show now and then every interval until ctx ends, which is no
// error. On a terminal each picture replaces the one before, and the last one
// stays; else one output follows the other, which suits -o json and log files.
func (o *Output) Watch(ctx context.Context, interval time.Duration, show func(*Output) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	screen := &screen{out: o}
	defer screen.leave()
	for {
		if err := screen.refresh(show); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// screen shows pictures in place where o is interactive.
type screen struct {
	out     *Output
	entered bool
	last    []byte
}

// refresh runs show once. On a terminal the picture is written at once, so that
// it does not flicker, and cut to the height.
func (s *screen) refresh(show func(*Output) error) error {
	if !s.out.Interactive() {
		return show(s.out)
	}
	inner := *s.out
	size := s.out.size()
	inner.width, inner.height = size[0], size[1]
	height := inner.height
	var picture bytes.Buffer
	inner.w = &picture
	if err := show(&inner); err != nil {
		return err
	}
	s.last = bytes.Clone(picture.Bytes())
	lines := bytes.Split(bytes.TrimSuffix(s.last, []byte("\n")), []byte("\n"))
	if height > 0 && len(lines) > height {
		lines = append(lines[:height-1:height-1], fmt.Appendf(nil, "… and %d more", len(lines)-height+1))
	}
	var b bytes.Buffer
	if !s.entered {
		b.WriteString(enterScreen)
		s.entered = true
	}
	b.WriteString(goHome)
	b.Write(bytes.Join(lines, []byte(clearLine+"\r\n")))
	b.WriteString(clearLine + clearBelow)
	_, err := s.out.w.Write(b.Bytes())
	return err
}

// leave goes back to the first screen and leaves the last picture there. Errors
// do not count: the terminal is gone then.
func (s *screen) leave() {
	if s.entered {
		_, _ = s.out.w.Write([]byte(leaveScreen))
		_, _ = s.out.w.Write(s.last)
	}
}
