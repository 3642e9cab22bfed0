package admin

import (
	"context"
	"errors"
	"io"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

type busClient struct{ c pb.BusServiceClient }

func (c *busClient) Stats(ctx context.Context) (BusStats, error) {
	m, err := c.c.GetBusStats(ctx, &pb.GetBusStatsRequest{})
	return fromBusStats(m), err
}

func (c *busClient) Tail(ctx context.Context, f frame.Filter, send func(TailPart) error) error {
	stream, err := c.c.Tail(ctx, &pb.TailRequest{Filter: toFilter(f)})
	return receive(ctx, stream, err, func(m *pb.TailResponse) error {
		batches, err := fromBatches(m.GetBatches())
		if err != nil {
			return err
		}
		return send(TailPart{Batches: batches, Dropped: m.GetDropped()})
	})
}

func (c *busClient) Replay(ctx context.Context, r Range, send func(ReplayPart) error) error {
	stream, err := c.c.Replay(ctx, &pb.ReplayRequest{Range: toRange(r)})
	return whole(ctx, receive(ctx, stream, err, func(m *pb.ReplayResponse) error {
		batches, err := fromBatches(m.GetBatches())
		if err != nil {
			return err
		}
		return send(ReplayPart{Batches: batches, LastSeq: m.GetLastSeq()})
	}))
}

func (c *busClient) ReplayTo(ctx context.Context, r Range, connector string, speed float64, send func(ReplayProgress) error) error {
	stream, err := c.c.ReplayTo(ctx, &pb.ReplayToRequest{Range: toRange(r), Connector: connector, Speed: speed})
	return whole(ctx, receive(ctx, stream, err, func(m *pb.ReplayToResponse) error {
		return send(ReplayProgress{Replay: m.GetReplay(), Topic: m.GetTopic(), Frames: m.GetFrames(), Seq: m.GetSeq(), LastSeq: m.GetLastSeq()})
	}))
}

func (c *busClient) Import(ctx context.Context, next func() ([]*frame.Batch, error)) (ImportResult, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the call if next fails
	defer cancel()
	stream, err := c.c.Import(ctx)
	if err != nil {
		return ImportResult{}, fromStatus(err)
	}
	for {
		batches, err := next()
		if err != nil {
			return ImportResult{}, err
		}
		if len(batches) == 0 {
			break
		}
		err = sendBatches(batches, func(m []*pb.Batch) error { return stream.Send(&pb.ImportRequest{Batches: m}) })
		if errors.Is(err, io.EOF) {
			break // the gateway has ended the call: its answer says why
		}
		if err != nil {
			return ImportResult{}, fromStatus(err)
		}
	}
	m, err := stream.CloseAndRecv()
	return ImportResult{Frames: m.GetFrames(), FirstSeq: m.GetFirstSeq(), LastSeq: m.GetLastSeq()}, fromStatus(err)
}

func (c *busClient) Flush(ctx context.Context) (uint64, error) {
	m, err := c.c.Flush(ctx, &pb.FlushRequest{})
	return m.GetDurableSeq(), err
}

func (c *busClient) CollectGarbage(ctx context.Context, gc GC) (GCResult, error) {
	m, err := c.c.CollectGarbage(ctx, &pb.CollectGarbageRequest{KeepBytes: gc.KeepBytes, DryRun: gc.DryRun, Force: gc.Force})
	return GCResult{Frames: m.GetFrames(), Bytes: m.GetBytes(), FirstSeq: m.GetFirstSeq(), Unacked: m.GetUnacked()}, err
}

func (c *busClient) Set(ctx context.Context, key, value string) (SettingChange, error) {
	m, err := c.c.SetBusSetting(ctx, &pb.SetBusSettingRequest{Key: key, Value: value})
	return SettingChange{Old: m.GetOldValue(), New: m.GetNewValue()}, err
}

func (c *busClient) Check(ctx context.Context, send func(CheckProgress) error) error {
	stream, err := c.c.CheckLog(ctx, &pb.CheckLogRequest{})
	return whole(ctx, receive(ctx, stream, err, func(m *pb.CheckLogResponse) error {
		return send(CheckProgress{Frames: m.GetFrames(), Bytes: m.GetBytes(), Done: m.GetDone(),
			Damages: each(m.GetDamages(), func(d *pb.LogDamage) Damage {
				return Damage{FirstSeq: d.GetFirstSeq(), LastSeq: d.GetLastSeq(), Text: d.GetText()}
			})})
	}))
}

func (c *busClient) RemoveConsumer(ctx context.Context, name string) error {
	_, err := c.c.RemoveConsumer(ctx, &pb.RemoveConsumerRequest{Name: name})
	return err
}
