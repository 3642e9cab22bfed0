// Package driver is the southbound contract: what a protocol driver must do, and
// the [Manager] that runs the drivers of a configuration.
//
// A driver owns the conversation with one device (one unit of one endpoint). It polls its
// points, hands raw values to its [point.Table], which makes frames of them, and
// publishes one batch per answer of the device. It knows nothing of connectors or of the
// configuration center.
//
// # What drivers share
//
// A protocol's package holds what is peculiar to the protocol. These parts are common:
// [Account] keeps the driver's status, its figures, and why tags are bad. [Jobs] is the
// bounded queue of writes and of reads on demand, and [Turn] the one of them that the
// goroutine which polls is doing. [Plans] holds the newest plan and wakes that goroutine.
// [Teller] bounds what is logged of tags. [Series] holds the metrics of a protocol and
// deletes those of a driver that has ended. A driver that implements [Asker] answers a
// probe or a scan over its own connection, between polls.
package driver

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// Errors that callers tell apart. Drivers wrap the first four, the [Manager] adds
// the others.
var (
	// ErrUnknownTag means that no driver, or not this one, has the tag.
	ErrUnknownTag = errkind.New(errkind.NotFound, "unknown tag")
	// ErrAccess means that the configuration does not allow it: writing a tag
	// whose access is R or whose driver has writing switched off, reading one
	// whose access is W.
	ErrAccess = errkind.New(errkind.Denied, "access denied")
	// ErrOutcomeUnknown means that a write may or may not have been executed, and
	// that nobody can tell: it was sent, and the answer was lost. It must not be
	// repeated blindly. Every other error of Write means that the device has not
	// executed it, or holds another value.
	ErrOutcomeUnknown = errkind.New(errkind.OutcomeUnknown, "outcome unknown")
	// ErrNotRunning means that Run has not begun or has ended.
	ErrNotRunning = errkind.New(errkind.Unavailable, "driver is not running")

	ErrUnknownDriver = errkind.New(errkind.NotFound, "unknown driver")
	ErrPaused        = errkind.New(errkind.Conflict, "driver is paused")
	ErrUnsupported   = errors.New("driver is not supported")
	ErrClosed        = errkind.New(errkind.Unavailable, "the gateway is shutting down")
	// ErrStuck means that a driver did not end in time after it was told to.
	ErrStuck = errors.New("driver does not stop")
)

// Publisher takes batches into the gateway's log. Publish may block while the
// log exerts back-pressure, until ctx ends; after nil the batch is the log's and
// must not be changed. An error other than ctx's means that the gateway can
// accept nothing more (closed, or the disk failed).
type Publisher interface {
	Publish(ctx context.Context, b *frame.Batch) error
}

// Factory makes the drivers of one protocol. It is built once, by the
// composition root, and owns what its drivers share, such as metrics.
type Factory interface {
	// Proto is the protocol's name in the drivers table.
	Proto() string
	// New builds a driver without touching the network or the disk: it fails
	// exactly if the configuration cannot work. Its errors name the field.
	New(cfg Config, deps Deps) (Driver, error)
}

// Config is what one driver is to do.
type Config struct {
	ID       string
	Item     config.Driver
	Endpoint config.Endpoint // what Item.EndpointID names; some defaults depend on it
	Points   *point.Table    // the driver's variables, compiled
}

// Deps are what a driver works with. All are set.
type Deps struct {
	Endpoint endpoint.Acquirer
	Out      Publisher
	Log      *slog.Logger
}

// Driver is one running conversation. Methods other than Run may be called from
// any goroutine, before, during and after Run, unless stated.
type Driver interface {
	// Run connects, polls and publishes until ctx ends, then finishes or
	// abandons the request in flight, within a second, and returns nil. It makes
	// its first poll at once. A device that is away is no reason to return: Run
	// keeps trying with back-off and reports through Status. Run returns an error
	// only if it cannot go on at all. It is called once. Metric series with the
	// driver's id exist only while Run runs.
	//
	// A panic in Run is contained by the [Manager]. Goroutines that Run starts
	// must not let one escape, and have all ended when Run returns.
	Run(ctx context.Context) error

	// Update replaces the points. The connection and the poll phase stay, and no
	// sample of an unchanged point is lost. It does not wait for the device. An
	// error leaves the old points.
	Update(points *point.Table) error

	// Write writes one point and waits for the result. Writes go ahead of polls.
	// It is sent once, unless the configuration allows more. It fails with
	// [ErrUnknownTag], [ErrAccess], [ErrNotRunning], [ErrOutcomeUnknown], the
	// errors of [point.Table.Invert], or what the device or the connection says.
	Write(ctx context.Context, w Write) (WriteResult, error)

	// Read reads one point from the device now, past the poll plan. The value
	// is not published. It fails as Write does.
	Read(ctx context.Context, tag string) (Reading, error)

	// Status is a consistent copy, cheap enough to call every second.
	Status() Status
}

// Write asks for a value, in engineering units, to be written to a tag.
type Write struct {
	Tag   string
	Value frame.Value
}

// WriteResult is what became of a [Write].
type WriteResult struct {
	ReadBack frame.Value // engineering units; none when the driver doesn't verify
	TS       int64       // when the device confirmed it, Unix nanoseconds
	Note     string      // how it is known, or what was odd; "": the device confirmed it as it should
}

// Reading is one value read on demand.
type Reading struct {
	Raw     []byte // as the device sent it
	Value   frame.Value
	Quality frame.Quality
	TS      int64 // Unix nanoseconds
}

// State is what a driver is doing.
type State string

// The states.
const (
	Stopped  State = "stopped"  // Run has not begun, or has returned
	Starting State = "starting" // no poll has been answered yet
	Running  State = "running"  // polls are answered
	Fault    State = "fault"    // the device does not answer; probing with back-off
	Paused   State = "paused"   // by an operator or by back-pressure
)

// Status describes a driver.
type Status struct {
	State     State
	Since     time.Time // of State
	Error     string    // the last error, "" if the last poll was good
	Polls     uint64    // requests answered
	Errors    uint64    // requests failed
	Retries   uint64    // requests repeated
	Cycles    uint64    // poll cycles that were due
	Overruns  uint64    // of these, skipped since the one before was not done
	FirstRead time.Time // of the first good answer; zero until then
	LastRead  time.Time // of the last good answer; zero until then

	LastError   string    // as Error, and kept when polls are good again
	LastErrorAt time.Time // zero: there was none
	LatencyP50  time.Duration
	LatencyP99  time.Duration // of the last answers; zero: not known
	LastMinute  Recent

	Advice string // the setting that would help, where the driver knows it better than its counters tell
}

// Recent counts what happened in the last minute.
type Recent struct {
	Cycles, Overruns       uint64
	Polls, Errors, Retries uint64
}

// Reason is why a tag is bad.
type Reason struct {
	Text  string    // what the device did or said, alike for all that is alike; "": nothing is known
	Hint  string    // what may mend it
	Since time.Time // when it was found out
}

// Reasoner is implemented by drivers that know why tags are bad. Device is why all
// of them are, empty if the device answers; tags has those that are bad on their
// own. The map is the caller's.
type Reasoner interface {
	Reasons() (device Reason, tags map[string]Reason)
}

// Diagnoser is implemented by drivers that can find out more about their device
// than polling shows. Diagnose asks the device, between polls.
type Diagnoser interface {
	Diagnose(ctx context.Context) ([]Fact, error)
}

// Asker is implemented by drivers whose device has few connections: Ask runs an ability of
// the protocol over theirs, between polls. It fails with [errors.ErrUnsupported] for one
// that needs a connection of its own.
type Asker interface {
	Ask(ctx context.Context, ability string, a Args, emit func(Event) error) (Report, error)
}

// Fact is one line of a diagnosis.
type Fact struct{ Name, Value string }

// Addresser is implemented by drivers that resolve addresses. Address returns
// where tag is in the device, as its protocol counts ("holding 0"), for people;
// "" if the driver does not have it.
type Addresser interface {
	Address(tag string) string
}
