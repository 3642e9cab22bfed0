package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// NewVersion is the command that prints the version of a program that needs no gateway.
func NewVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), cmd.Root().Name(), version.String())
			return err
		},
	}
}
