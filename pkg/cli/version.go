package cli

import (
	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// NewVersion is the command that prints the version of a program that needs no gateway.
func NewVersion(program string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  " + program + " version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Name    string `json:"name"`
				Version string `json:"version"`
			}{program, version.String()}
			return NewOutput(cmd).Print(v, func(t *Table) { t.Row(v.Name + " " + v.Version) })
		},
	}
	AddOutputFlag(cmd)
	return cmd
}
