package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

const envPrefix = "EDGE_CTL"

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "edge-ctl",
		Short: "Show and steer a running edge gateway",
		Long: `edge-ctl shows what a running gateway does, reads and writes tags, and helps to
find faults. It talks to the gateway's admin socket; probe, scan, browse, pki and
sim need no gateway.

Flags are also read from the environment: --socket from EDGE_CTL_SOCKET.
Exit codes: 0 success, 1 failed, 2 gateway unreachable, 7 a write was sent and
nobody can tell whether the device executed it, 64 wrong usage.`,
		Example: `  edge-ctl status
  edge-ctl why press.temp
  edge-ctl tags 'plant.*' --watch
  edge-ctl write plant.setpoint 42.5
  edge-ctl connector mqtt stats
  edge-ctl --socket ./data/admin.sock top`,
	}
	cli.AddColorFlag(root)
	cli.AddQuietFlag(root)
	cli.AddSocketFlag(root)
	root.AddCommand(
		newStatus(), newWhy(), newEndpoints(), newDrivers(), newTags(), newRead(), newWrite(), newConnector(), newBus(),
		newConfig(), newLog(), newTrace(), newTop(), newBundle(), newProfile(), newProbe(), newScan(), newBrowse(), newPKI(), newSim(),
		newVersion(),
	)
	return root
}

// done is the output of a command that changed something and has nothing more to say.
type done struct {
	Name string `json:"name"` // of the driver or connector
	Done string `json:"done"` // "paused"
}

// tell says it to people on standard error, and to programs on standard output.
func (d done) tell(cmd *cobra.Command, what string) error {
	out := cli.NewOutput(cmd)
	if out.Format == cli.FormatTable {
		cmd.PrintErrf("%s %s %s\n", what, d.Name, d.Done)
		return nil
	}
	return out.Print(d, nil)
}

// asked shows that the gateway is at work, and says where a signal ends the wait that it
// may go on with it.
func asked(cmd *cobra.Command, what string, do func() error) error {
	return cli.During(cmd, what, func() error {
		return cli.Interrupted(cmd, do(), "the gateway was asked, and did not say yet what came of it; 'edge-ctl status' shows how it stands")
	})
}

// stateCell shows a state in the colour that it deserves.
func stateCell(state string) cli.Cell {
	color := cli.Plain
	switch state {
	case "running", "up", "applied":
		color = cli.Green
	case "fault", "down", "failed", "rejected", "rolled_back":
		color = cli.Red
	case "paused", "starting", "connecting", "pinned", "applying", "stopping":
		color = cli.Yellow
	}
	return cli.Cell{Text: state, Color: color}
}

func number(n uint64) cli.Cell { return cli.Cell{Text: fmt.Sprint(n), Right: true} }

func count(n uint32) cli.Cell { return cli.Cell{Text: fmt.Sprint(n), Right: true} }

func text(s string) cli.Cell { return cli.Cell{Text: s} }

func ago(t *timestamppb.Timestamp) cli.Cell { return cli.Cell{Text: since(t), Right: true} }

// since says how long ago t was.
func since(t *timestamppb.Timestamp) string { return cli.Ago(admin.Time(t), time.Now()) }

// The lists that a gateway has of its parts; empty ones are not nil, so that JSON has
// them as [].

func endpoints(ctx context.Context, c *admin.Client) ([]*pb.Endpoint, error) {
	r, err := c.Endpoints.ListEndpoints(ctx, &pb.ListEndpointsRequest{})
	return append([]*pb.Endpoint{}, r.GetEndpoints()...), err
}

func drivers(ctx context.Context, c *admin.Client) ([]*pb.Driver, error) {
	r, err := c.Drivers.ListDrivers(ctx, &pb.ListDriversRequest{})
	return append([]*pb.Driver{}, r.GetDrivers()...), err
}

func connectors(ctx context.Context, c *admin.Client) ([]*pb.Connector, error) {
	r, err := c.Connectors.ListConnectors(ctx, &pb.ListConnectorsRequest{})
	return append([]*pb.Connector{}, r.GetConnectors()...), err
}

// driverNames and the others list names for completion.
func driverNames(ctx context.Context, c *admin.Client) ([]string, error) {
	list, err := drivers(ctx, c)
	return names(list, (*pb.Driver).GetId), err
}

func endpointNames(ctx context.Context, c *admin.Client) ([]string, error) {
	list, err := endpoints(ctx, c)
	return names(list, (*pb.Endpoint).GetId), err
}

func connectorNames(ctx context.Context, c *admin.Client) ([]string, error) {
	list, err := connectors(ctx, c)
	return names(list, (*pb.Connector).GetName), err
}

func tagNames(ctx context.Context, c *admin.Client) ([]string, error) {
	list, err := c.Tags.List(ctx, "")
	return names(list, (*pb.Tag).GetName), err
}

func names[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = name(t)
	}
	return out
}
