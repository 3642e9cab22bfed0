package driver

import (
	"log/slog"
	"time"
)

// Teller bounds what is logged of tags: a few lines at once, then one in a while that
// says how many were left out. The zero value is ready for use, by one goroutine.
type Teller struct {
	left    float64
	at      time.Time
	omitted int
}

const (
	tellBurst = 10
	tellEvery = 30 * time.Second
)

// Logger returns what a line is to be logged with, nil if it is one too many.
func (t *Teller) Logger(log *slog.Logger, now time.Time) *slog.Logger {
	if t.at.IsZero() {
		t.left = tellBurst
	} else {
		t.left = min(tellBurst, t.left+now.Sub(t.at).Seconds()/tellEvery.Seconds())
	}
	t.at = now
	if t.left < 1 {
		t.omitted++
		return nil
	}
	t.left--
	if t.omitted > 0 {
		log = log.With("lines_left_out", t.omitted)
		t.omitted = 0
	}
	return log
}
