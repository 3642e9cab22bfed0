package bus

import (
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// Seen is what somebody outside has seen of a log: frames up to Seq, under Epoch. It is
// kept where a disk that is put back to an earlier state (a VM's snapshot, an overlay,
// a copied directory) doesn't reach: retained at the broker, in the etcd of a cluster.
// A log that is behind it would use numbers a second time, under which consumers that
// drop what they know would drop new frames.
type Seen struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
	Run   string `json:"run"` // which opening of the log said so
}

// Behind tells of a log that is behind what was seen of it.
type Behind struct {
	Seen         // elsewhere
	Head  uint64 // the last frame that the log held when it was opened
	Where string // who has seen it
}

// Error says what has happened.
func (b *Behind) Error() string {
	return fmt.Sprintf("the log's storage was put back to an earlier state: it ended at frame %d, and %s has frames up to %d of epoch %s; a new epoch begins",
		b.Head, b.Where, b.Seq, b.Epoch)
}

// Claim returns what is to be kept elsewhere. Every durable frame may have been seen.
func (b *Bus) Claim() Seen {
	if behind := b.behind.Load(); behind != nil {
		return behind.Seen // until a new epoch makes it harmless, it must not be forgotten
	}
	return Seen{Epoch: b.Epoch(), Seq: b.log.Durable(), Run: b.run}
}

// Witness holds the log to what was kept elsewhere, and returns a *Behind if it is
// behind: then nothing may be sent before NewEpoch. Deps.OnBehind is told once. What
// can't be a claim, and what this opening of the log has said itself, is no evidence.
func (b *Bus) Witness(seen Seen, where string) error {
	epoch := b.Epoch()
	// The log's own may be behind the latest that is believed: one that somebody made up
	// was just before it.
	if _, err := wal.EpochTime(seen.Epoch); err != nil && seen.Epoch != epoch || seen.Run == b.run {
		return nil
	}
	if seen.Epoch < epoch || seen.Epoch == epoch && seen.Seq <= b.head {
		return nil
	}
	behind := &Behind{Seen: seen, Head: b.head, Where: where}
	if b.behind.CompareAndSwap(nil, behind) && b.hooks.OnBehind != nil {
		b.hooks.OnBehind(behind)
	}
	return behind
}

// NewEpoch has the log go on under a new epoch, which sorts behind all that was seen.
// Consumers must be closed.
func (b *Bus) NewEpoch() (string, error) {
	b.register.Lock()
	defer b.register.Unlock()
	for _, c := range b.Consumers() {
		if !c.Parked {
			return "", fmt.Errorf("new epoch: consumer %s: %w", c.Name, ErrInUse)
		}
	}
	after := ""
	if behind := b.behind.Load(); behind != nil {
		after = behind.Epoch
	}
	epoch, err := b.log.NewEpoch(after)
	if err == nil {
		b.behind.Store(nil)
	}
	return epoch, err
}

// Claim is [Bus.Claim].
func (c *Reader) Claim() Seen { return c.b.Claim() }

// Witness is [Bus.Witness].
func (c *Reader) Witness(seen Seen, where string) error { return c.b.Witness(seen, where) }
