package endpoint

import (
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// NormalizedURL is what decides whether two endpoints may share connections:
// schemes sorted weak to strong with the implied transport and without framing,
// the host in one spelling, options sorted, in one spelling, without those that
// are at their default; no credentials. It compares with ==.
type NormalizedURL struct {
	schemes stack
	host    string
	port    uint16
	query   string
}

// Normalize returns the normalised form of a valid URL.
func (u URL) Normalize() NormalizedURL {
	n := NormalizedURL{schemes: u.schemes.normalized(), host: u.host, port: u.port}
	switch {
	case u.schemes.network():
		n.host = normalHost(u.host)
	case u.schemes.base() == Serial && strings.HasPrefix(u.host, "/"):
		n.host = path.Clean(u.host)
	default:
		n.host = strings.ToLower(u.host)
	}
	if u.query == "" {
		return n
	}
	def := defaults(&u.schemes)
	params := u.Query()
	kept := params[:0]
	for _, p := range params {
		o := findOption(p.Name)
		if v := o.canonical(&u.options); v != o.canonical(&def) {
			kept = append(kept, Param{p.Name, v})
		}
	}
	slices.SortFunc(kept, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	n.query = joinQuery(kept)
	return n
}

// SameDevice reports whether two URLs lead to the same host and port, or serial
// device, whatever their layers, options and credentials.
func SameDevice(a, b URL) bool {
	x, y := a.Normalize(), b.Normalize()
	if a.Transport() == Serial && b.Transport() == Serial {
		return resolveDevice(x.host) == resolveDevice(y.host)
	}
	return a.Transport() == b.Transport() && x.host == y.host && x.port == y.port
}

// Schemes returns the layers from weak to strong: tcp, tls.
func (n NormalizedURL) Schemes() []Scheme { return slices.Clone(n.schemes.list()) }

// Host is in lower case, an address in its shortest form.
func (n NormalizedURL) Host() string { return n.host }

// Port is 0 where there is none.
func (n NormalizedURL) Port() uint16 { return n.port }

// Query lists the options that aren't at their default, sorted by name.
func (n NormalizedURL) Query() []Param { return URL{query: n.query}.Query() }

// String is a URL (schemes outermost first) that normalises to n.
func (n NormalizedURL) String() string {
	u := URL{host: n.host, port: n.port, query: n.query}
	list := n.schemes.list()
	for i, s := range list {
		u.schemes[len(list)-1-i] = s
	}
	return u.text("")
}

// normalHost is the one spelling of a network's host.
func normalHost(host string) string {
	if c := host[0]; c >= '0' && c <= '9' || strings.IndexByte(host, ':') >= 0 {
		if a, err := netip.ParseAddr(host); err == nil {
			return a.Unmap().String()
		}
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func joinHostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
