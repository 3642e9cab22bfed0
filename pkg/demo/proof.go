package demo

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/receiver"
)

// proof is the reference consumer, subscribed to what the gateway publishes.
type proof struct {
	ledger *receiver.Ledger
	cancel context.CancelFunc
	done   chan struct{}
}

// tally is what the consumer has found.
type tally struct {
	Frames, Gaps, Repeats, LastSeq uint64
}

// startProof subscribes. A broker that is away is tried again and again.
func startProof(ctx context.Context, broker, dir string, log *slog.Logger) (*proof, error) {
	ledger, err := receiver.OpenLedger(filepath.Join(dir, "consumer.ledger"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &proof{ledger: ledger, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		err := receiver.Run(ctx, receiver.Config{
			Broker: broker, Topic: topic, ClientID: "edge-gw-demo-consumer", QoS: 2, SessionExpiry: time.Hour, Ledger: ledger, Log: log,
		})
		if err != nil && ctx.Err() == nil {
			log.Error("the demo's consumer has failed", "error", err)
		}
	}()
	return p, nil
}

// report counts over all logs of this gateway that the ledger knows.
func (p *proof) report() tally {
	var t tally
	for _, g := range p.ledger.Report().Gateways {
		if g.Gateway != gatewayID {
			continue // of somebody else, on an outside broker
		}
		t.Frames += g.Frames
		t.Repeats += g.Repeats
		t.LastSeq = max(t.LastSeq, g.LastSeq)
		for _, gap := range g.Gaps {
			t.Gaps += gap.Last - gap.First + 1
		}
	}
	return t
}

// settle waits a moment for what the gateway delivered last.
func (p *proof) settle(last uint64) {
	for end := time.Now().Add(2 * time.Second); p.report().LastSeq < last && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // until the broker has passed it on
	}
}

// stop ends the consumer and waits for it.
func (p *proof) stop() {
	p.cancel()
	<-p.done
}
