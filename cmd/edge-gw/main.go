// Command edge-gw is the gateway: it polls devices, logs what it reads, and
// delivers it to a broker.
package main

import (
	"os"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func main() {
	os.Exit(cli.Main(newRoot(), "EDGE_GW"))
}
