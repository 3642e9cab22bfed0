// Package busadmin shows a log through the admin API's bus interface: that of a
// running gateway, or that of a stopped one, which edge-bus opens itself. It is
// apart from package admin so that commands that only talk to the socket do not
// link the log's database.
package busadmin

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Bus is an [admin.BusBackend].
type Bus struct {
	bus     *bus.Bus // nil: the gateway is stopped
	archive *bus.Archive
	resend  Resend
}

// Running shows the log of a running gateway. resend may be nil.
func Running(b *bus.Bus, resend Resend) *Bus {
	return &Bus{bus: b, archive: b.Archive(), resend: resend}
}

// Stopped shows the log of a stopped gateway. resend may be nil.
func Stopped(a *bus.Archive, resend Resend) *Bus { return &Bus{archive: a, resend: resend} }

// needsGateway is the answer for what a log alone cannot do.
func needsGateway(what string) error {
	return fmt.Errorf("%s needs a running gateway: %w", what, errkind.Unavailable)
}

// Stats implements [admin.BusBackend].
func (b *Bus) Stats(context.Context) (*pb.GetBusStatsResponse, error) {
	return admin.Fill(new(pb.GetBusStatsResponse), b.archive.Stats()), nil
}

// tailFrames bounds the frames that wait for one client of Tail.
const tailFrames = 50_000

// Tail implements [admin.BusBackend].
func (b *Bus) Tail(ctx context.Context, f frame.Filter, send func(admin.TailPart) error) error {
	if b.bus == nil {
		return needsGateway("tail")
	}
	sub, err := b.bus.Subscribe(f, tailFrames)
	if err != nil {
		return err
	}
	defer sub.Close()
	for {
		batches, err := sub.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(admin.TailPart{Batches: batches, Dropped: sub.Dropped()}); err != nil {
			return err
		}
	}
}

// replayFrames is how many frames, at least, are sent together.
const replayFrames = 2000

// Replay implements [admin.BusBackend].
func (b *Bus) Replay(ctx context.Context, r admin.Range, send func(admin.ReplayPart) error) error {
	last := b.archive.Stats().DurableSeq
	if r.ToSeq > 0 {
		last = min(last, r.ToSeq)
	}
	if last == 0 || r.FromSeq > last {
		return nil
	}
	sel := selection(r, last)
	var part []*frame.Batch
	frames := 0
	flush := func() error {
		p := admin.ReplayPart{Batches: part, LastSeq: last}
		part, frames = nil, 0
		return send(p)
	}
	done, err := b.archive.Replay(ctx, sel, func(batch *frame.Batch) error {
		part = append(part, batch)
		if frames += len(batch.Frames); frames < replayFrames {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	if len(part) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	if len(done.Damaged) == 0 {
		return nil
	}
	return send(admin.ReplayPart{LastSeq: last, Damages: damages(done.Damaged)})
}

func selection(r admin.Range, last uint64) bus.Selection {
	return bus.Selection{First: r.FromSeq, Last: last, From: r.FromTime, To: r.ToTime, Filter: r.Filter}
}

// Delivery implements [admin.BusBackend].
func (b *Bus) Delivery(ctx context.Context, r admin.Range) (*pb.GetDeliveryResponse, error) {
	d, err := b.archive.Delivery(ctx, selection(r, r.ToSeq))
	if err != nil {
		return nil, err
	}
	m := admin.Fill(new(pb.GetDeliveryResponse), d)
	m.Damages = damages(d.Damaged)
	return m, nil
}

// Export implements [admin.BusBackend].
func (b *Bus) Export(ctx context.Context, first, last uint64, w io.Writer) (*pb.ExportSummary, error) {
	r, err := b.archive.Export(ctx, w, first, last)
	return summary(r), err
}

// Import implements [admin.BusBackend].
func (b *Bus) Import(ctx context.Context, r io.Reader) (*pb.ExportSummary, error) {
	if b.bus == nil {
		return nil, needsGateway("import into a log that exists")
	}
	rep, err := b.bus.Import(ctx, r)
	return summary(rep), err
}

func summary(r bus.ExportReport) *pb.ExportSummary {
	s := &pb.ExportSummary{Frames: r.Frames}
	for _, m := range r.Missing {
		s.Missing = append(s.Missing, &pb.LogDamage{FirstSeq: m.First, LastSeq: m.Last, Text: "damaged where it was exported"})
	}
	return s
}

// ImportDir makes a log in dir, which must be empty or not exist, from an export:
// a copy with the same epoch and seqs.
func ImportDir(dir string, r io.Reader) (*pb.ExportSummary, error) {
	rep, err := bus.Import(dir, r, nil)
	return summary(rep), err
}

// Flush implements [admin.BusBackend].
func (b *Bus) Flush(ctx context.Context) (*pb.FlushResponse, error) {
	if err := b.archive.Flush(ctx); err != nil {
		return nil, err
	}
	return &pb.FlushResponse{DurableSeq: b.archive.Stats().DurableSeq}, nil
}

// CollectGarbage implements [admin.BusBackend].
func (b *Bus) CollectGarbage(ctx context.Context, gc *pb.CollectGarbageRequest) (*pb.CollectGarbageResponse, error) {
	r, err := b.archive.GC(ctx, gc.GetKeepBytes(), gc.GetDryRun(), gc.GetForce())
	if err != nil {
		return nil, err
	}
	m := admin.Fill(new(pb.CollectGarbageResponse), r)
	m.FirstSeq, m.KeptBytes = r.Last+1, r.Kept
	if r.Last >= r.First {
		m.Frames = r.Last - r.First + 1
	}
	return m, nil
}

// Set implements [admin.BusBackend]: a log alone has no settings.
func (b *Bus) Set(context.Context, string, string) (*pb.SetBusSettingResponse, error) {
	return nil, needsGateway("a setting")
}

// Check implements [admin.BusBackend].
func (b *Bus) Check(ctx context.Context) (*pb.CheckLogResponse, error) {
	r, err := b.archive.Check(ctx)
	return report(r), err
}

// Repair mends the damaged log of a stopped gateway; see [bus.Archive.Repair].
func (b *Bus) Repair(ctx context.Context) (*pb.CheckLogResponse, error) {
	r, err := b.archive.Repair(ctx)
	return report(r), err
}

func report(r bus.CheckReport) *pb.CheckLogResponse {
	m := &pb.CheckLogResponse{
		Epoch: r.Epoch, FirstSeq: r.First, LastSeq: r.Last, Blocks: uint64(r.Blocks), Frames: r.Frames, Bytes: r.Bytes,
		Damages: damages(r.Damaged), Repaired: r.Repaired, Preserved: r.Preserved,
	}
	for _, g := range r.Gaps {
		m.Gaps = append(m.Gaps, &pb.LogGap{
			FirstSeq: g.First, LastSeq: g.Last, Reason: g.Reason, Consumer: g.Consumer, Time: admin.Timestamp(time.UnixMilli(g.Time)),
		})
	}
	return m
}

func damages(list []*bus.DamageError) []*pb.LogDamage {
	var out []*pb.LogDamage
	for _, d := range list {
		out = append(out, &pb.LogDamage{FirstSeq: d.First, LastSeq: d.Last, Text: d.Err.Error()})
	}
	return out
}

// MoveConsumer gives a consumer of a stopped gateway another name.
func (b *Bus) MoveConsumer(_ context.Context, from, to string) error {
	return b.archive.MoveConsumer(from, to)
}

// RemoveConsumer implements [admin.BusBackend].
func (b *Bus) RemoveConsumer(_ context.Context, name string) error {
	return b.archive.RemoveConsumer(name)
}

// Parked implements [admin.BusBackend].
func (b *Bus) Parked(context.Context) ([]*pb.ParkedMessage, error) {
	list, err := b.archive.Parked()
	var out []*pb.ParkedMessage
	for _, p := range list {
		out = append(out, &pb.ParkedMessage{Consumer: p.Consumer, Id: p.ID, FirstSeq: p.First, LastSeq: p.Last, Frames: uint64(p.Frames),
			Topic: p.Topic, Reason: p.Reason, Time: admin.Timestamp(time.UnixMilli(p.Time)), Retry: p.Retry})
	}
	return out, err
}

// RetryParked implements [admin.BusBackend].
func (b *Bus) RetryParked(_ context.Context, consumer string, id uint64) error {
	return b.archive.RetryParked(consumer, id)
}

// DropParked implements [admin.BusBackend].
func (b *Bus) DropParked(_ context.Context, consumer string, id uint64) error {
	return b.archive.DropParked(consumer, id)
}
