// Package driverpb is the generated contract between the gateway and a driver in a process
// of its own (schemas/driver/v1), and what the handshake before it needs.
package driverpb

// Version is that of the contract, and of the protocol in go-plugin's handshake.
const Version = 1

// CookieKey and CookieValue tell a driver that a gateway has started it, and not a person.
// They are no secret.
const (
	CookieKey   = "EDGE_GW_DRIVER"
	CookieValue = "c1f8e9a0-driver-of-edge-gw"
)

// PluginName is the name of the driver among go-plugin's plugins.
const PluginName = "driver"

// MaxMessage is the size of the largest message that a driver must take, in bytes.
const MaxMessage = 64 << 20
