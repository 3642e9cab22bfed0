// Package connector is the northbound contract: what delivers frames to the
// outside, and the [Manager] that runs the connectors of a configuration.
package connector

import (
	"context"
	"log/slog"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Source is the log as one connector sees it: its frames, its place and its own records.
// One goroutine reads; the other methods may be called from any.
type Source interface {
	// Name is the connector's name: "mqtt".
	Name() string
	// Epoch identifies the log: (gateway, epoch, seq) names a frame for ever.
	Epoch() string

	// Read waits until frames at the cursor are durable and returns at least one
	// and, unless the first batch alone is larger, at most maxFrames of them, in
	// order, as batches or parts of batches. It moves the cursor behind them. Ranges that were acknowledged out of
	// order are skipped. It returns ctx's error when that ends first. Frames that
	// the log had to drop appear as a jump in seq, told by a sys.gap frame.
	Read(ctx context.Context, maxFrames int) ([]*frame.Batch, error)
	// Fetch returns the frames first…last again, for a message that is sent
	// again. All of them must be pinned by a record or not yet acknowledged. Of
	// frames that a repair of the log took out, the error is a *bus.GoneError, and
	// those that are left are returned beside it.
	Fetch(first, last uint64) ([]*frame.Batch, error)
	// Seek sets the cursor: the next Read begins at seq.
	Seek(seq uint64)
	// Head returns the last durable seq: what Read could return by now.
	Head() uint64
	// Acked returns the consumer's position: every frame up to it is delivered.
	Acked() uint64

	// Records returns the consumer's records, sorted by key.
	Records() ([]bus.Record, error)
	// Commit changes records and position in one atomic step.
	Commit(bus.Commit) error
	// ParkedChanged has a token when somebody has asked for a parked message
	// (bus.Parked) to be sent, or has dropped one.
	ParkedChanged() <-chan struct{}
}

// Witness is implemented by consumers of a log that can be held to what a peer has seen
// of it. Storage may forget: a virtual machine put back to a snapshot goes on with
// numbers that it has used before.
type Witness interface {
	// Claim returns what the peer is to keep, now and then.
	Claim() bus.Seen
	// Witness holds the log to what the peer has kept; where names the peer. After
	// an error nothing may be sent: the connector is stopped, and goes on under a
	// new epoch.
	Witness(seen bus.Seen, where string) error
}

// Commander executes commands that come down from the outside.
type Commander interface {
	// Log writes cmd to the log, durably, before it returns.
	Log(ctx context.Context, cmd frame.Command) error
	// Execute writes the value through the tag's driver and waits for the
	// result. Whatever goes wrong is in the result.
	Execute(ctx context.Context, cmd frame.Command) frame.CommandResult
	// ReadBack reads the tag from the device, for a command whose result is not
	// known.
	ReadBack(ctx context.Context, tag string) (frame.Value, error)
}

// Factory makes the connectors of one kind.
type Factory interface {
	// Kind is the kind's name in the configuration: "mqtt5".
	Kind() string
	// New builds a connector without touching the network: it fails exactly if
	// the configuration cannot work, naming the field.
	New(name string, cfg map[string]any, deps Deps) (Connector, error)
}

// Deps are what a connector works with. All are set.
type Deps struct {
	Identity Identity
	Source   Source
	Commands Commander
	// Secret resolves a configuration value that may be a ${file:…} or
	// ${env:…} reference; called at each dial.
	Secret func(value string) (string, error)
	// ConfigRev returns the revision of the configuration that is applied now.
	ConfigRev func() uint64
	Log       *slog.Logger
}

// Identity names the gateway to the outside.
type Identity struct {
	Gateway, Tenant, Device string
	Version                 string
}

// Connector delivers frames. Methods other than Run may be called from any
// goroutine at any time.
type Connector interface {
	// Run connects and delivers until ctx ends, then gives what is in flight up
	// to two seconds to settle and returns nil; the rest is kept for the next
	// start. A peer that is away is no reason to return. It is called once.
	Run(ctx context.Context) error
	// Reconnect drops the connection, if any, and makes a new one at once.
	Reconnect()
	// SetPaused stops or continues delivery; the connection stays up.
	SetPaused(bool)
	// Status is a consistent copy.
	Status() Status
	// Test tries, beside the connection in use, every step that delivery needs,
	// and calls report after each. It ends with the first step that fails, which
	// is no error of its own.
	Test(ctx context.Context, report func(Step))
	// Replay sends frames that were sent before once more, marked as part of the
	// replay id so that nobody takes them for new ones, and waits until the peer
	// has them. It returns where they went. Without a connection it fails with
	// [ErrDown]. The consumer's position does not move.
	Replay(ctx context.Context, id string, batches []*frame.Batch) (where string, err error)
}

// Updater is implemented by connectors that can take over some changes of their
// configuration as they run.
type Updater interface {
	// Update takes cfg, which New accepts, over without a new connection. It
	// reports false, and has changed nothing, if what differs needs a new
	// connector.
	Update(cfg map[string]any) bool
}

// Replayer is a [Factory] whose connectors can replay without one that runs: with
// the gateway stopped, from its log.
type Replayer interface {
	// OpenReplay connects to the peer that cfg names, beside the connector's own
	// session there, which it leaves alone. epoch is the log's. Of deps,
	// Source and Commands are not set.
	OpenReplay(ctx context.Context, name string, cfg map[string]any, epoch string, deps Deps) (Replay, error)
}

// Replay is a connection for replays alone.
type Replay interface {
	// Replay is as that of a [Connector].
	Replay(ctx context.Context, id string, batches []*frame.Batch) (where string, err error)
	// Close ends the connection.
	Close()
}

// ErrDown is returned by what needs a connection when there is none.
var ErrDown = errkind.New(errkind.Unavailable, "not connected")

// Step is one step of a connector's test.
type Step struct {
	Name string // "name", "tcp", "tls", "connect", "publish", …
	Err  error  // why it failed, in words a person can act on; nil: it did not
	Text string // what was found
	Took time.Duration
}

// States are the states that a connector can be in.
func States() []string { return []string{"connecting", "up", "down", "paused", "fault", "stopped"} }

// Status describes a connector.
type Status struct {
	State       string    // of States; "connecting" until a first attempt has ended
	Since       time.Time // of State; attempts that fail leave it
	Error       string    // why it is not up, in words a person can act on
	NextAttempt time.Time // when it tries again; zero: it is up, or at it
	Peer        string    // the address in use
	Reconnects  uint64
	Inflight    int // messages sent and not settled

	OutBytes    uint64 // payload bytes accepted by the peer
	OutMessages uint64
	OutFrames   uint64
	Resent      uint64 // messages sent again
	Refused     uint64 // messages the peer refused

	BatchFramesP50, BatchFramesP95 float64
	RTTAvgMs, RTTP95Ms             float64
}
