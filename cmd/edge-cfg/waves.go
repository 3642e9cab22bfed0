package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/rollout"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// waveFlags say how a change reaches the gateways of a fleet.
type waveFlags struct {
	waves  []string
	bake   time.Duration
	maxBad string
	manual bool
	atOnce bool

	replace  bool
	deadline time.Duration
}

func (f *waveFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.waves, "wave", nil, "roll it out in waves, one for each of these: `[SELECTOR:]N|P%|SELECTOR` of the gateways that it changes")
	cmd.Flags().DurationVar(&f.bake, "bake", center.DefaultBake, "with --wave: how long a gateway runs it before it votes")
	cmd.Flags().StringVar(&f.maxBad, "max-bad", "0", "with --wave: so many bad votes are borne (`N|P%`)")
	cmd.Flags().BoolVar(&f.manual, "manual", false, "with --wave: votes open no wave, 'edge-cfg rollout promote' does")
	cmd.Flags().BoolVar(&f.atOnce, "at-once", false, "to all gateways of a fleet at once")
	cmd.Flags().BoolVar(&f.replace, "replace", false, "abort the rollout that is under way first")
	cmd.Flags().DurationVar(&f.deadline, "deadline", 0, "with --wave: halt it unless it is done by then (default never)")
}

// maxBake bounds how long a gateway may wait for its vote, and a rollout for its end.
const maxBake = 30 * 24 * time.Hour

// plan reads the flags; nil: there are no waves.
func (f *waveFlags) plan() (*center.RolloutPlan, error) {
	switch {
	case len(f.waves) > 0 && f.atOnce:
		return nil, cli.Usagef("--wave and --at-once exclude each other")
	case f.bake < 0 || f.bake > maxBake:
		return nil, cli.Usagef("--bake %s: expected 0s to %s", f.bake, maxBake)
	case f.deadline != 0 && (f.deadline < time.Second || f.deadline > maxBake):
		return nil, cli.Usagef("--deadline %s: expected 1s to %s", f.deadline, maxBake)
	case len(f.waves) == 0 && f.manual:
		return nil, cli.Usagef("--manual goes with --wave")
	case len(f.waves) == 0 && f.deadline != 0:
		return nil, cli.Usagef("--deadline goes with --wave")
	case len(f.waves) == 0:
		return nil, nil
	}
	p := &center.RolloutPlan{Bake: f.bake, Manual: f.manual, Deadline: f.deadline}
	for _, text := range f.waves {
		spec, err := rollout.ParseSpec(text)
		if err != nil {
			return nil, cli.Usagef("--wave: %v", err)
		}
		p.Waves = append(p.Waves, spec)
	}
	digits, share := strings.CutSuffix(f.maxBad, "%")
	most := int64(1_000_000)
	if share {
		most = 100
	}
	n, err := number.Int(digits, 0, most)
	if err != nil {
		return nil, cli.Usagef("--max-bad %s: expected a number of gateways, or a share such as 2%%", f.maxBad)
	}
	p.MaxBad = func(members int) int {
		if share {
			return members * int(n) / 100
		}
		return int(n)
	}
	return p, nil
}

// guard refuses a change of many gateways that nobody is asked about, unless the person has
// said how it is to reach them.
func (f *pushFlags) guard(gateways int) error {
	if !f.yes || f.dryRun || gateways < 2 || f.atOnce || len(f.waves) > 0 {
		return nil
	}
	return cli.Usagef("this changes %s: add --wave for each wave of a rollout, or --at-once if you mean it", words.Count(gateways, "gateway"))
}

// showPlan shows who would be in which wave.
func showPlan(out *cli.Output, w io.Writer, r *center.Rollout) {
	if r == nil {
		fmt.Fprintln(w, "it changes no gateway, so there is nothing to roll out in waves")
		return
	}
	for _, line := range out.Lines(func(t *cli.Table) { wavesTable(t, r) }) {
		fmt.Fprintln(w, line)
	}
	away := 0
	for _, wave := range r.Waves {
		away += wave.Members - wave.Counted
	}
	if away > 0 {
		fmt.Fprintln(w, words.Count(away, "gateway"), "not counted: offline now, or new in the fleet")
	}
}
