package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func newCompact() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Make room in etcd: drop its history, defragment it, clear the alarm of a full one",
		Long: `compact drops etcd's history of all keys, gives the space back to the disk, one
server after the other, and clears the alarm of a full database. Releases stay: they
are keys, not history. A server does not answer while it is defragmented (about
100 MiB a second).

A gateway's embedded etcd does all that by itself. An etcd with passwords wants the
rights of root for it.`,
		Example: `  edge-cfg compact
  edge-cfg --endpoints etcd-1:2379,etcd-2:2379,etcd-3:2379 compact`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				var done []center.Compacted
				err := cli.During(cmd, "making room, one server after the other", func() (err error) {
					done, err = s.Compact(ctx)
					return cli.Interrupted(cmd, err, "the servers above are done: run it again for the others")
				})
				printErr := cli.NewOutput(cmd).Print(done, func(t *cli.Table) {
					for _, c := range done {
						t.Row(c.String())
					}
				})
				if err == nil {
					err = printErr
				}
				return err
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}
