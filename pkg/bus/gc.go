package bus

import (
	"context"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// GCReport says what a GC deleted, or would delete.
type GCReport struct {
	First, Last uint64   // frames deleted; Last < First: none
	Bytes       uint64   // of those frames
	Kept        uint64   // bytes that the log holds afterwards
	Unacked     uint64   // frames of First…Last that some consumer has not had
	Blocked     uint64   // frames that keepBytes would have deleted, but a consumer has not had them
	Consumers   []string // that miss frames (with force), or that block
}

// GC trims the log to at most keepBytes, retention or not. Frames that a consumer
// has not acknowledged stay unless force is set; then a sys.gap frame tells which
// went. Frames of messages in flight stay always. With dryRun nothing changes.
func (a *Archive) GC(ctx context.Context, keepBytes uint64, dryRun, force bool) (GCReport, error) {
	if a.bus != nil {
		if err := a.bus.Sync(ctx); err != nil {
			return GCReport{}, err
		}
	}
	var r GCReport
	r.First = a.log.Floor()
	want, err := a.log.SeqAtBytes(keepBytes)
	if err != nil {
		return r, fmt.Errorf("gc: %w", err)
	}
	cut := want
	var behind []*wal.Bookmark
	for _, c := range a.log.Bookmarks() {
		if c.Acked()+1 < want {
			behind = append(behind, c)
			r.Consumers = append(r.Consumers, c.Name())
			cut = min(cut, c.Acked()+1)
		}
	}
	if force {
		r.Unacked = want - cut
		cut = want
	} else {
		r.Blocked = want - cut
	}
	cut = max(cut, r.First)
	before := a.log.Bytes()
	if r.Kept, err = a.log.BytesFrom(cut); err != nil {
		return r, fmt.Errorf("gc: %w", err)
	}
	r.Last, r.Bytes = cut-1, before-min(r.Kept, before)
	if dryRun || cut == r.First {
		return r, nil
	}
	if r.Unacked > 0 {
		gaps, err := a.log.Drop(Range{First: max(r.First, cut-r.Unacked), Last: cut - 1}, behind, Gap{Reason: "gc"})
		if err != nil {
			return r, fmt.Errorf("gc: %w", err)
		}
		if a.bus != nil && len(gaps) > 0 {
			a.bus.metrics.dropped("gc", r.Unacked)
			a.bus.tellGaps()
		}
	}
	if err := a.log.Collect(cut, false); err != nil {
		return r, fmt.Errorf("gc: %w", err)
	}
	r.Kept = a.log.Bytes()
	return r, nil
}
