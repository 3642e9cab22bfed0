// Command edge-bus looks at, replays and trims the log of frames of an edge
// gateway: through its admin socket, or in the log's directory when the gateway
// is stopped.
package main

import (
	"os"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func main() { os.Exit(cli.Main(newRoot(), envPrefix)) }
