package bus_test

import (
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
)

var _ connector.Source = (*bus.Reader)(nil)
