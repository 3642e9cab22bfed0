package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// Delivery says what became of a part of the log.
type Delivery struct {
	Frames              uint64
	FirstSeq, LastSeq   uint64         // of the frames found; 0: none
	FirstTime, LastTime time.Time      // their source times, least and greatest
	Damaged             []*DamageError // could not be read, so that they are not counted

	// The log no longer holds all that was asked for: it begins with LogSeq,
	// which was logged at LogTime. What is gone was delivered to every consumer
	// or is a gap.
	Expired   bool
	LogSeq    uint64
	LogTime   time.Time
	Consumers []ConsumerDelivery
}

// ConsumerDelivery counts the frames for one consumer.
type ConsumerDelivery struct {
	Name      string
	Delivered uint64 // acknowledged, those among them that its filter leaves out
	Waiting   uint64
	Missed    uint64    // it will not get them, see [Archive.Gaps]; at most, since some of a refused message went elsewhere
	AckSeq    uint64    // every frame up to it is done with
	AckTime   time.Time // when that one was logged; zero: the log no longer holds it
}

// Delivery tells for the frames of sel which consumers have them.
func (a *Archive) Delivery(ctx context.Context, sel Selection) (Delivery, error) {
	var d Delivery
	counts := a.newCounts() // what is acknowledged from now on counts as waiting
	done, err := a.Replay(ctx, sel, func(b *frame.Batch) error {
		for i := range b.Frames {
			at := b.Frames[i].Time()
			if d.FirstTime.IsZero() || at.Before(d.FirstTime) {
				d.FirstTime = at
			}
			if at.After(d.LastTime) {
				d.LastTime = at
			}
		}
		for _, c := range counts {
			c.add(Range{First: b.FirstSeq, Last: b.LastSeq()})
		}
		return nil
	})
	if err != nil {
		return d, fmt.Errorf("delivery: %w", err)
	}
	d.FirstSeq, d.LastSeq, d.Frames, d.Damaged = done.First, done.Last, done.Frames, done.Damaged
	for _, c := range counts {
		if c.out.AckTime, err = a.LoggedAt(c.out.AckSeq); err != nil {
			return d, err
		}
		d.Consumers = append(d.Consumers, c.out)
	}
	return d, a.expired(&d, sel)
}

// expired tells whether part of sel lies before the log.
func (a *Archive) expired(d *Delivery, sel Selection) (err error) {
	d.LogSeq = a.figures().FirstSeq
	if d.LogTime, err = a.LoggedAt(d.LogSeq); err != nil {
		return err
	}
	switch {
	case sel.First > 0:
		d.Expired = sel.First < d.LogSeq
	case d.LogSeq <= 1:
	case sel.From.IsZero():
		d.Expired = true
	default:
		d.Expired = d.LogTime.IsZero() || sel.From.Before(d.LogTime)
	}
	return nil
}

// LoggedAt returns when the frame seq was logged; zero: the log does not hold it.
func (a *Archive) LoggedAt(seq uint64) (time.Time, error) {
	ms, err := a.log.LoggedAt(seq)
	if err != nil || ms == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(ms), nil
}

// count adds up the frames that one consumer has.
type count struct {
	out     ConsumerDelivery
	gaps    []Range // sorted, none overlaps another
	settled []Range // gaps and what is acknowledged, likewise
}

func (a *Archive) newCounts() []*count {
	gaps := a.Gaps()
	var all []*count
	for _, c := range a.log.Bookmarks() {
		n := &count{out: ConsumerDelivery{Name: c.Name(), AckSeq: c.Acked()}}
		for _, g := range gaps {
			if g.Consumer == "" || g.Consumer == n.out.Name {
				n.gaps = append(n.gaps, g.Range)
			}
		}
		n.gaps = wal.Union(n.gaps)
		n.settled = append(c.Finished(), n.gaps...)
		if n.out.AckSeq > 0 {
			n.settled = append(n.settled, Range{First: 1, Last: n.out.AckSeq})
		}
		n.settled = wal.Union(n.settled)
		all = append(all, n)
	}
	return all
}

func (c *count) add(r Range) {
	all, missed, settled := r.Last-r.First+1, overlap(r, c.gaps), overlap(r, c.settled)
	c.out.Missed += missed
	c.out.Waiting += all - settled
	c.out.Delivered += settled - missed
}

// overlap counts the seqs of r that lie in ranges, which do not overlap each other.
func overlap(r Range, ranges []Range) (n uint64) {
	for _, o := range ranges {
		if o.First > r.Last {
			break
		}
		if first, last := max(r.First, o.First), min(r.Last, o.Last); first <= last {
			n += last - first + 1
		}
	}
	return n
}
