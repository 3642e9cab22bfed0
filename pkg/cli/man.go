//go:build man

package cli

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// addMan gives root the hidden command that writes its manual pages. Only scripts/package
// builds it in: the library that it needs is of no use to a gateway.
func addMan(root *cobra.Command) {
	root.AddCommand(&cobra.Command{
		Use: "man DIR", Short: "Write the manual pages into DIR", Hidden: true,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root.DisableAutoGenTag = true // pages of one version are equal
			if c, _, err := root.Find([]string{"completion"}); err == nil {
				c.Hidden = true // the packages bring its output
			}
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "edge-gateway", Manual: "edge-gateway"}, args[0])
		},
	})
}
