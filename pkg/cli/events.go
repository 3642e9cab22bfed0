package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// WatchConfig prints each phase and outcome of an apply as it happens inside a
// gateway, a line each, until the command's context ends.
func WatchConfig(cmd *cobra.Command) error {
	out := NewOutput(cmd)
	return WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
		open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchConfigResponse], error) {
			return c.Config.WatchConfig(ctx, &pb.WatchConfigRequest{})
		}
		return admin.Receive(ctx, open, func(e *pb.WatchConfigResponse) error {
			return out.PrintLine(e, func() string {
				return fmt.Sprintf("%s  rev %d  %-12s %s", moment.Clock(admin.Time(e.Time)), e.Rev, e.State, e.Text)
			})
		})
	})
}
