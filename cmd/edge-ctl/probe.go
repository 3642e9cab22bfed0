package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// target is a device's URL as the endpoint kit and the driver want it.
type target struct {
	url  endpoint.URL
	item config.Endpoint
}

func parseTarget(text string) (target, error) {
	u, err := endpoint.Parse(text)
	if err != nil {
		return target{}, cli.Usagef("%s: %w", config.MaskUser(text), err)
	}
	t := target{url: u}
	t.item.Scheme, t.item.Host, t.item.Port, t.item.Opts = u.Table()
	return t, nil
}

// secret resolves references in a URL given by hand: from the environment only.
func secret(reference string) (string, error) {
	name, env := strings.CutPrefix(strings.TrimSuffix(reference, "}"), "${env:")
	if !env {
		return "", fmt.Errorf("%s: on the command line only ${env:NAME} is possible", reference)
	}
	v, ok := os.LookupEnv(name)
	if !ok {
		return "", fmt.Errorf("environment variable %s is not set", name)
	}
	return v, nil
}

// probeFlags are the flags that probe and scan share.
type probeFlags struct {
	framing string
	read    string
	timeout time.Duration
}

func (f *probeFlags) add(cmd *cobra.Command, timeout time.Duration) {
	cmd.Flags().StringVar(&f.framing, "framing", "", "tcp, rtu or ascii (default: what suits the URL)")
	cmd.Flags().StringVar(&f.read, "read", "40001", "what to read: ADDR, ADDR:LEN, or TYPE:ADDR:LEN with holding, input, coil, discrete")
	cmd.Flags().DurationVar(&f.timeout, "timeout", timeout, "how long to wait for an answer")
}

func (f *probeFlags) question() (modbus.Question, error) {
	q, err := modbus.ParseQuestion(f.read)
	if err != nil {
		return q, cli.Usagef("--read %w", err)
	}
	switch f.framing {
	case "", string(modbus.FramingTCP), string(modbus.FramingRTU), string(modbus.FramingASCII):
		q.Framing = modbus.Framing(f.framing)
	default:
		return q, cli.Usagef("--framing %s: expected tcp, rtu or ascii", f.framing)
	}
	q.Timeout = f.timeout
	return q, nil
}

// probeResult is what probe prints.
type probeResult struct {
	URL       string         `json:"url"`
	Unit      uint8          `json:"unit"`
	Function  string         `json:"function"`
	Addr      uint16         `json:"addr"` // zero-based, of the first item read
	Count     uint16         `json:"count"`
	ConnectMs float64        `json:"connect_ms"`
	TookMs    float64        `json:"took_ms"`
	Data      string         `json:"data,omitempty"` // hex, in the order of the line
	Error     string         `json:"error,omitempty"`
	Readings  []probeReading `json:"readings"`
	Endpoint  string         `json:"endpoint,omitempty"` // of the gateway that asked
	Stages    []stage        `json:"stages"`
	Hints     []string       `json:"hints,omitempty"` // settings that would suit the device
}

// probeReading is one way to read the data.
type probeReading struct {
	Addr  uint16          `json:"addr"`
	Type  string          `json:"type"`
	Order string          `json:"byte_order"`
	Value json.RawMessage `json:"value"`
	Scale string          `json:"scale,omitempty"`

	text string
}

func newProbe() *cobra.Command {
	var flags probeFlags
	var unit uint8
	var expect float64
	cmd := &cobra.Command{
		Use:   "probe URL|ENDPOINT",
		Short: "Ask a device once, with or without a gateway",
		Long: `probe dials URL, shows each stage with its time, reads once, and shows every way in
which the answer can be read. With --expect, the value on the device's display, it
finds the data type, byte order, scale and address that give it.

A device that the running gateway polls, or one that is named by its endpoint in
the gateway's tables, is asked by the gateway, between polls: many devices take one
connection only, and a serial line has one master. It only reads.

Of an OPC UA server (opc.tcp://HOST:PORT) it shows the endpoints, security policies,
certificate and state; the flags for Modbus mean nothing there.`,
		Example: `  edge-ctl probe tcp://192.168.10.5:502 --read 40001:2
  edge-ctl probe plc1 --unit 3 --read 40001
  edge-ctl probe tcp://192.168.10.5:502 --unit 3 --read input:0:4
  edge-ctl probe opc.tcp://192.168.10.20:4840
  edge-ctl probe 'serial:///dev/ttyUSB0?baud=19200&parity=E' \
    --read 40011:4 --expect 231.4`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, endpointNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isOPCUA(args[0]) {
				return probeServer(cmd, args[0])
			}
			q, err := flags.question()
			if err != nil {
				return err
			}
			expected := cmd.Flags().Changed("expect")
			q.Unit, q.Around = unit, expected
			return withDevice(cmd, args[0], "", func(ctx context.Context, d device) error {
				if d.client != nil && !cmd.Flags().Changed("timeout") {
					q.Timeout = 0 // the driver's: its polls wait meanwhile
				}
				return showProbe(ctx, cmd, d, q, expected, expect)
			})
		},
	}
	flags.add(cmd, 2*time.Second)
	addDirectFlag(cmd)
	addPKIFlag(cmd)
	cmd.Flags().Uint8Var(&unit, "unit", 1, "unit id (1–247; 0 or 255 for a device that is alone on the network)")
	cmd.Flags().Float64Var(&expect, "expect", 0, "the value that the device displays: find out how to read it")
	cli.AddOutputFlag(cmd)
	return cmd
}

// showProbe asks d and prints the stages, for people, and what the answer may mean.
func showProbe(ctx context.Context, cmd *cobra.Command, d device, q modbus.Question, expected bool, expect float64) error {
	d.tell(cmd)
	a, stages, err := d.probe(ctx, q)
	if err == nil {
		s := stage{Name: "answer", Ms: ms(a.Took), Text: fmt.Sprintf("% x", a.Data)}
		if a.Err != nil {
			s.Error = a.Err.Error()
		}
		stages = append(stages, s)
	}
	for _, s := range stages {
		cmd.PrintErrln(s.line())
	}
	for _, h := range a.Hints {
		cmd.PrintErrln("hint: " + h)
	}
	if err != nil {
		return err
	}
	out := describe(a, d, q, expected, expect)
	out.Stages = append(out.Stages, stages...)
	if err := cli.NewOutput(cmd).Print(out, func(t *cli.Table) { probeTable(t, out) }); err != nil {
		return err
	}
	switch {
	case a.Err != nil:
		return cli.Exit(cli.Failed, fmt.Errorf("unit %d: %w", q.Unit, a.Err))
	case expected && len(out.Readings) == 0:
		return cli.Exit(cli.Failed, fmt.Errorf("no way of reading %d gives %v; try --read with more registers, or another address", a.Addr, expect))
	}
	return nil
}

func describe(a modbus.Answer, d device, q modbus.Question, expected bool, expect float64) probeResult {
	r := probeResult{
		URL: d.to.url.String(), Endpoint: d.owner.GetId(), Stages: []stage{}, Unit: q.Unit, Function: q.Func.String(), Addr: a.Addr, Count: a.Count,
		ConnectMs: ms(a.Connect), TookMs: ms(a.Took), Data: hex.EncodeToString(a.Data), Readings: []probeReading{}, Hints: a.Hints,
	}
	if a.Err != nil {
		r.Error = a.Err.Error()
		return r
	}
	if q.Func == modbus.FuncReadCoils || q.Func == modbus.FuncReadDiscrete {
		for i := range int(a.Count) {
			on := a.Data[i/8]>>(i%8)&1 != 0
			r.Readings = append(r.Readings, probeReading{Addr: a.Addr + uint16(i), Type: "bool", Value: json.RawMessage(fmt.Sprint(on)), text: fmt.Sprint(on)})
		}
		return r
	}
	ways := modbus.Interpret(a.Addr, a.Data)
	if expected {
		ways = modbus.Rank(ways, expect, q.Addr)
	}
	const most = 20 // of ranked ways: those behind are guesses
	for i, w := range ways {
		if expected && i == most {
			break
		}
		if w.Value.IsNone() {
			continue
		}
		r.Readings = append(r.Readings, probeReading{
			Addr: w.Addr, Type: string(w.Type), Order: w.Order.String(), Value: w.Value.AppendJSON(nil), Scale: w.Scale, text: w.Value.String(),
		})
	}
	return r
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func probeTable(t *cli.Table, r probeResult) {
	if len(r.Readings) == 0 {
		return // the command ends with why
	}
	t.Header("ADDR", "TYPE", "ORDER", "VALUE", "SCALE")
	for _, w := range r.Readings {
		t.Cells(cli.Cell{Text: fmt.Sprint(w.Addr), Right: true}, text(w.Type), text(w.Order), cli.Cell{Text: w.text, Right: true}, text(w.Scale))
	}
}
