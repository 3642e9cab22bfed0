package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func newRetry() *cobra.Command {
	return &cobra.Command{
		Use:               "retry GATEWAY",
		Short:             "Ask a gateway that refused the commit in force to try it again",
		Example:           `  edge-cfg retry gw-001`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.First(completeGateways()),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				if err := s.Retry(ctx, args[0]); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is asked to try again; 'edge-cfg status' tells what comes of it\n", args[0])
				return nil
			})
		},
	}
}

func newForget() *cobra.Command {
	return &cobra.Command{
		Use:               "forget GATEWAY",
		Short:             "Remove a gateway that is gone for good, so that its gateway_id is free",
		Example:           `  edge-cfg forget gw-001`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.First(completeGateways()),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				if err := s.Forget(ctx, args[0]); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is forgotten\n", args[0])
				return nil
			})
		},
	}
}
