package bus

import (
	"fmt"
	"time"
)

// gauge decides about back-pressure. It is guarded by Bus.mu.
type gauge struct {
	pressed bool // over the high mark, not yet under the low one
	noSpace bool // the disk has less than MinFree
	shown   bool // what the hook was told last

	moved      error     // the log's directory is not where it was; nil: it is
	movedSince time.Time // when that was noticed
}

// closed reports whether nothing may be logged now, whatever the fill.
func (g *gauge) closed() bool { return g.noSpace || g.moved != nil }

// hysteresis returns whether to be paused at a fill of used, when it was paused
// before or not: between the marks nothing changes.
func hysteresis(paused bool, used, hi, lo float64) bool {
	if paused {
		return used >= lo
	}
	return used > hi
}

// unread returns how many frames the slowest consumer has not read. b.mu is held.
func (b *Bus) unread() uint64 {
	slowest := b.next
	for _, c := range b.consumers {
		if c.active.Load() {
			slowest = min(slowest, c.read.Load())
		}
	}
	return b.next - slowest
}

// fill returns how full the thing is that the overflow policy looks at: 1 is full.
func (b *Bus) fill() float64 {
	cfg := b.cfg.Load()
	bytes := float64(b.log.Bytes()) / float64(cfg.WALMaxBytes)
	switch cfg.Overflow {
	case Pause:
		return max(float64(b.unread())/float64(b.ringSize()), bytes)
	case DropOldest:
		return 0
	}
	return bytes
}

// admit reports whether n more frames may enter. b.mu is held.
func (b *Bus) admit(n, texts int) bool {
	if b.next-1+uint64(n)-b.log.Durable() > uint64(max(b.ringSize(), n)) || b.texts+texts > max(mostTexts, texts) {
		wake(b.syncNow)
		return false // too many wait for the disk
	}
	if b.cfg.Load().Overflow == Pause && b.unread()+uint64(n) > uint64(max(b.ringSize(), n)) {
		return false
	}
	return !b.gauge.closed() && b.fill() < 1
}

// measure brings the gauge up to date. b.mu is held.
func (b *Bus) measure() {
	cfg := b.cfg.Load()
	b.gauge.pressed = hysteresis(b.gauge.pressed, b.fill(), cfg.PauseHi, cfg.ResumeLo)
	if (b.gauge.pressed || b.gauge.closed()) != b.gauge.shown {
		wake(b.wakePressure)
	}
}

// lookEvery is how often the log's disk and directory are looked at: twice within the
// second in which a fault is to be noticed.
const lookEvery = 500 * time.Millisecond

// pressureLoop tells the hook, and watches the disk's free space and the log's
// directory.
func (b *Bus) pressureLoop() {
	defer b.wg.Done()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	b.checkSpace()
	for {
		b.mu.Lock()
		paused := b.gauge.pressed || b.gauge.closed()
		changed := paused != b.gauge.shown
		b.gauge.shown = paused
		b.mu.Unlock()
		if changed {
			b.logger.Info("back-pressure", "paused", paused)
			if b.hooks.OnPressure != nil {
				b.hooks.OnPressure(paused)
			}
		}
		select {
		case <-b.wakePressure:
		case <-tick.C:
			if b.checkPlace() {
				b.checkSpace()
			}
		case <-b.stop:
			return
		case <-b.log.Failed():
			return
		}
	}
}

// movedPatience is how long the log's directory may be away before the bus fails.
const movedPatience = 10 * time.Second

// checkPlace stops publishing when the log's directory was deleted, moved or replaced,
// and lets it go on when it is back. If it does not come back, the log fails. It
// reports whether the directory is there.
func (b *Bus) checkPlace() (there bool) {
	err := b.log.CheckPlace()
	now := b.now()
	b.mu.Lock()
	was := b.gauge.moved // what this function alone writes
	b.gauge.moved = err
	if was == nil {
		b.gauge.movedSince = now
	}
	over := err != nil && now.Sub(b.gauge.movedSince) >= b.hooks.patience
	lost := b.next - 1
	if err == nil && was != nil {
		b.freeSpace()
	}
	b.measure()
	b.mu.Unlock()
	switch {
	case over:
		_, undelivered, _ := b.needs()
		if undelivered <= lost {
			err = fmt.Errorf("%w; frames %d to %d, which not every consumer has had, are in it: if it is still somewhere, put it back before the next start", err, undelivered, lost)
		}
		b.log.Fail(err)
	case err != nil && was == nil:
		b.logger.Error("publishing stopped: the log's directory is gone; put it back, or the gateway ends", "error", err, "within", b.hooks.patience.String())
	case err == nil && was != nil:
		b.logger.Info("publishing goes on: the log's directory is back")
	}
	return err == nil
}

// Problem returns why nothing can be logged now; nil while frames are taken. A log
// that is as full as it may be is no problem: it empties as consumers read.
func (b *Bus) Problem() error {
	if err := b.log.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	moved, noSpace := b.gauge.moved, b.gauge.noSpace
	b.mu.Unlock()
	switch full := b.log.WaitingFull(); {
	case moved != nil:
		return fmt.Errorf("nothing can be logged: %w; put it back, or the gateway ends", moved)
	case full != nil:
		return fmt.Errorf("nothing can be logged, and writing waits for room: %w", full)
	case noSpace:
		return fmt.Errorf("publishing has stopped: the log's disk has less than min_free (%d MiB) left; free some space", b.cfg.Load().MinFree>>20)
	}
	return nil
}

// checkSpace stops publishing when the disk has less than MinFree, and lets it go
// on when it has a quarter more.
func (b *Bus) checkSpace() {
	minFree := b.cfg.Load().MinFree
	free, err := b.log.FreeSpace()
	if err != nil {
		b.logger.Warn("free space of the log's disk unknown", "error", err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.gauge.noSpace
	b.gauge.noSpace = minFree > 0 && (free < minFree || was && free < minFree+minFree/4)
	switch {
	case b.gauge.noSpace && !was:
		b.logger.Error("publishing stopped: the log's disk is nearly full", "free", free, "min_free", minFree)
	case was && !b.gauge.noSpace:
		b.logger.Info("publishing goes on: the log's disk has space again", "free", free)
		b.freeSpace()
	}
	if !b.gauge.noSpace {
		b.log.HoldBallast()
	}
	b.measure()
}
