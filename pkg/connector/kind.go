package connector

import "github.com/prometheus/client_golang/prometheus"

// Kind is all that the program knows of a kind of connectors: its package exports one,
// and it stands in one list, package connectors. The gateway makes connectors of it,
// edge-bus replays with it, lint checks their settings with it.
//
// Its settings stand in the schema schemas/connectors/NAME.schema.json.
type Kind struct {
	// Name is the kind's in the configuration: "mqtt5".
	Name string
	// New makes the factory, once for each process.
	New func(prometheus.Registerer) (Factory, error)
	// Check finds what is wrong with settings that satisfy the schema, all of a
	// connector's or those that the tables have. found takes the path of the setting, the
	// rule that it breaks, and what is wrong. nil: nothing more can be.
	Check func(settings map[string]any, found func(path []string, rule, message string))
}
