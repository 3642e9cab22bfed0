package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// gatewayStatus is a gateway as it is listed.
type gatewayStatus struct {
	Gateway string       `json:"gateway"`
	Rev     int64        `json:"rev"` // that runs
	SHA256  string       `json:"sha256"`
	State   center.State `json:"state"`
	Target  int64        `json:"target,omitempty"` // that was tried last
	Error   string       `json:"error"`
	Version string       `json:"version"`
	Host    string       `json:"host"`
	Since   time.Time    `json:"since"`
	// Its place in a rollout, from 1, and what it found of the change: ok, bad, "" for nothing yet.
	Wave    int     `json:"wave,omitempty"`
	Verdict string  `json:"verdict,omitempty"`
	Behind  *uint64 `json:"behind,omitempty"` // by so many releases; left out where what runs is none that is kept
}

func statusOf(g center.Gateway) gatewayStatus {
	state, since := g.Shown()
	return gatewayStatus{Gateway: g.Gateway, Rev: g.Rev, SHA256: g.SHA256, State: state, Target: g.Target, Error: g.Error,
		Version: g.Version, Host: g.Host, Since: since, Wave: g.Wave, Verdict: g.Verdict}
}

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List every gateway that ever registered: what it runs, and why not what is in force",
		Example: `  edge-cfg status
  edge-cfg status -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				gateways, err := s.Gateways(ctx)
				if err != nil {
					return err
				}
				log, err := s.Log(ctx, center.DefaultKeepReleases)
				if err != nil && !errors.Is(err, center.ErrDamaged) { // the gateways' own words count all the same
					return err
				}
				list := make([]gatewayStatus, len(gateways))
				for i, g := range gateways {
					list[i] = statusOf(g)
					list[i].Behind = behind(g, log)
				}
				out := cli.NewOutput(cmd)
				if len(log) > 0 && log[0].Rollout != "" && out.Format == cli.FormatTable {
					r, err := s.Rollout(ctx)
					if err != nil {
						return err
					}
					fmt.Fprintln(out.Writer(), r.Text())
				}
				return out.Print(list, func(t *cli.Table) { statusTable(t, list) })
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

// behind returns by how many of the releases, the newest first, a gateway is behind; nil
// if what it runs is none of them.
func behind(g center.Gateway, log []center.Commit) *uint64 {
	for _, c := range log {
		if c.SHA256 == g.SHA256 || c.Fleet() && c.Rev == g.Rev { // each gateway of a fleet has its own document
			n := log[0].Release - c.Release
			return &n
		}
	}
	return nil
}

func statusTable(t *cli.Table, list []gatewayStatus) {
	t.Header("GATEWAY", "STATE", "FOR", "REV", "BEHIND", "SHA256", "VERSION", "HOST", "ERROR")
	t.Keep("ERROR")
	for _, g := range list {
		by := "?"
		if g.Behind != nil {
			by = fmt.Sprint(*g.Behind)
		}
		t.Cells(cli.Cell{Text: g.Gateway}, stateCell(g.State), cli.Cell{Text: cli.Ago(g.Since, time.Now())}, cli.Cell{Text: fmt.Sprint(g.Rev), Right: true}, cli.Cell{Text: by, Right: true},
			cli.Cell{Text: g.SHA256[:min(len(g.SHA256), 12)], Color: cli.Faint}, cli.Cell{Text: g.Version}, cli.Cell{Text: g.Host}, cli.Cell{Text: cli.OneLine(g.Error)})
	}
}

func stateCell(s center.State) cli.Cell {
	color := cli.Red
	switch s {
	case center.Applied:
		color = cli.Green
	case center.Applying, center.Waiting, center.Offline:
		color = cli.Yellow
	}
	return cli.Cell{Text: string(s), Color: color}
}

// waitApplied waits until the gateways of whom run c, telling on standard error what
// they report, and names those that are not there.
func waitApplied(ctx context.Context, cmd *cobra.Command, s *center.Store, c center.Commit, whom center.Whom, timeout time.Duration) ([]gatewayStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last, told := map[string]gatewayStatus{}, map[string]string{}
	p := cli.NewProgress(cmd, fmt.Sprintf("waiting until rev %d runs", c.Rev))
	defer p.Done()
	err := s.WaitApplied(ctx, c, whom, func(g center.Gateway) {
		st := statusOf(g)
		last[g.Gateway] = st
		if g.Tried != c.ID && g.Target < c.Rev && g.Online {
			return // what it says of an earlier commit would be taken for news of this one
		}
		text := st.String()
		if !g.Online {
			text = fmt.Sprintf("%s: offline for %s, takes it when it is back", g.Gateway, cli.Ago(st.Since, time.Now()))
			if done, ok := g.Settled(c); done && ok {
				text = fmt.Sprintf("%s: applied, runs rev %d, and went offline", g.Gateway, g.Rev)
			}
		}
		p.Set(waitText(last, c))
		if told[g.Gateway] != text {
			told[g.Gateway] = text
			fmt.Fprintln(cmd.ErrOrStderr(), cli.Printable(text))
		}
	})
	if err != nil && cmd.Context().Err() != nil { // the commit stays: the exit code too
		err = fmt.Errorf("interrupted: %w; 'edge-cfg status' shows what becomes of it", err)
	}
	if len(last) == 0 && err == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "no gateway has registered yet; there is nothing to wait for")
	}
	return sorted(last), err
}

// waitText sums up a wait for c: how many run it, and who comes next.
func waitText(all map[string]gatewayStatus, c center.Commit) string {
	var open []string
	for _, g := range sorted(all) {
		if g.SHA256 != c.SHA256 && !(c.Fleet() && g.Rev == c.Rev) {
			open = append(open, g.Gateway)
		}
	}
	text := fmt.Sprintf("%d of %d gateways", len(all)-len(open), len(all))
	if n := len(open); n > 3 {
		open = append(open[:3], fmt.Sprintf("%d more", n-3))
	}
	if len(open) > 0 {
		text += ", not yet " + strings.Join(open, ", ")
	}
	return text
}

// String tells a status in a line.
func (g gatewayStatus) String() string {
	text := fmt.Sprintf("%s: %s, runs rev %d", g.Gateway, g.State, g.Rev)
	if g.Error != "" {
		text += ": " + g.Error
	}
	return text
}

// sorted lists what was gathered, by name.
func sorted(by map[string]gatewayStatus) []gatewayStatus {
	list := make([]gatewayStatus, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		list = append(list, by[name])
	}
	return list
}
