package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	numbers "github.com/edge-gateway/edge-gateway/pkg/number"
)

// scanFound is a device that scan found.
type scanFound struct {
	Unit   uint8   `json:"unit"`
	Line   string  `json:"line"` // "19200 even", "network", or the gateway's endpoint
	TookMs float64 `json:"took_ms"`
	Answer string  `json:"answer"` // "value", or the exception
}

func newScan() *cobra.Command {
	var flags probeFlags
	var units string
	var lines bool
	cmd := &cobra.Command{
		Use:   "scan URL|ENDPOINT",
		Short: "Look for the Modbus devices on a line or behind an address",
		Long: `scan asks every unit id in turn and lists those that answer, be it with an
exception. It only reads. With --line-settings it tries the usual baud rates and
parities of a serial line, until one of them finds devices.

A line that the running gateway polls, or one that is named by its endpoint in the
gateway's tables, is scanned by the gateway, between polls, which keep half of the
line's time.`,
		Example: `  edge-ctl scan plc1 --units 1-16
  edge-ctl scan tcp://192.168.10.5:502 --units 1-16
  edge-ctl scan serial:///dev/ttyUSB0 --line-settings
  edge-ctl scan 'serial:///dev/ttyUSB0?baud=9600&parity=E' --timeout 300ms`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, endpointNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := flags.question()
			if err != nil {
				return err
			}
			ids, err := parseUnits(units)
			if err != nil {
				return err
			}
			own := ""
			if lines {
				own = "trying other line settings needs the line alone"
			}
			return withDevice(cmd, args[0], own, func(ctx context.Context, d device) error {
				d.tell(cmd)
				if d.client != nil {
					return scanShared(ctx, cmd, d, q, ids)
				}
				return scan(cmd, d.to, q, ids, lines)
			})
		},
	}
	flags.add(cmd, 200*time.Millisecond)
	addDirectFlag(cmd)
	cmd.Flags().StringVar(&units, "units", "1-247", "unit ids: 1-247, or a list such as 1,2,10-20")
	cmd.Flags().BoolVar(&lines, "line-settings", false, "on a serial line, try the usual baud rates and parities")
	cli.AddOutputFlag(cmd)
	return cmd
}

// parseUnits reads a list of numbers and ranges.
func parseUnits(list string) ([]uint8, error) {
	var ids []uint8
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		lo, err1 := numbers.Int(from, 0, math.MaxUint8)
		hi, err2 := numbers.Int(to, 0, math.MaxUint8)
		if err := cmp.Or(err1, err2); err != nil {
			return nil, cli.Usagef("--units %s: expected numbers from 0 to 255 and ranges, such as 1,2,10-20: %w", list, err)
		}
		if lo > hi {
			return nil, cli.Usagef("--units %s: %s ends before it begins", list, part)
		}
		for id := lo; id <= hi; id++ {
			ids = append(ids, uint8(id))
		}
	}
	return ids, nil
}

func scan(cmd *cobra.Command, to target, q modbus.Question, units []uint8, lineSettings bool) error {
	serial := to.url.Transport() == endpoint.Serial
	if lineSettings && !serial {
		return cli.Usagef("--line-settings is for serial:// only")
	}
	out := cli.NewOutput(cmd)
	progress := cli.IsTerminal(cmd.ErrOrStderr())
	found := []scanFound{}
	s := &modbus.Scanner{
		Open:     func(ctx context.Context, line modbus.Line) (net.Conn, error) { return openLine(ctx, to, line) },
		Endpoint: to.item, Lines: []modbus.Line{{}}, Units: units, Question: q,
		Found: func(f modbus.Found) {
			if nobody(f.Err) {
				return
			}
			d := scanFound{Unit: f.Unit, Line: f.Line.String(), TookMs: ms(f.Took), Answer: "value"}
			if f.Err != nil {
				d.Answer = f.Err.Error()
			}
			found = append(found, d)
		},
	}
	if lineSettings {
		s.Lines = modbus.Lines()
	} else if serial {
		s.Lines = []modbus.Line{asGiven(to)}
	}
	if progress {
		s.Progress = func(line modbus.Line, unit uint8) {
			cmd.PrintErrf("\r%s: unit %d, %d found \x1b[K", line, unit, len(found))
		}
	}
	err := s.Run(cmd.Context())
	if progress {
		cmd.PrintErr("\r\x1b[K")
	}
	if err != nil && len(found) == 0 {
		return err
	}
	return printFound(out, found, err)
}

// scanShared has the gateway scan.
func scanShared(ctx context.Context, cmd *cobra.Command, d device, q modbus.Question, units []uint8) error {
	progress := cli.IsTerminal(cmd.ErrOrStderr())
	found := []scanFound{}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.ScanModbusResponse], error) {
		return d.client.Endpoints.ScanModbus(ctx, &pb.ScanModbusRequest{Endpoint: d.owner.Id, Question: wireQuestion(q), Units: units})
	}
	err := admin.Receive(ctx, open, func(f *pb.ScanModbusResponse) error {
		if progress {
			cmd.PrintErrf("\runit %d, %d found \x1b[K", f.Unit, len(found))
		}
		if !f.Found {
			return nil
		}
		one := scanFound{Unit: uint8(f.Unit), Line: d.owner.Id, TookMs: ms(f.GetTook().AsDuration()), Answer: "value"}
		if f.Exception != "" {
			one.Answer = f.Exception
		}
		found = append(found, one)
		return nil
	})
	if progress {
		cmd.PrintErr("\r\x1b[K")
	}
	if err != nil && len(found) == 0 {
		return err
	}
	return printFound(cli.NewOutput(cmd), found, err)
}

// printFound prints what was found; err is why the scan ended early.
func printFound(out *cli.Output, found []scanFound, err error) error {
	if perr := out.Print(found, func(t *cli.Table) {
		t.Header("UNIT", "LINE", "TIME", "ANSWER")
		t.Keep("ANSWER")
		for _, d := range found {
			t.Cells(number(uint64(d.Unit)), text(d.Line), cli.Cell{Text: fmt.Sprintf("%.1f ms", d.TookMs), Right: true}, text(d.Answer))
		}
	}); err == nil {
		err = perr
	}
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no device answered; try a longer --timeout, another --framing, or --line-settings on a serial line")
	}
	return err
}

// nobody reports whether a Modbus gateway answered that there is no such device.
func nobody(err error) bool {
	var ex *modbus.Exception
	return errors.As(err, &ex) && (ex.Code == modbus.GatewayPath || ex.Code == modbus.GatewayTarget)
}

// asGiven is the setting that the URL itself asks for.
func asGiven(to target) modbus.Line {
	o := to.url.Options()
	parity := map[string]string{"N": "none", "E": "even", "O": "odd"}[o.Parity]
	return modbus.Line{Baud: o.Baud, Parity: parity}
}

// openLine dials to; on a serial line with other settings.
func openLine(ctx context.Context, to target, line modbus.Line) (net.Conn, error) {
	if line.Baud == 0 {
		return endpoint.Dial(ctx, to.url, endpoint.DialOptions{Secret: secret})
	}
	opts := maps.Clone(to.item.Opts)
	opts["baud"], opts["parity"] = strconv.Itoa(line.Baud), strings.ToUpper(line.Parity[:1])
	u, err := endpoint.FromTable(to.item.Scheme, to.item.Host, to.item.Port, opts)
	if err != nil {
		return nil, err
	}
	return endpoint.Dial(ctx, u, endpoint.DialOptions{Secret: secret})
}

// unitList formats unit ids for people.
func unitList(units []uint8) string {
	texts := make([]string, len(units))
	for i, u := range slices.Sorted(slices.Values(units)) {
		texts[i] = strconv.Itoa(int(u))
	}
	return strings.Join(texts, ", ")
}
