// Command edge-cfg is the operators' tool for the tables: it checks them, and
// brings them to the config center and back.
package main

import (
	"os"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func main() { os.Exit(run()) }

// run is main without the exit, for the tests.
func run() int { return cli.Main(newRoot(), "EDGE_CFG") }
