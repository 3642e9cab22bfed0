package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Driver is what a driver is to the gateway.
type Driver struct {
	Name    string // of the driver, such as "ethernetip"
	Version string // of the driver, such as "1.2.0"
	// Protocols are the names that proto may have in the drivers table. Empty: any.
	Protocols []string
	// Settings is a JSON Schema (draft 7) of cfg, without the keys that belong to the
	// gateway (polling, timeout, retry, backoff_max, enable_write). "": cfg has no others.
	Settings string
	// Address is a JSON Schema (draft 7) of a variable's address. "": any is taken.
	Address string
	// Check finds what is wrong beyond the schemas, if anything can be. It connects to
	// nothing, and may be called at any time.
	Check func(Config, []Point) []Finding
	// Open connects to the device.
	Open func(context.Context, Config) (Device, error)
	// Writes says that the devices are [Writer]s.
	Writes bool
	// Diagnoses says that the devices are [Diagnoser]s.
	Diagnoses bool
}

// Device is a connection to a device.
type Device interface {
	// Poll reads the points of a group and sets their values. An error says that the
	// device is away; the values don't count then.
	Poll(ctx context.Context, g *Group) error
	// Close gives the connection up.
	Close() error
}

// Writer is a [Device] that can be written to.
type Writer interface {
	// Write writes a value, which fits the point's data type. It returns what the device
	// holds afterwards, or the zero Value if it did not look. A write that was sent, and
	// whose answer was lost, fails with [ErrOutcomeUnknown]: it may have been executed.
	Write(ctx context.Context, p Point, v Value) (Value, error)
}

// Diagnoser is a [Device] that can find out more than polling shows.
type Diagnoser interface {
	Diagnose(ctx context.Context) ([]Fact, error)
}

// Adviser is a [Device] that knows of a setting that would help. Advice must not wait for
// the device; it may be called at any time.
type Adviser interface {
	Advice() string
}

// Config is what a driver works with.
type Config struct {
	ID       string          // of the driver in the drivers table
	Settings json.RawMessage // cfg without the keys of the gateway; it satisfies the schema
	Endpoint Endpoint
	Log      *slog.Logger
}

// Endpoint is the item of the endpoints table.
type Endpoint struct {
	Scheme string // "tcp"
	Host   string
	Port   uint16
	Opts   map[string]string
}

// Point is a variable.
type Point struct {
	Tag string
	// Address is what the variable has as address.plugin or, without that, its whole
	// address. It satisfies the schema.
	Address  json.RawMessage
	Datatype string // as in the variables table: "uint16", "float32", "string" …
	Readable bool
	Writable bool
}

// AddressText returns an address that is a text, "" if it is none.
func (p *Point) AddressText() string {
	var text string
	if err := json.Unmarshal(p.Address, &text); err != nil {
		return ""
	}
	return text
}

// Group is points that are read together, and what comes of it.
type Group struct {
	Points []Point
	// Plan is the driver's own: what it works out once for these points. It is nil in the
	// first Poll of a group. When the variables change, there are new groups.
	Plan any

	values  []Value
	reasons []string
	bad     []byte
}

// Set sets the value of point i. A point that is neither set nor failed has no value.
func (g *Group) Set(i int, v Value) { g.values[i] = v }

// Doubt sets a value that is uncertain, and why.
func (g *Group) Doubt(i int, v Value, why string) {
	g.values[i] = v
	g.judge(i, qualityUncertain, why)
}

// Fail says why point i could not be read, although the device answers.
func (g *Group) Fail(i int, why string) {
	g.values[i] = Value{}
	g.judge(i, qualityBad, why)
}

func (g *Group) judge(i int, quality byte, why string) {
	if g.bad == nil {
		g.bad, g.reasons = make([]byte, len(g.Points)), make([]string, len(g.Points))
	}
	g.bad[i], g.reasons[i] = quality, why
}

// Finding is something that is wrong with a configuration.
type Finding struct {
	Text    string
	Tag     string // the variable; "": the driver's item
	Path    string // the key that is wrong, with dots, such as "cfg.slot" or "address"
	Warning bool   // it works, and is likely not meant
}

// Fact is one line of a diagnosis.
type Fact struct{ Name, Value string }

// ErrOutcomeUnknown is wrapped by the error of a write that may have been executed.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// lostError is an error after which the connection is of no use.
type lostError struct{ error }

// Unwrap implements errors.
func (e lostError) Unwrap() error { return e.error }

// Lost marks the error of a write after which the connection is of no use: the gateway
// closes the device and opens it again. (After an error of Poll it does so in any case.)
func Lost(err error) error { return lostError{err} }

// hinted is an error that comes with advice.
type hinted struct {
	error
	hint string
}

// Unwrap implements errors.
func (e hinted) Unwrap() error { return e.error }

// Hint adds to an error what may mend it, for people.
func Hint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}
