package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func newEnroll() *cobra.Command {
	return newRoles(rolesCommand{
		use: "enroll NAME…", short: "Give gateways, or people, their rights in an etcd cluster",
		long: `enroll makes an etcd user for each name, with the role that it needs and no others, and
the roles of the prefix where they are missing. A user's name is the common name of its
TLS client certificate; a gateway's is its gateway_id. There are no passwords. It takes
root's rights, and doing it twice does no harm.

A gateway reads the commit, the releases, the documents and the rollouts of its prefix,
and all votes, and writes the keys of its own status and vote. A viewer reads the prefix
and its gateways' statuses, an operator writes them too.

--print writes the commands of etcdctl instead, and needs no connection.`,
		example: `  edge-cfg --cert root.crt --key root.key enroll lyon-01 lyon-02
  edge-cfg enroll --as operator ann
  edge-cfg --prefix /edge/ulm enroll --print ulm-01`,
		steps: center.EnrollSteps, do: (*center.Store).Enroll, done: "is enrolled as",
	})
}

func newRevoke() *cobra.Command {
	return newRoles(rolesCommand{
		use: "revoke NAME…", short: "Take the rights in an etcd cluster away again",
		long: `revoke removes the etcd users, and of gateways their roles and statuses. A gateway whose
certificate was stolen can't read or write anything new from then on; the watch that it
has open goes on until its connection ends. What it runs goes on.

--print writes the commands of etcdctl instead, and needs no connection.`,
		example: `  edge-cfg --cert root.crt --key root.key revoke lyon-01
  edge-cfg revoke --as viewer bob`,
		steps: center.RevokeSteps, do: (*center.Store).Revoke, done: "is revoked as",
	})
}

// rolesCommand is what differs between the two.
type rolesCommand struct {
	use, short, long, example, done string

	steps func(prefix string, kind center.Kind, names []string) ([]center.RoleStep, error)
	do    func(*center.Store, context.Context, center.Kind, []string) error
}

func newRoles(c rolesCommand) *cobra.Command {
	var as string
	var dry bool
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Example: c.example, Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: completeGateways(),
		RunE: func(cmd *cobra.Command, names []string) error {
			kind := center.Kind(as)
			steps, err := c.steps(prefixOf(cmd), kind, names)
			if err != nil {
				return cli.Usagef("%w", err)
			}
			if dry {
				for _, step := range steps {
					fmt.Fprintln(cmd.OutOrStdout(), step)
				}
				return nil
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				if err := c.do(s, ctx, kind, names); err != nil {
					return err
				}
				for _, name := range names {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s %s %s\n", name, c.done, as)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&as, "as", string(center.KindGateway), "what the names are: gateway, viewer or operator")
	cmd.Flags().BoolVar(&dry, "print", false, "write the commands of etcdctl, and do nothing")
	return cmd
}

// prefixOf returns the prefix that the flags or the context name, without looking for a
// store.
func prefixOf(cmd *cobra.Command) string {
	conn := storeFlags(cmd)
	if saved, err := savedConnection(cmd.Flags().Lookup("context").Value.String()); err == nil && len(conn.Endpoints) == 0 {
		conn = conn.complete(saved)
	}
	return conn.Prefix
}
