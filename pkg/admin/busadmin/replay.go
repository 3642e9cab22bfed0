package busadmin

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Resend sends frames through a connector once more, as part of the replay id, and
// returns where they went.
type Resend func(ctx context.Context, connector, id string, batches []*frame.Batch) (topic string, err error)

// resendFrames is how many frames a replay hands to a connector at a time.
const resendFrames = 5000

// ReplayTo implements [admin.BusBackend].
func (b *Bus) ReplayTo(ctx context.Context, r admin.Range, connector string, speed float64, send func(*pb.ReplayToResponse) error) error {
	if b.resend == nil {
		return needsGateway("a replay through a connector")
	}
	last := b.archive.Stats().DurableSeq
	if r.ToSeq > 0 {
		last = min(last, r.ToSeq)
	}
	p := &pb.ReplayToResponse{Replay: "r-" + rand.Text()[:10], LastSeq: last}
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
	pace := NewPacer(speed)
	sel := bus.Selection{First: r.FromSeq, Last: last, From: r.FromTime, To: r.ToTime, Filter: r.Filter}
	done, err := b.archive.Replay(ctx, sel, func(batch *frame.Batch) error {
		if err := pace.Hold(ctx, batch.Frames[0].TS, flush); err != nil {
			return err
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
		return err
	}
	if len(done.Damaged) > 0 {
		return fmt.Errorf("all but what cannot be read was sent: %w", done.Damaged[0])
	}
	return nil
}

// Pacer holds frames back until as much time has passed as between their source
// times, divided by the speed.
type Pacer struct {
	speed float64 // 0: nothing is held back
	began time.Time
	first int64
}

// NewPacer returns a pacer for a speed: 1 is that of the source times, 0 is none.
func NewPacer(speed float64) *Pacer { return &Pacer{speed: speed} }

// Hold waits, if the frame of source time ts (Unix nanoseconds) is not due yet, after
// it has called flush for what came before. The error is flush's or ctx's.
func (p *Pacer) Hold(ctx context.Context, ts int64, flush func() error) error {
	early := p.wait(ts)
	if early <= 0 {
		return nil
	}
	if err := flush(); err != nil {
		return err
	}
	t := time.NewTimer(early)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait returns how long a frame of source time ts is still to be held back.
func (p *Pacer) wait(ts int64) time.Duration {
	if p.speed <= 0 {
		return 0
	}
	if p.began.IsZero() {
		p.began, p.first = time.Now(), ts
	}
	due := p.began.Add(time.Duration(float64(ts-p.first) / p.speed))
	return time.Until(due)
}
