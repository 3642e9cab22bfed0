package main

import (
	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

const envPrefix = "EDGE_CFG"

// newRoot assembles the commands; each has a file of its own.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "edge-cfg",
		Short: "Check the tables of a gateway and manage them in the config center",
		Long: `edge-cfg checks the tables that gateways work by (endpoints.yml, drivers.yml,
variables.yml and settings.yml), and brings them to the config center and back.

It finds the config center by --endpoints, else by the context in use, else as the
one that is embedded in a gateway on this machine (./data, /var/lib/edge-gw).

Exit codes: 0 success, 1 an error in the tables, 2 etcd unreachable or refused,
3 somebody else changed them meanwhile, 4 committed but not applied everywhere
(unless --no-wait), 5 differs (diff --exit-code), 6 a rollout halted and returned,
64 wrong usage.`,
		Example: `  edge-cfg lint ./config
  edge-cfg diff ./config
  edge-cfg push ./config -m "press 4: flow meter replaced"
  edge-cfg rollback variables --to previous`,
	}
	cli.AddColorFlag(root)
	cli.AddQuietFlag(root)
	addStoreFlags(root)
	root.AddCommand(newLint(), newRender(), newPush(), newDiff(), newPull(), newShow(), newLog(), newStatus(), newWatch(), newRollback(),
		newSet(), newRollout(), newGet(), newRetry(), newForget(), newEnroll(), newRevoke(), newKey(), newDoctor(), newCompact(), newContext(), newImport(), newExport(), newGen(), cli.NewVersion("edge-cfg"))
	return root
}
