package driver

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Protocol is all that the program knows of a protocol: its package exports one, and
// it stands in one list, package protocols. The gateway makes the drivers of it, lint
// checks tables with it, the commands name and generate with it.
//
// Its settings stand in the schema schemas/drivers/NAME.schema.json, to which
// schemas/drivers.schema.json refers; its addresses in that of the variables.
//
// A protocol may be one that is asked (its drivers poll), or one whose devices tell by
// themselves (its drivers subscribe): [Driver] says nothing of when a driver publishes.
// What a running driver can do on demand it says by what it implements: [Addresser],
// [Reasoner], [Diagnoser]; what can be done without one stands here. A driver in another
// process is made by a [Factory] that starts it.
type Protocol struct {
	// Name is the protocol's in the drivers table; of one that isn't static, the name of
	// its kind, since its drivers say which protocols they speak.
	Name string
	// Kind is that of its drivers; "": static.
	Kind config.DriverKind
	// Schemes are those of the URLs that the protocol answers to on a command line, and
	// each layer of a URL ("tls+tcp") must be one. Where several protocols answer, the
	// first of the list does.
	Schemes []string
	// Transport says what is dialled for an endpoint of a scheme that only this
	// protocol has (opc.tcp), and whether it is one. nil: it has none, and uses those
	// of the gateway.
	Transport func(config.Endpoint) (config.Endpoint, bool)
	// New makes the factory, once for each process.
	New func(Host) (Factory, error)
	// Check finds what is wrong with one driver, its endpoint and its variables. The
	// tables' schemas are satisfied. nil: nothing more can be.
	Check func(*Setup, Findings)
	// CheckAll finds what is wrong between the drivers of the protocol. nil: nothing.
	CheckAll func([]Setup, Findings)
	// Span is how many addresses a value takes, for tables that are generated. 0 if
	// the variable says it. nil: one.
	Span func(config.DataType) int

	// What can be done on demand; nil: it can't.
	Probe    *Ability // ask one device once
	Scan     *Ability // look for devices
	Browse   *Ability // list what a device has
	Simulate *Simulation
	Import   *Import                    // read what engineering tools export
	Trust    func(dir string) TrustList // of certificates
}

// The names of abilities, as commands and the admin API have them.
const (
	AbilityProbe  = "probe"
	AbilityScan   = "scan"
	AbilityBrowse = "browse"
)

// Ability returns the ability of that name, nil if the protocol has none.
func (p *Protocol) Ability(name string) *Ability {
	return map[string]*Ability{AbilityProbe: p.Probe, AbilityScan: p.Scan, AbilityBrowse: p.Browse}[name]
}

// Host is what the process offers to the protocols in it. All is set.
type Host struct {
	Registerer prometheus.Registerer
	GatewayID  string
	DataDir    string // a protocol keeps its files in a directory of its own there
	// Secret resolves a reference such as ${file:name} for a connection to an address
	// (host:port), if the gateway's policy lets it go there.
	Secret func(reference, address string) (string, error)
	// File returns why a file that an endpoint names may not be read.
	File func(path string) error
	// DriversDir is where drivers that aren't built in are installed, and DriverMemory is
	// the memory that each may have, in bytes.
	DriversDir   string
	DriverMemory int64
}

// Setup is a driver with what it works on, as the tables say.
type Setup struct {
	ID        string
	Item      config.Driver
	Endpoint  *config.Endpoint  // nil if it has none that is valid
	Variables []config.Variable // sorted by tag
}

// Findings takes what a check finds. path leads to the field of the item, and may be
// empty. An error is what can't work, a warning what works and is likely not meant.
// Rules are explained in docs/tables.md.
type Findings interface {
	Errorf(t config.Table, id string, path []string, rule, format string, args ...any)
	Warnf(t config.Table, id string, path []string, rule, format string, args ...any)
}
