package admin

import (
	"fmt"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Conversions between frames and the protocol's messages. Those named toX make a
// message, those named fromX take one; a nil message is an empty one.

func each[A, B any](list []A, convert func(A) B) []B {
	out := make([]B, len(list))
	for i, a := range list {
		out[i] = convert(a)
	}
	return out
}

func toKind(k frame.Kind) pb.FrameKind {
	if k == frame.Cmd {
		return pb.FrameKind_FRAME_KIND_CMD
	}
	return pb.FrameKind_FRAME_KIND_DATA
}

func fromKind(k pb.FrameKind) frame.Kind {
	if k == pb.FrameKind_FRAME_KIND_CMD {
		return frame.Cmd
	}
	return frame.Data
}

func toFilter(f frame.Filter) *pb.FrameFilter {
	return &pb.FrameFilter{Tags: f.Tags, Drivers: f.Drivers, Kinds: each(f.Kinds, toKind), Qualities: each(f.Qualities, pb.QualityOf)}
}

// fromFilter checks the filter too.
func fromFilter(m *pb.FrameFilter) (frame.Filter, error) {
	f := frame.Filter{
		Tags: m.GetTags(), Drivers: m.GetDrivers(),
		Kinds: each(m.GetKinds(), fromKind), Qualities: each(m.GetQualities(), pb.Quality.Frame),
	}
	if _, err := f.Compile(); err != nil {
		return f, fmt.Errorf("filter: %w: %w", errkind.Invalid, err)
	}
	return f, nil
}

// batchChunk bounds the frames of one message's batch, and so its size.
const batchChunk = 2000

// toBatches makes messages of batches, large ones in several pieces.
func toBatches(batches []*frame.Batch) []*pb.Batch {
	var out []*pb.Batch
	for _, b := range batches {
		for i := 0; i < len(b.Frames); i += batchChunk {
			out = append(out, toBatch(b, i, min(i+batchChunk, len(b.Frames))))
		}
	}
	return out
}

// toBatch makes a message of the frames [lo, hi) of b with the tags that occur.
func toBatch(b *frame.Batch, lo, hi int) *pb.Batch {
	n := hi - lo
	m := &pb.Batch{
		FirstSeq: b.FirstSeq + uint64(lo), ConfigRev: b.ConfigRev, Kind: toKind(b.Kind), Driver: b.Set.Driver,
		Tag: make([]uint32, n), TsDeltaNs: make([]int64, n), Value: make([]*pb.Value, n), Quality: make([]pb.Quality, n),
	}
	if len(b.Statuses) > 0 {
		m.Status = make([]uint32, n)
	}
	index, statuses := map[uint32]uint32{}, map[uint16]uint32{}
	var last int64
	for i := range n {
		f := &b.Frames[lo+i]
		if text := b.Status(lo + i); text != "" {
			if statuses[f.Status] == 0 {
				m.Statuses = append(m.Statuses, text)
				statuses[f.Status] = uint32(len(m.Statuses))
			}
			m.Status[i] = statuses[f.Status]
		}
		t, ok := index[f.Tag]
		if !ok {
			t = uint32(len(m.Tags))
			index[f.Tag] = t
			tag := b.Set.Tags[f.Tag]
			m.Tags = append(m.Tags, &pb.TagInfo{Name: tag.Name, Unit: tag.Unit})
		}
		m.Tag[i], m.TsDeltaNs[i] = t, f.TS-last
		m.Value[i], m.Quality[i] = pb.ValueOf(f.Value), pb.QualityOf(f.Quality)
		last = f.TS
	}
	return m
}

// fromBatch checks the message: it may come from anywhere.
func fromBatch(m *pb.Batch) (*frame.Batch, error) {
	n := len(m.GetTag())
	if n == 0 || len(m.GetTsDeltaNs()) != n || len(m.GetValue()) != n || len(m.GetQuality()) != n {
		return nil, fmt.Errorf("batch at seq %d: %w: its lists must have the same length, 1 or more; they have %d, %d, %d and %d",
			m.GetFirstSeq(), errkind.Invalid, n, len(m.GetTsDeltaNs()), len(m.GetValue()), len(m.GetQuality()))
	}
	if s := len(m.GetStatus()); s != 0 && s != n {
		return nil, fmt.Errorf("batch at seq %d: %w: %d statuses for %d frames", m.GetFirstSeq(), errkind.Invalid, s, n)
	}
	set := &frame.TagSet{Driver: m.GetDriver(), Tags: each(m.GetTags(), func(t *pb.TagInfo) frame.Tag {
		return frame.Tag{Name: t.GetName(), Unit: t.GetUnit()}
	})}
	b := &frame.Batch{FirstSeq: m.GetFirstSeq(), ConfigRev: m.GetConfigRev(), Kind: fromKind(m.GetKind()), Set: set,
		Frames: make([]frame.Frame, n)}
	var ts int64
	for i := range n {
		if int(m.Tag[i]) >= len(set.Tags) {
			return nil, fmt.Errorf("batch at seq %d: %w: frame %d has tag %d of %d", m.GetFirstSeq(), errkind.Invalid, i, m.Tag[i], len(set.Tags))
		}
		v := m.Value[i].Frame()
		if v.Kind() == frame.KindObject || v.Kind() == frame.KindArray {
			if is, err := frame.ParseJSONValue([]byte(v.Text())); err != nil || is.Kind() != v.Kind() {
				return nil, fmt.Errorf("batch at seq %d: %w: frame %d holds an object or array that is not JSON", m.GetFirstSeq(), errkind.Invalid, i)
			}
		}
		ts += m.TsDeltaNs[i]
		b.Frames[i] = frame.Frame{Value: v, TS: ts, Tag: m.Tag[i], Quality: m.Quality[i].Frame()}
		if len(m.Status) > 0 && m.Status[i] > 0 && int(m.Status[i]) <= len(m.Statuses) {
			b.Frames[i].Status = b.AddStatus(m.Statuses[m.Status[i]-1])
		}
	}
	return b, nil
}

func fromBatches(list []*pb.Batch) ([]*frame.Batch, error) {
	out := make([]*frame.Batch, len(list))
	for i, m := range list {
		var err error
		if out[i], err = fromBatch(m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func toRange(r Range) *pb.ReplayRange {
	return &pb.ReplayRange{
		FromSeq: r.FromSeq, FromTime: Timestamp(r.FromTime), ToSeq: r.ToSeq, ToTime: Timestamp(r.ToTime), Filter: toFilter(r.Filter),
	}
}

func fromRange(m *pb.ReplayRange) (Range, error) {
	f, err := fromFilter(m.GetFilter())
	return Range{
		FromSeq: m.GetFromSeq(), FromTime: Time(m.GetFromTime()), ToSeq: m.GetToSeq(), ToTime: Time(m.GetToTime()), Filter: f,
	}, err
}
