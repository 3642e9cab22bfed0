package main

import (
	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

func newProbe() *cobra.Command {
	return askCommand(driver.AbilityProbe, &cobra.Command{
		Use:   "probe URL|ENDPOINT",
		Short: "Ask a device once, with or without a gateway",
		Long: `probe dials URL, shows each stage with its time, reads once, and shows what the
answer may mean.

A device that the running gateway polls, or one that is named by its endpoint in
the gateway's tables, is asked by the gateway, between polls: many devices take one
connection only, and a serial line has one master. It only reads.`,
		Args: cobra.ExactArgs(1),
	}, cli.Formats()...)
}

func newScan() *cobra.Command {
	return askCommand(driver.AbilityScan, &cobra.Command{
		Use:   "scan URL|ENDPOINT",
		Short: "Look for the devices on a line or behind an address",
		Long: `scan lists the devices that answer on a line or behind an address. It only reads.

A line that the running gateway polls, or one that is named by its endpoint in the
gateway's tables, is scanned by the gateway, between polls, which keep half of the
line's time.`,
		Args: cobra.ExactArgs(1),
	}, cli.Formats()...)
}

func newBrowse() *cobra.Command {
	return askCommand(driver.AbilityBrowse, &cobra.Command{
		Use:   "browse URL|ENDPOINT [NODE]",
		Short: "List what a device has",
		Long: `browse lists what a device has, from NODE on.

With -o csv it writes what 'edge-cfg import FILE.csv --into DIR --driver ID' reads:
a line for each variable.`,
		Args: cobra.RangeArgs(1, 2),
	}, append(cli.Formats(), formatCSV)...)
}
