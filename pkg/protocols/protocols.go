// Package protocols is the list of the protocols that are built in. A new one is one
// package below pkg/driver, its schema, and one line here.
package protocols

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/dyn"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/driver/opcua"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
)

// List is protocols, no two of one name.
type List []driver.Protocol

// Builtin returns those of this release.
func Builtin() List {
	return List{
		modbus.Protocol(),
		opcua.Protocol(),
		s7.Protocol(),
		dyn.Protocol(),
	}
}

// Find returns the protocol of that name that is built in.
func (l List) Find(name string) (driver.Protocol, bool) {
	return l.first(func(p driver.Protocol) bool { return p.Kind == "" && p.Name == name })
}

// For returns the protocol whose drivers an item of the drivers table asks for.
func (l List) For(item config.Driver) (driver.Protocol, bool) {
	if item.Kind == config.KindStatic {
		return l.Find(item.Proto)
	}
	return l.first(func(p driver.Protocol) bool { return p.Kind == item.Kind })
}

func (l List) first(is func(driver.Protocol) bool) (driver.Protocol, bool) {
	i := slices.IndexFunc(l, is)
	if i < 0 {
		return driver.Protocol{}, false
	}
	return l[i], true
}

// ForScheme returns the protocol that answers to URLs of a scheme ("tcp", "tls+tcp").
func (l List) ForScheme(scheme string) (driver.Protocol, bool) {
	layers := strings.Split(scheme, "+")
	for _, p := range l {
		if p.Kind == "" && !slices.ContainsFunc(layers, func(layer string) bool { return !slices.Contains(p.Schemes, layer) }) {
			return p, true
		}
	}
	return driver.Protocol{}, false
}

// Names are those of all that are built in.
func (l List) Names() []string {
	var names []string
	for _, p := range l {
		if p.Kind == "" {
			names = append(names, p.Name)
		}
	}
	return names
}

// Transport returns what is dialled for an item of the endpoints table: itself, or what
// the protocol that has its scheme says.
func (l List) Transport(item config.Endpoint) config.Endpoint {
	for _, p := range l {
		if p.Transport == nil {
			continue
		}
		if dialled, ok := p.Transport(item); ok {
			return dialled
		}
	}
	return item
}

// Factories makes the factory of each protocol that is built in, by name, and of each kind
// of drivers that isn't.
func (l List) Factories(h driver.Host) (map[string]driver.Factory, map[config.DriverKind]driver.Factory, error) {
	made, kinds := map[string]driver.Factory{}, map[config.DriverKind]driver.Factory{}
	for _, p := range l {
		if p.Kind != "" {
			f, err := p.New(h)
			if err != nil {
				return nil, nil, err
			}
			kinds[p.Kind] = f
			continue
		}
		if _, taken := made[p.Name]; taken {
			return nil, nil, fmt.Errorf("two drivers for protocol %s are built in", p.Name)
		}
		f, err := p.New(h)
		if err != nil {
			return nil, nil, err
		}
		made[p.Name] = f
	}
	return made, kinds, nil
}

// TrustList opens the trust list in a directory, nil if no protocol has one. All that
// have one share it.
func (l List) TrustList(dir string) driver.TrustList {
	for _, p := range l {
		if p.Trust != nil {
			return p.Trust(dir)
		}
	}
	return nil
}

// Span returns how many addresses a value of t takes where a protocol numbers them, 0
// where the variable says it.
func (l List) Span(t config.DataType) (n int) {
	for _, p := range l {
		if p.Span != nil {
			n = max(n, p.Span(t))
		}
	}
	return n
}
