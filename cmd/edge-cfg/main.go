// Command edge-cfg is the operators' tool for the tables: it checks them, and
// brings them to the config center and back.
package main

import (
	"os"
	"runtime/debug"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// memoryGoal is what the garbage collector keeps the process below where it can: small
// gateways run edge-cfg next to the gateway, and a hundred thousand variables need
// about as much.
const memoryGoal = 240 << 20

func main() { os.Exit(run()) }

// run is main without the exit, for the tests.
func run() int {
	debug.SetMemoryLimit(memoryGoal)
	return cli.Main(newRoot(), envPrefix)
}
