package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
)

// WatchConfig prints each phase and outcome of an apply as it happens inside a
// gateway, a line each, until the command's context ends.
func WatchConfig(cmd *cobra.Command) error {
	out := NewOutput(cmd)
	return WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		err := c.Config.Watch(ctx, func(e admin.ConfigEvent) {
			err := out.PrintLine(e, func() string {
				return fmt.Sprintf("%s  rev %d  %-12s %s", e.Time.Local().Format("15:04:05.000"), e.Rev, e.State, e.Text)
			})
			if err != nil {
				cancel(err)
			}
		})
		if err == nil && cmd.Context().Err() == nil {
			err = context.Cause(ctx) // what PrintLine said, if it did
		}
		return err
	})
}
