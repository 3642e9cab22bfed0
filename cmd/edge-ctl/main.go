// Command edge-ctl shows and steers a running gateway through its admin socket.
package main

import (
	"os"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func main() { os.Exit(cli.Main(newRoot(), envPrefix)) }
