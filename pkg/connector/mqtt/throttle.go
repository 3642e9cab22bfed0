package mqtt

import (
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// speed is so many in a time. The zero speed is no limit.
type speed struct {
	n   int64
	per time.Duration
}

// parseSpeed reads "10/s" or "64K/m": so many, up to most, in a second, minute or hour.
// Nothing is no limit.
func parseSpeed(s string, most int64) (speed, error) {
	if s == "" {
		return speed{}, nil
	}
	var unit byte
	count := ""
	if n := len(s); n > 2 && s[n-2] == '/' {
		count, unit = s[:n-2], s[n-1]
	}
	per, known := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour}[unit]
	n, err := number.Size(count)
	if !known || err != nil || n < 1 || n > most {
		return speed{}, fmt.Errorf("expected a rate such as 10/s, 60/m or 100/h, of %d at most, got %q", most, s)
	}
	return speed{n, per}, nil
}

func (s speed) limited() bool { return s.n > 0 }

// takes returns how long n take.
func (s speed) takes(n int) time.Duration {
	if !s.limited() {
		return 0
	}
	return time.Duration(float64(s.per) / float64(s.n) * float64(n))
}

// within returns how many d has room for, bounded.
func (s speed) within(d time.Duration) int {
	return int(min(float64(s.n)*float64(d)/float64(s.per), maxPacketSize))
}

// allowance is what may be sent of a backlog.
type allowance struct{ bytes, messages speed }

func (a allowance) limited() bool { return a.bytes.limited() || a.messages.limited() }

// throttle holds a backlog to an allowance: what a window needs of it is waited for
// before the next one is read, so that the log is held back, not the memory filled.
type throttle struct {
	due   time.Time // when the next window may be made
	ratio float64   // size of payloads to their size before compression, lately; 0: unknown

	since time.Time // when lag was noted; zero: nothing is held back
	lag   uint64
}

// leastPortion is the least size of a payload before compression, in bytes, that a
// limit makes: a smaller one is mostly header.
const leastPortion = 1024

// portion returns how large a window may be, in bytes before compression and messages,
// so that it takes about a second of the allowance; 0 messages: any number.
func (t *throttle) portion(a allowance, limit int) (bytes, messages int) {
	during := time.Second
	if a.messages.limited() {
		messages = max(1, a.messages.within(during))
		during = max(during, a.messages.takes(1))
	}
	if a.bytes.limited() {
		n := float64(a.bytes.within(during))
		if t.ratio > 0 {
			n /= t.ratio
		}
		limit = min(limit, max(leastPortion, int(min(n, maxPacketSize))))
	}
	return limit, messages
}

// spend takes a window off the allowance.
func (t *throttle) spend(a allowance, now time.Time, bytes, plain, messages int) {
	if t.due.Before(now) {
		t.due = now
	}
	t.due = t.due.Add(max(a.bytes.takes(bytes), a.messages.takes(messages)))
	if plain > 0 {
		t.ratio = float64(bytes) / float64(plain)
	}
}

// growsEvery is how often it is looked whether a backlog grows although it is sent.
const growsEvery = 30 * time.Second

// grows reports, now and then, whether more frames come than the allowance lets go:
// then a backlog never ends.
func (t *throttle) grows(now time.Time, lag uint64) (known, yes bool) {
	switch {
	case t.since.IsZero():
		t.since, t.lag = now, lag
		return false, false
	case now.Sub(t.since) < growsEvery:
		return false, false
	}
	yes = lag > t.lag
	t.since, t.lag = now, lag
	return true, yes
}

// errGrows is the warning about a backlog that never ends.
func errGrows(lag uint64) error {
	return fmt.Errorf("the backlog grows (%d frames): more comes than backlog.max_rate and backlog.max_messages let go; raise them, or set live_first: true", lag)
}
