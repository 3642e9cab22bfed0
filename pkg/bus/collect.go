package bus

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// The collector runs after each sync, but not more often than collectPause.
const (
	collectPause = 50 * time.Millisecond
	collectIdle  = time.Second
)

// collectLoop deletes what nobody needs, and gives frames up when the log is full.
func (b *Bus) collectLoop() {
	defer b.wg.Done()
	b.tellGaps()
	for {
		idle := time.NewTimer(collectIdle)
		select {
		case <-idle.C:
		case <-b.wakeCollector:
		case <-b.stop:
			return
		case <-b.log.Failed():
			return
		}
		idle.Stop()
		if b.untold.Swap(false) {
			b.tellGaps()
		}
		if err := b.collect(); err != nil {
			b.logger.Warn("old frames stay for now", "error", err)
		}
		b.mu.Lock()
		b.measure()
		b.freeSpace()
		b.mu.Unlock()
		pause := time.NewTimer(collectPause)
		select {
		case <-pause.C:
		case <-b.stop:
			return
		}
	}
}

// needs returns the first seq that an active consumer needs, and the first that
// any does; the end of the log if there is none.
func (b *Bus) needs() (active, all uint64, parked []*Reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	active = b.log.Durable() + 1
	all = active
	for _, c := range b.consumers {
		need := c.st.Acked() + 1
		all = min(all, need)
		if c.active.Load() {
			active = min(active, need)
		} else {
			parked = append(parked, c)
		}
	}
	return active, all, parked
}

func (b *Bus) collect() error {
	cfg := b.cfg.Load()
	hi, lo := cfg.PauseHi*float64(cfg.WALMaxBytes), cfg.ResumeLo*float64(cfg.WALMaxBytes)
	_, limit, _ := b.needs()
	full := float64(b.log.Bytes()) > hi
	keep, err := b.retained(cfg, limit, full, uint64(lo))
	if err != nil {
		return err
	}
	if err := b.log.Collect(keep, !full); err != nil {
		return err
	}
	if float64(b.log.Bytes()) <= hi {
		return nil
	}
	return b.giveUp(cfg, uint64(lo))
}

// retained returns where to cut when everything before limit is delivered: before
// what is to be kept for replay. When the log is full, delivered frames go first.
func (b *Bus) retained(cfg *Config, limit uint64, full bool, lo uint64) (uint64, error) {
	if cfg.Retain == 0 || limit <= b.log.Floor() {
		return limit, nil
	}
	cut, err := b.log.SeqAtTime(b.now().Add(-cfg.Retain).UnixMilli())
	if err != nil {
		return 0, err
	}
	keep := cfg.RetainBytes
	if full && (keep == 0 || keep > lo) {
		keep = lo
	}
	if keep > 0 {
		seq, err := b.log.SeqAtBytes(keep)
		if err != nil {
			return 0, err
		}
		cut = max(cut, seq)
	}
	return min(limit, cut), nil
}

// giveUp makes room in a log that is full of frames that somebody still needs:
// those that only parked consumers need go first; with DropOldest, and only when
// the log is really full, others follow.
func (b *Bus) giveUp(cfg *Config, lo uint64) error {
	target, err := b.log.SeqAtBytes(lo)
	if err != nil {
		return err
	}
	active, all, parked := b.needs()
	if cut := min(target, active); all < cut {
		for _, c := range parked {
			if err := b.drop(c.Acked()+1, cut-1, []*Reader{c}, wal.Gap{Consumer: c.Name(), Reason: "parked"}); err != nil {
				return err
			}
		}
		if err := b.log.Collect(cut, false); err != nil {
			return err
		}
	}
	if cfg.Overflow != DropOldest || b.log.Bytes() <= cfg.WALMaxBytes {
		return nil
	}
	if target, err = b.log.SeqAtBytes(cfg.WALMaxBytes - cfg.WALMaxBytes/16); err != nil {
		return err
	}
	b.mu.Lock()
	everyone := slices.Collect(maps.Values(b.consumers))
	b.mu.Unlock()
	_, all, _ = b.needs()
	if err := b.drop(max(all, b.log.Floor()), target-1, everyone, wal.Gap{Reason: "overflow"}); err != nil {
		return err
	}
	return b.log.Collect(target, false)
}

// drop gives up frames first…last for consumers, counts them and tells of them.
func (b *Bus) drop(first, last uint64, consumers []*Reader, gap wal.Gap) error {
	if first > last {
		return nil
	}
	var states []*wal.Bookmark
	for _, c := range consumers {
		states = append(states, c.st)
	}
	gaps, err := b.log.Drop(Range{First: first, Last: last}, states, gap)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		b.metrics.dropped(g.Reason, g.Len())
		b.logger.Error("frames dropped: the log is full", "reason", g.Reason, "from", g.First, "to", g.Last, "consumer", g.Consumer)
	}
	b.tellGaps()
	return nil
}

// tellGaps publishes a sys.gap frame for each gap that none tells of yet. A crash
// may have one told twice, never not at all.
func (b *Bus) tellGaps() {
	b.telling.Lock()
	defer b.telling.Unlock()
	var told []wal.Gap
	for _, g := range b.log.Gaps() {
		if g.Told {
			continue
		}
		object := map[string]any{"from": g.First, "to": g.Last, "reason": g.Reason}
		if g.Consumer != "" {
			object["consumer"] = g.Consumer
		}
		if g.Topic != "" {
			object["topic"] = g.Topic
		}
		if g.Parked != 0 {
			object["parked"] = g.Parked
		}
		if err := b.PublishSys("sys.gap", object); err != nil {
			b.logger.Warn("gap not told yet", "error", err)
			return
		}
		told = append(told, g)
	}
	if len(told) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := b.Sync(ctx)
	if err == nil {
		err = b.log.MarkTold(told)
	}
	if err != nil {
		b.logger.Warn("gaps will be told again", "error", err)
		return
	}
	for _, g := range told {
		if g.Reason == wal.ReasonDamaged { // the others were counted when they came about
			b.metrics.dropped(g.Reason, g.Len())
			b.logger.Error("frames lost: they were damaged, and a repair took them out", "from", g.First, "to", g.Last)
		}
	}
}
