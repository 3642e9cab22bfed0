package cli

import (
	"bytes"
	"context"
	"io"
	"time"
)

// Watch calls show now and then every interval until ctx ends, which is no
// error. On a terminal the output of each call replaces the one before; else one
// follows the other, which suits -o json and log files.
func (o *Output) Watch(ctx context.Context, interval time.Duration, show func(*Output) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	if o.Interactive() {
		defer io.WriteString(o.w, showCursor) //nolint:errcheck // the terminal is gone if it fails
	}
	for {
		if err := o.refresh(show); err != nil {
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
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	goHome     = "\x1b[H"
	clearLine  = "\x1b[K"
	clearBelow = "\x1b[J"
)

// refresh runs show once. On a terminal the whole picture is written at once, so
// that it does not flicker.
func (o *Output) refresh(show func(*Output) error) error {
	if !o.Interactive() {
		return show(o)
	}
	var picture bytes.Buffer
	inner := *o
	inner.w = &picture
	if err := show(&inner); err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(hideCursor + goHome)
	b.Write(bytes.ReplaceAll(picture.Bytes(), []byte("\n"), []byte(clearLine+"\r\n")))
	b.WriteString(clearBelow)
	_, err := o.w.Write(b.Bytes())
	return err
}
