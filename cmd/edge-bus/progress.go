package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// progress follows a replay.
type progress struct {
	line  *cli.Progress
	begun time.Time
	sent  uint64 // frames
	first uint64 // seq
	seq   uint64 // up to which it has come
	last  uint64
}

// newProgress shows progress only where it does not mix with the frames.
func newProgress(cmd *cobra.Command, target string) *progress {
	p := &progress{begun: time.Now()}
	if target != "stdout" || !cli.IsTerminal(cmd.OutOrStdout()) {
		p.line = cli.NewProgress(cmd, "replaying")
	}
	return p
}

func (p *progress) frames(n int, seq, last uint64) { p.set(p.sent+uint64(n), seq, last) }

func (p *progress) set(sent, seq, last uint64) {
	if p.first == 0 {
		p.first = seq - min(seq, sent)
	}
	p.sent, p.seq, p.last = sent, seq, last
	p.line.Set(p.String())
}

// String says how far it is.
func (p *progress) String() string {
	percent := 100.0
	if p.last > p.first {
		percent = 100 * float64(p.seq-p.first) / float64(p.last-p.first)
	}
	rate := float64(p.sent) / max(time.Since(p.begun).Seconds(), 0.001)
	return fmt.Sprintf("%.0f%%, %s, seq %d of %d, %s frames/s", percent, words.Count(p.sent, "frame"), p.seq, p.last, cli.Count(uint64(rate)))
}

// interrupted is err, or what a replay to target had done when a signal ended it.
func (p *progress) interrupted(cmd *cobra.Command, err error, target string) error {
	if p.sent == 0 {
		return cli.Interrupted(cmd, err, "no frame was sent to %s yet", target)
	}
	return cli.Interrupted(cmd, err, "%s went to %s, up to seq %d of %d; the rest: --from %d", words.Count(p.sent, "frame"), target, p.seq, p.last, p.seq+1)
}
