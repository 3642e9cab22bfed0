package bus

import "time"

// gauge decides about back-pressure. It is guarded by Bus.mu.
type gauge struct {
	pressed bool // over the high mark, not yet under the low one
	noSpace bool // the disk has less than MinFree
	shown   bool // what the hook was told last
}

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
func (b *Bus) admit(n int) bool {
	if b.next-1+uint64(n)-b.log.Durable() > uint64(max(b.ringSize(), n)) {
		wake(b.syncNow)
		return false // too many wait for the disk
	}
	if b.cfg.Load().Overflow == Pause && b.unread()+uint64(n) > uint64(max(b.ringSize(), n)) {
		return false
	}
	return !b.gauge.noSpace && b.fill() < 1
}

// measure brings the gauge up to date. b.mu is held.
func (b *Bus) measure() {
	cfg := b.cfg.Load()
	b.gauge.pressed = hysteresis(b.gauge.pressed, b.fill(), cfg.PauseHi, cfg.ResumeLo)
	if (b.gauge.pressed || b.gauge.noSpace) != b.gauge.shown {
		wake(b.wakePressure)
	}
}

// pressureLoop tells the hook, and watches the disk's free space.
func (b *Bus) pressureLoop() {
	defer b.wg.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	b.checkSpace()
	for {
		b.mu.Lock()
		paused := b.gauge.pressed || b.gauge.noSpace
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
			b.checkSpace()
		case <-b.stop:
			return
		case <-b.log.Failed():
			return
		}
	}
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
