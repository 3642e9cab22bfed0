package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// Ability is something that a protocol does on demand: it probes a device, scans a line,
// browses a server. The commands run it over a connection of their own, the gateway over
// those of its drivers. An ability only reads.
type Ability struct {
	Help    string   // a paragraph for the command's help, without a line's end
	Example string   // lines for the command's help, each "  edge-ctl probe …"
	Options []Option // that it takes
	Columns []Column // of the table for people
	Import  []string // the columns of what edge-cfg imports; nil: nothing can be
	// Check refuses what no device could be asked, before any is. nil: nothing is.
	Check func(Args) error
	// Alone says why drivers must not use the line meanwhile, "" if they may. nil: they
	// may.
	Alone func(Args) string
	// Run asks. It hands on each item that it finds, and may hand on its progress as
	// often as it likes; an error of emit ends it. An error is of the way to the device,
	// of ctx or of emit; a device that refuses is a report.
	Run func(ctx context.Context, to Target, a Args, emit func(Event) error) (Report, error)
}

// Option is a flag of a command.
type Option struct {
	Name    string
	Type    string // for people: "string", "duration", "uint8"; "bool": a switch
	Default string // for people: what counts where the option is not given
	Usage   string
}

// Column is one of a table.
type Column struct {
	Name  string
	Right bool // aligned right, for numbers
	Keep  bool // stands below the row where the terminal has no room for it
}

// Args is what a person asked for.
type Args struct {
	Argument string            // where to begin, "" if that was not said
	Options  map[string]string // those that were given, by name; "true": a switch
}

// ArgsError says what is wrong with arguments or options: the person who gave them
// mends it.
type ArgsError struct{ Err error }

// Error implements error.
func (e *ArgsError) Error() string { return e.Err.Error() }

// Unwrap returns the reason, and its kind.
func (e *ArgsError) Unwrap() []error { return []error{e.Err, errkind.Invalid} }

// Argsf returns an [ArgsError].
func Argsf(format string, args ...any) error { return &ArgsError{fmt.Errorf(format, args...)} }

// Get returns an option, or preset where it was not given.
func (a Args) Get(name, preset string) string {
	if v, given := a.Options[name]; given {
		return v
	}
	return preset
}

// Target is what an ability asks.
type Target struct {
	// Item is the endpoint as the table has it. ID is its id in the gateway's, "" if
	// the device was named by a URL.
	Item config.Endpoint
	ID   string
	// Endpoint has the connections to what [Protocol.Transport] says, or to Item.
	Endpoint endpoint.Acquirer
	// Shared: drivers use the connections too, and wait while the device is asked.
	Shared bool
	// Drivers are those of the protocol at the endpoint, sorted by id; nil without a
	// gateway.
	Drivers []config.Driver
	// Dial opens another connection to the endpoint, with other options. nil where
	// drivers use the line.
	Dial func(ctx context.Context, opts map[string]string) (net.Conn, error)
	// Name is that of the client, for protocols that tell it.
	Name string
	// PKI is the directory of the trust list.
	PKI string
	// Secret and File are as those of [Host]. File may be nil.
	Secret func(reference, address string) (string, error)
	File   func(path string) error
}

// Event is what an ability hands on while it runs: an item, or progress.
type Event struct {
	Item     *Item
	Progress string // what is asked just now, for people
}

// Item is one thing that was found.
type Item struct {
	Cells    []string        // for people, under the ability's columns
	Document json.RawMessage // for programs: an object with stable names, nil where the report has one for all
	Import   []string        // under the ability's columns for it; nil: it can't be imported
}

// Report is what there is to say besides the items.
type Report struct {
	Document json.RawMessage // for programs: an object with stable names, in place of those of the items
	Steps    []Step          // on the way to the answer
	Facts    []Fact          // about the device, for people
	Hints    []string        // settings that would suit the device
	Failure  string          // why the answer is none; the command fails with it
}

// Step is one step on the way to an answer.
type Step struct {
	Name  string // "route", "tcp", "answer"
	Took  time.Duration
	Text  string
	Error string // where the way ended
}

// TrustList is a directory of certificates that people trust or don't.
type TrustList interface {
	List() ([]Certificate, error)
	// Find, Trust and Reject take the first digits of a thumbprint, or a file's name.
	Find(name string) (Certificate, error)
	Trust(name string) (Certificate, error)
	Reject(name string) (Certificate, error)
}

// Certificate is one of a device.
type Certificate struct {
	Thumbprint string    `json:"thumbprint"`
	Subject    string    `json:"subject"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Folder     string    `json:"folder,omitempty"`
	File       string    `json:"file,omitempty"`
}

// Document makes a document of v.
func Document(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// Milliseconds is how documents have a duration.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
