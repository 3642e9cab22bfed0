package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// newEpoch is what the gateway remembers of an epoch that it had to begin.
type newEpoch struct {
	why   string
	epoch string
	since time.Time
}

// birthMark is the file in the log's directory that shows whether that is a copy.
const birthMark = "birth"

// checkCopy begins a new epoch if the log's directory is a copy: the one that it was
// copied from may have gone on and used the numbers that would come now, and so may this
// one, before it was put back. That is known before anything is sent, with or without
// somebody outside who remembers.
func (g *Gateway) checkCopy() error {
	mark := filepath.Join(g.cfg.WALDir(), birthMark)
	born, err := durable.Born(mark)
	if err != nil {
		g.log.Warn("it isn't known whether the log's directory is a copy", "error", err)
	}
	old, head := g.bus.Epoch(), g.bus.Head()
	if !born && head > 0 {
		epoch, err := g.bus.NewEpoch()
		if err != nil {
			return fmt.Errorf("the log's directory is a copy: %w", err)
		}
		g.turned.Store(&newEpoch{epoch: epoch, since: time.Now(), why: fmt.Sprintf("the log's directory is a copy that ends at frame %d of epoch %s: "+
			"it was put back to an earlier state, or the original is elsewhere, and may have used the numbers that follow; from here on they are those of epoch %s. "+
			"What was sent after the copy was made arrives a second time; if the original still runs, stop one of both", head, old, epoch)})
		g.log.Warn("the log's directory is a copy: it was put back to an earlier state, or the original is elsewhere; a new epoch begins",
			"head", head, "old_epoch", old, "epoch", epoch)
	}
	if _, err := os.Stat(mark); err == nil && born {
		return nil
	}
	if err := durable.MarkBirth(mark); err != nil {
		g.log.Warn("a copy of the log's directory will not be noticed", "error", err)
	}
	return nil
}

// onBehind is told that the log's storage has forgotten. It comes from within a
// connector or the follower, which the change stops.
func (g *Gateway) onBehind(b *bus.Behind) {
	select {
	case g.behind <- b:
	default: // the first one counts
	}
}

// guardEpoch begins a new epoch when the log turns out to be behind what was seen of
// it, until ctx ends: with all connectors stopped, so that none sends a frame under the
// old one. Polling goes on.
func (g *Gateway) guardEpoch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-g.behind:
			if err := g.turnEpoch(ctx, b); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%w; it could not be begun, and the gateway ends, because numbers would be used twice: %w", b, err)
			}
		}
	}
}

func (g *Gateway) turnEpoch(ctx context.Context, b *bus.Behind) error {
	old := g.bus.Epoch()
	g.log.Error("the log's storage was put back to an earlier state; a new epoch begins, frames that were sent before may arrive twice",
		"head", b.Head, "seen", b.Seq, "seen_epoch", b.Epoch, "by", b.Where, "old_epoch", old)
	epoch, err := g.stopForEpoch(ctx)
	if err != nil {
		return err
	}
	g.turned.Store(&newEpoch{epoch: epoch, since: time.Now(), why: fmt.Sprintf("the log's storage was put back to an earlier state: frames %d to %d had been used, "+
		"as %s says; since then they are those of epoch %s. Find out what put it back", b.Head+1, b.Seq, b.Where, epoch)})
	g.log.Warn("a new epoch has begun", "epoch", epoch)
	snap := g.runner.Current()
	object := map[string]any{
		"gateway": g.cfg.GatewayID, "version": version.String(), "config_rev": snap.Rev, "config_sha256": snap.SHA256,
		"reason": "storage_put_back", "old_epoch": old, "head_seq": b.Head, "seen_epoch": b.Epoch, "seen_seq": b.Seq,
	}
	if err := g.bus.PublishSys("sys.start", object); err != nil {
		return err
	}
	cfg, err := g.cfg.WithSettings(snap.Settings)
	if err != nil { // settings that run now can't be wrong
		return err
	}
	return g.updateConnectors(ctx, cfg)
}

// stopForEpoch stops the connectors and begins the epoch. Settings that are applied in
// between start connectors again, so that it tries more than once.
func (g *Gateway) stopForEpoch(ctx context.Context) (epoch string, err error) {
	for range 5 {
		if err = g.connectors.Apply(ctx, nil); err != nil {
			return "", err
		}
		if epoch, err = g.bus.NewEpoch(); !errors.Is(err, bus.ErrInUse) {
			return epoch, err
		}
	}
	return "", err
}

// claim is what the configuration center keeps of the log.
func (g *Gateway) claim() center.Seen {
	c := g.bus.Claim()
	return center.Seen{Epoch: c.Epoch, Seq: c.Seq, Run: c.Run}
}

// witness holds the log to what the configuration center has kept.
func (g *Gateway) witness(seen center.Seen) {
	// An error was told to onBehind.
	_ = g.bus.Witness(bus.Seen{Epoch: seen.Epoch, Seq: seen.Seq, Run: seen.Run}, "the configuration center")
}
