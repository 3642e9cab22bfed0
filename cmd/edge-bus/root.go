package main

import (
	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

const envPrefix = "EDGE_BUS"

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "edge-bus",
		Short: "Look at, replay and trim the log of frames of an edge gateway",
		Long: `edge-bus works on the log of frames: of a running gateway through its admin
socket, or, when the gateway is stopped, on the log's directory (--wal-dir). A
directory that a running gateway uses is refused.

Flags are also read from the environment: --wal-dir from EDGE_BUS_WAL_DIR.
Exit codes: 0 success, 1 failed, 2 gateway unreachable, 64 wrong usage.`,
		Example: `  edge-bus stats --watch
  edge-bus tail --tag 'plant.*'
  edge-bus replay --from -15m --tag 'plant.*' -o csv
  edge-bus at 'oven.*' 14:03
  edge-bus gc --keep-bytes 512M --dry-run
  edge-bus --wal-dir /var/lib/edge-gw/log check`,
	}
	cli.AddColorFlag(root)
	cli.AddQuietFlag(root)
	cli.AddSocketFlag(root)
	root.PersistentFlags().String("wal-dir", "", "directory of the log of a stopped gateway (bus.wal_dir; default: log in its data_dir)")
	if err := root.MarkPersistentFlagDirname("wal-dir"); err != nil {
		panic(err) // the flag was added above
	}
	root.AddCommand(newStats(), newTail(), newConsumers(), newParked(), newFlush(), newGC(), newCheck(), newReplay(), newAt(), newDelivered(), newExport(), newImport(), newVerify(), newAudit(), cli.NewVersion("edge-bus"))
	return root
}
