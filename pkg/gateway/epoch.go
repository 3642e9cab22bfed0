package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// newEpoch is what the gateway remembers of an epoch that it had to begin.
type newEpoch struct {
	behind *bus.Behind
	epoch  string
	since  time.Time
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
				return fmt.Errorf("%w; it could not be begun, and the gateway ends, since numbers would be used twice: %w", b, err)
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
	g.turned.Store(&newEpoch{behind: b, epoch: epoch, since: time.Now()})
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
