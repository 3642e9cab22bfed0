//go:build nobroker

package demo

import (
	"log/slog"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// broker stands for the one of the demo where none is built in, as in packages: a gateway
// in a plant has no use for it.
type broker struct{}

func startBroker(*slog.Logger) (*broker, error) {
	return nil, cli.Usagef("this edge-gw has no broker built in: name one with --broker, such as mqtt://127.0.0.1:1883, or build it from source")
}

// URL is of no broker.
func (*broker) URL() string { return "" }

// Close has nothing to end.
func (*broker) Close() error { return nil }
