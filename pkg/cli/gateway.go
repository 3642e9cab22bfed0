package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
)

// AddSocketFlag gives cmd and all commands below it the flag --socket.
func AddSocketFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().String("socket", "", "admin socket of the gateway (default: "+joinOr(admin.DefaultSockets())+")")
	if err := cmd.MarkPersistentFlagFilename("socket", "sock"); err != nil {
		panic(err) // the flag was added above
	}
}

// joinOr lists alternatives: "a or b".
func joinOr(list []string) string {
	text := list[0]
	for _, s := range list[1:] {
		text += " or " + s
	}
	return text
}

// WithGateway connects to the gateway that --socket names, or to the one that is
// found, and runs use.
func WithGateway(cmd *cobra.Command, use func(context.Context, *admin.Client) error) error {
	return withGateway(cmd.Context(), cmd, use)
}

// Dial connects to the gateway that --socket names, or to the one that is found.
func Dial(cmd *cobra.Command) (*admin.Client, error) { return dial(cmd.Context(), cmd) }

func dial(ctx context.Context, cmd *cobra.Command) (*admin.Client, error) {
	socket, err := cmd.Flags().GetString("socket")
	if err != nil {
		return nil, err
	}
	var client *admin.Client
	err = During(cmd, "waiting for the gateway", func() (err error) {
		client, err = admin.Dial(ctx, socket)
		return Interrupted(cmd, err, "the gateway did not answer yet, and nothing was done")
	})
	return client, err
}

func withGateway(ctx context.Context, cmd *cobra.Command, use func(context.Context, *admin.Client) error) error {
	client, err := dial(ctx, cmd)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // every call has had its answer
	return use(ctx, client)
}
