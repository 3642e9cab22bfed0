package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// sample is the gateway at one moment.
type sample struct {
	at         time.Time
	status     *pb.GetStatusResponse
	drivers    []*pb.Driver
	connectors []*pb.Connector
	bus        *pb.GetBusStatsResponse
}

// MarshalJSON writes what the other commands print, together.
func (s sample) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Time       time.Time               `json:"time"`
		Status     *pb.GetStatusResponse   `json:"status"`
		Bus        *pb.GetBusStatsResponse `json:"bus"`
		Connectors []*pb.Connector         `json:"connectors"`
		Drivers    []*pb.Driver            `json:"drivers"`
	}{s.at, s.status, s.bus, s.connectors, s.drivers})
}

func takeSample(ctx context.Context, c *admin.Client) (s sample, err error) {
	s.at = time.Now()
	if s.status, err = c.Status.GetStatus(ctx, &pb.GetStatusRequest{}); err != nil {
		return s, err
	}
	if s.drivers, err = drivers(ctx, c); err != nil {
		return s, err
	}
	if s.connectors, err = connectors(ctx, c); err != nil {
		return s, err
	}
	s.bus, err = c.Bus.Stats(ctx)
	return s, err
}

func newTop() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show poll rates, latency, backlog and faults, live, until q or Ctrl-C",
		Long: `top refreshes in place on a terminal. Rates cover the time since the last picture.
Without a terminal, one picture follows the other. With -o json each is a line of
counters, without rates.

Keys:
` + topKeys() + `
top waits for a gateway that goes away.`,
		Example: `  edge-ctl top
  edge-ctl top --interval 5s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			interval, err := cmd.Flags().GetDuration("interval")
			if err != nil {
				return err
			}
			if interval < 100*time.Millisecond {
				return cli.Usagef("--interval %v: expected 100ms or more", interval)
			}
			var before sample
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				out := cli.NewOutput(cmd)
				if in, ok := cmd.InOrStdin().(*os.File); ok && cli.IsTerminal(in) && out.Interactive() {
					return out.Interact(ctx, in, interval, &topView{client: c})
				}
				return out.Watch(ctx, interval, func(out *cli.Output) error {
					now, err := takeSample(ctx, c)
					if err != nil {
						return err
					}
					defer func() { before = now }()
					if out.Format != cli.FormatTable {
						return out.PrintLine(now, nil)
					}
					return printTop(out, before, now)
				})
			})
		},
	}
	cmd.Flags().Duration("interval", time.Second, "how often (100ms or more)")
	cli.AddOutputFlag(cmd)
	return cmd
}

func printTop(out *cli.Output, before, now sample) error {
	perSecond := perSecondOf(before, now)
	sections := []func(*cli.Table){
		func(t *cli.Table) {
			topHead(t, before, now, perSecond)
			topProblems(t, now.status.Problems, len(now.status.Problems))
		},
		func(t *cli.Table) { topConnectors(t, before, now, perSecond) },
		func(t *cli.Table) { topDrivers(t, before, now, perSecond) },
	}
	for i, s := range sections {
		if i > 0 {
			if _, err := fmt.Fprintln(out.Writer()); err != nil {
				return err
			}
		}
		if err := out.Print(nil, s); err != nil {
			return err
		}
	}
	return nil
}

// perSecondOf returns how a counter's rate between two samples is shown.
func perSecondOf(before, now sample) func(was, is uint64) string {
	return func(was, is uint64) string {
		if before.at.IsZero() || is < was {
			return "-" // the first picture, or a counter that began anew
		}
		return cli.Count(uint64(float64(is-was) / now.at.Sub(before.at).Seconds()))
	}
}

func topHead(t *cli.Table, before, now sample, perSecond func(was, is uint64) string) {
	st, b := now.status, now.bus
	t.Cells(cli.Cell{Text: st.Gateway, Color: cli.Bold}, stateCell(st.State),
		text(fmt.Sprintf("up %s   config rev %d %s   %s", cli.Ago(admin.Time(st.Started), now.at), st.ConfigRev, st.ConfigState, words.Count(len(st.Problems), "problem"))))
	log := cli.Bytes(b.WalBytes)
	if b.WalMaxBytes > 0 {
		log += fmt.Sprintf(" (%.0f%%)", 100*float64(b.WalBytes)/float64(b.WalMaxBytes))
	}
	pressure := cli.Cell{Text: "flowing", Color: cli.Green}
	if b.Paused || b.DiskFull {
		pressure = cli.Cell{Text: "paused", Color: cli.Red}
	}
	t.Cells(cli.Cell{Text: "bus", Color: cli.Bold}, pressure,
		text(fmt.Sprintf("%s frames/s   log %s   not durable yet %d   seq %d", perSecond(before.bus.GetLastSeq(), b.LastSeq), log, b.LastSeq-min(b.DurableSeq, b.LastSeq), b.LastSeq)))
}

// topProblems lists at most n problems.
func topProblems(t *cli.Table, problems []*pb.Problem, n int) {
	for i, p := range problems {
		if i == n-1 && len(problems) > n {
			t.Row("…", "", fmt.Sprintf("%d more: edge-ctl status", len(problems)-i))
			return
		}
		t.Cells(cli.Cell{Text: p.Part, Color: cli.Red}, cli.Cell{Text: p.Name, Color: cli.Red}, text(p.Text))
	}
}

func topConnectors(t *cli.Table, before, now sample, perSecond func(was, is uint64) string) {
	was := map[string]*pb.Connector{}
	for _, c := range before.connectors {
		was[c.Name] = c
	}
	right := func(s string) cli.Cell { return cli.Cell{Text: s, Right: true} }
	// What matters most comes first: a narrow terminal cuts the last columns.
	t.Header("CONNECTOR", "STATE", "FRAMES/S", "LAG", "RTT P95", "BYTES/S", "MSG/S", "INFLIGHT", "PEER")
	for _, c := range now.connectors {
		w := was[c.Name]
		t.Cells(text(c.Name), stateCell(c.State), right(perSecond(w.GetOutFrames(), c.OutFrames)), right(cli.Count(c.Lag)),
			right(fmt.Sprintf("%.1f ms", c.RttP95Ms)), right(perSecond(w.GetOutBytes(), c.OutBytes)), right(perSecond(w.GetOutMessages(), c.OutMessages)),
			count(c.Inflight), text(c.Peer))
	}
}

func topDrivers(t *cli.Table, before, now sample, perSecond func(was, is uint64) string) {
	was := map[string]*pb.Driver{}
	for _, d := range before.drivers {
		was[d.Id] = d
	}
	right := func(s string) cli.Cell { return cli.Cell{Text: s, Right: true} }
	t.Header("DRIVER", "STATE", "POLLS/S", "ERRORS/S", "BAD", "P50", "P99", "OVERRUNS", "LAST READ", "POINTS", "ERROR")
	t.Keep("ERROR")
	for _, d := range now.drivers {
		w := was[d.Id]
		t.Cells(text(d.Id), stateCell(d.State), right(perSecond(w.GetPolls(), d.Polls)), right(perSecond(w.GetErrors(), d.Errors)),
			badCell(d), latencyCell(d.LatencyP50Ms), latencyCell(d.LatencyP99Ms), number(d.Overruns), ago(d.LastRead), count(d.Points), text(d.Error))
	}
}
