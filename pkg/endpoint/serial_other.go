//go:build !linux

package endpoint

import "fmt"

// openSerial needs Linux's way with terminals.
func openSerial(device string, _ Options) (Conn, error) {
	return nil, fmt.Errorf("open %s: %w on this operating system", device, ErrUnsupportedScheme)
}
