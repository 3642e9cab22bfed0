// Package connectors is the list of the kinds of connectors that are built in. A new one
// is one package below pkg/connector, its schema, and one line here.
package connectors

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/connector/mqtt"
)

// List is kinds of connectors, no two of one name.
type List []connector.Kind

// Builtin returns those of this release.
func Builtin() List {
	return List{
		mqtt.Kind(),
	}
}

// Find returns the kind of that name.
func (l List) Find(name string) (connector.Kind, bool) {
	i := slices.IndexFunc(l, func(k connector.Kind) bool { return k.Name == name })
	if i < 0 {
		return connector.Kind{}, false
	}
	return l[i], true
}

// Factories makes the factory of each kind, by name.
func (l List) Factories(reg prometheus.Registerer) (map[string]connector.Factory, error) {
	made := map[string]connector.Factory{}
	for _, k := range l {
		if _, taken := made[k.Name]; taken {
			return nil, fmt.Errorf("two connectors of kind %s are built in", k.Name)
		}
		f, err := k.New(reg)
		if err != nil {
			return nil, err
		}
		made[k.Name] = f
	}
	return made, nil
}
