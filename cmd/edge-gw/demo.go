package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/demo"
)

func newDemo() *cobra.Command {
	opts := demo.Options{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job: simulated PLCs → log → broker, nothing else needed",
		Long: `demo runs the gateway on embedded defaults: simulated PLCs with moving values, an
embedded MQTT broker, and a consumer that proves that nothing is missing. It
listens on loopback only, keeps its data in a temporary directory unless
--data-dir names one, and stops on Ctrl-C.`,
		Example: `  edge-gw demo
  edge-gw demo --plcs 50 --points 1000 --polling 100ms  # 500,000 values/s
  edge-gw demo --broker mqtt://127.0.0.1:1883           # your own broker
  edge-gw demo --duration 10s -o json | jq .            # a JSON line per event`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo.Run(cmd.Context(), cli.NewOutput(cmd), opts)
		},
	}
	f := cmd.Flags()
	f.IntVar(&opts.PLCs, "plcs", 2, "number of simulated PLCs (1–200)")
	f.IntVar(&opts.Points, "points", 100, "points per PLC (1–50000)")
	f.DurationVar(&opts.Polling, "polling", 500*time.Millisecond, "how often each point is read (10ms or more)")
	f.DurationVar(&opts.Duration, "duration", 0, "stop after this time; 0: on Ctrl-C")
	f.StringVar(&opts.DataDir, "data-dir", "", "keep the data here (default: a temporary directory)")
	f.StringVar(&opts.Broker, "broker", "", "deliver to this broker, such as mqtt://HOST:1883 (default: an embedded one)")
	cli.AddOutputFlag(cmd, cli.FormatTable, cli.FormatJSON)
	return cmd
}
