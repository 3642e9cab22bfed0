package endpoint

import "context"

// Guard says what of this machine and its network endpoints may use. A person who writes
// endpoints need not have the rights of the process that dials them. Its methods may be
// called from any goroutine.
type Guard interface {
	// Target returns where to connect for an address, "host:port" or the path of a
	// device, which u or its backup names.
	Target(ctx context.Context, u URL, address string) (string, error)
	// File returns why the file that an option names is not read.
	File(path string) error
	// Secret resolves a reference such as ${file:NAME} for a dial to an address. Its
	// errors must not hold the secret.
	Secret(reference, address string) (string, error)
}

// Network reports whether the endpoint is reached over a network, and not a device.
func (u *URL) Network() bool { return u.schemes.network() }

// Address returns what is dialled, without a backup: "host:port" on a network, else
// the path of the device.
func (u *URL) Address() string {
	if u.Network() {
		return joinHostPort(u.host, u.port)
	}
	return u.host
}
