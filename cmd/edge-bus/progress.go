package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// progress shows on a terminal how far a replay is.
type progress struct {
	cmd   *cobra.Command // nil: nobody looks
	begun time.Time
	shown time.Time
	sent  uint64
	first uint64
}

// newProgress shows progress only where it does not mix with the frames.
func newProgress(cmd *cobra.Command) *progress {
	p := &progress{begun: time.Now()}
	if cli.IsTerminal(cmd.ErrOrStderr()) && !cli.IsTerminal(cmd.OutOrStdout()) {
		p.cmd = cmd
	}
	return p
}

func (p *progress) frames(n int, seq, last uint64) { p.set(p.sent+uint64(n), seq, last) }

func (p *progress) set(sent, seq, last uint64) {
	if p.first == 0 {
		p.first = seq - min(seq, sent)
	}
	p.sent = sent
	now := time.Now()
	if p.cmd == nil || now.Sub(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = now
	percent := 100.0
	if last > p.first {
		percent = 100 * float64(seq-p.first) / float64(last-p.first)
	}
	rate := float64(sent) / now.Sub(p.begun).Seconds()
	p.cmd.PrintErrf("\r%3.0f%%  %d frames  seq %d of %d  %s frames/s \x1b[K", percent, sent, seq, last, cli.Count(uint64(rate)))
}

// done clears the line.
func (p *progress) done() {
	if p.cmd != nil && !p.shown.IsZero() {
		p.cmd.PrintErr("\r\x1b[K")
	}
}
