package cli

import (
	"context"
	"time"

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

// completionTimeout bounds how long a shell waits for completions.
const completionTimeout = time.Second

// Complete returns a function that completes the first argument from the live
// gateway. Without a gateway there are no completions.
func Complete(envPrefix string, names func(context.Context, *admin.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		var list []string
		err := bindEnv(cmd, envPrefix) // the hooks of a run do not run here
		if err == nil {
			err = withGateway(ctx, cmd, func(ctx context.Context, c *admin.Client) (err error) {
				list, err = names(ctx, c)
				return err
			})
		}
		if err != nil {
			cobra.CompErrorln(err.Error())
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}
