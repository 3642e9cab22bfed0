package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
)

// completionTimeout bounds how long a shell waits for completions.
const completionTimeout = time.Second

// Complete returns a function that completes the first argument from the live gateway.
// Without a gateway there are no completions.
func Complete(envPrefix string, names func(context.Context, *admin.Client) ([]string, error)) cobra.CompletionFunc {
	return First(CompleteEach(envPrefix, names))
}

// CompleteEach is [Complete] for every argument, and for the value of a flag.
func CompleteEach(envPrefix string, names func(context.Context, *admin.Client) ([]string, error)) cobra.CompletionFunc {
	return Completing(envPrefix, func(ctx context.Context, cmd *cobra.Command) (list []string, err error) {
		err = withGateway(ctx, cmd, func(ctx context.Context, c *admin.Client) (err error) {
			list, err = names(ctx, c)
			return err
		})
		return list, err
	})
}

// Completing returns a function that completes with what names finds while the shell
// waits. A tab behind a name begins what the shell shows beside it.
func Completing(envPrefix string, names func(context.Context, *cobra.Command) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		var list []string
		err := bindEnv(cmd, envPrefix) // the hooks of a run do not run here
		if err == nil {
			list, err = names(ctx, cmd)
		}
		if err != nil {
			cobra.CompErrorln(err.Error())
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// First has complete complete the first argument only.
func First(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, part)
	}
}

// CompleteFlag has complete complete the values of a flag that cmd has.
func CompleteFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // no such flag, or it has one already
	}
}
