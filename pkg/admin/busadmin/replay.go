package busadmin

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Resend sends frames through a connector once more, as part of the replay id, and
// returns where they went.
type Resend func(ctx context.Context, connector, id string, batches []*frame.Batch) (topic string, err error)

// resendFrames is how many frames a replay hands to a connector at a time.
const resendFrames = 5000

// ReplayTo implements [admin.BusBackend].
func (b *Bus) ReplayTo(ctx context.Context, r admin.Range, connector string, speed float64, send func(admin.ReplayProgress) error) error {
	if b.resend == nil {
		return needsGateway("a replay through a connector")
	}
	last := b.archive.Stats().DurableSeq
	if r.ToSeq > 0 {
		last = min(last, r.ToSeq)
	}
	p := admin.ReplayProgress{Replay: "r-" + rand.Text()[:10], LastSeq: last}
	var part []*frame.Batch
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		topic, err := b.resend(ctx, connector, p.Replay, part)
		if err != nil {
			return err
		}
		p.Topic, p.Frames, p.Seq = topic, p.Frames+uint64(frame.CountFrames(part)), part[len(part)-1].LastSeq()
		part = nil
		return send(p)
	}
	pace := pacer{speed: speed}
	sel := bus.Selection{First: r.FromSeq, Last: last, From: r.FromTime, To: r.ToTime, Filter: r.Filter}
	done, err := b.archive.Replay(ctx, sel, func(batch *frame.Batch) error {
		if wait := pace.wait(batch.Frames[0].TS); wait > 0 {
			if err := flush(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		part = append(part, batch)
		if frame.CountFrames(part) < resendFrames {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return KindOf(err)
	}
	if len(done.Damaged) > 0 {
		return fmt.Errorf("all but what cannot be read was sent: %w", done.Damaged[0])
	}
	return nil
}

// pacer spaces frames as their source times were.
type pacer struct {
	speed float64 // 0: nothing is held back
	began time.Time
	first int64
}

// wait returns how long a frame of source time ts is still to be held back.
func (p *pacer) wait(ts int64) time.Duration {
	if p.speed <= 0 {
		return 0
	}
	if p.began.IsZero() {
		p.began, p.first = time.Now(), ts
	}
	due := p.began.Add(time.Duration(float64(ts-p.first) / p.speed))
	return time.Until(due)
}
