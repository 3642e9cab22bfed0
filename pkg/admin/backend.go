package admin

import (
	"context"
	"io"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Backend is what the server serves. Parts may be nil. All methods may be called
// from many goroutines at once and honour their context.
//
// Errors that a caller should tell apart wrap one of this package's sentinels,
// such as [ErrNotFound].
//
// A callback named emit never blocks: it drops when the client is slow, so that
// it may be called from where nothing may wait. It must not be called after the
// method has returned. A callback named send blocks while the client is slow and
// returns an error when the method should give up.
type Backend struct {
	Status      StatusBackend
	Endpoints   EndpointBackend
	Drivers     DriverBackend
	Tags        TagBackend
	Bus         BusBackend
	Connectors  ConnectorBackend
	Config      ConfigBackend
	Diagnostics DiagnosticsBackend
}

// StatusBackend says what the gateway is.
type StatusBackend interface {
	Info(ctx context.Context) (Info, error)
}

// EndpointBackend shows the endpoints and asks over them.
type EndpointBackend interface {
	// List returns the endpoints, sorted by id.
	List(ctx context.Context) ([]Endpoint, error)
	// ProbeModbus asks one question over the endpoint's own connection, between
	// polls. It only reads. A device that refuses or is silent is an answer.
	ProbeModbus(ctx context.Context, endpoint string, q ModbusQuestion) (ModbusAnswer, error)
	// ScanModbus asks the units in turn, as ProbeModbus does, and calls send after
	// each. Polls have half of the line's time.
	ScanModbus(ctx context.Context, endpoint string, q ModbusQuestion, units []uint8, send func(ModbusFound) error) error
}

// DriverBackend shows and steers the drivers.
type DriverBackend interface {
	// List returns the drivers, sorted by id.
	List(ctx context.Context) ([]Driver, error)
	// Pause stops polling until Resume; the driver stays up.
	Pause(ctx context.Context, id string) error
	Resume(ctx context.Context, id string) error
	// Restart stops the driver and starts it anew.
	Restart(ctx context.Context, id string) error
	// Diagnose collects what helps to find a fault, asking the device too.
	Diagnose(ctx context.Context, id string) ([]Fact, error)
}

// TagBackend shows, reads and writes tags.
type TagBackend interface {
	// Tags returns every tag with its last value, sorted by name. The caller
	// does not change the slice. While tags are watched it is called at most
	// ten times a second, however many watch.
	Tags(ctx context.Context) ([]Tag, error)
	// Read reads a tag from the device.
	Read(ctx context.Context, tag string) (Reading, error)
	// Write writes to the device. A string value for a tag of another type is
	// what a person typed and is to be converted.
	Write(ctx context.Context, tag string, v frame.Value) (WriteResult, error)
}

// BusBackend shows and trims the log.
type BusBackend interface {
	Stats(ctx context.Context) (BusStats, error)
	// Tail sends the frames that pass f as they become durable, until ctx ends,
	// which is no error. While send blocks it holds a bounded number of frames
	// and drops, and counts, what exceeds it.
	Tail(ctx context.Context, f frame.Filter, send func(TailPart) error) error
	// Replay sends the frames of r in order and returns.
	Replay(ctx context.Context, r Range, send func(ReplayPart) error) error
	// ReplayTo sends the frames of r through a connector, marked as a replay;
	// speed 1 is as they came, 0 as fast as possible.
	ReplayTo(ctx context.Context, r Range, connector string, speed float64, send func(ReplayProgress) error) error
	// Export writes the frames first…last (0: open) to w as a file.
	Export(ctx context.Context, first, last uint64, w io.Writer) (ExportSummary, error)
	// Import publishes the frames of an export anew.
	Import(ctx context.Context, r io.Reader) (ExportSummary, error)
	// Flush makes durable what was published and returns the durable seq.
	Flush(ctx context.Context) (uint64, error)
	// CollectGarbage trims the log.
	CollectGarbage(ctx context.Context, gc GC) (GCResult, error)
	// Set changes a setting until the next start and returns what it was and is.
	Set(ctx context.Context, key, value string) (SettingChange, error)
	// Check reads the whole log and reports what is damaged.
	Check(ctx context.Context) (CheckReport, error)
	// RemoveConsumer forgets a parked consumer.
	RemoveConsumer(ctx context.Context, name string) error
	// Parked lists the messages that a peer refused and that were put aside.
	Parked(ctx context.Context) ([]Parked, error)
	// RetryParked has one sent, DropParked gives it up.
	RetryParked(ctx context.Context, consumer string, id uint64) error
	DropParked(ctx context.Context, consumer string, id uint64) error
}

// ConnectorBackend shows and steers the connectors.
type ConnectorBackend interface {
	// List returns the connectors, sorted by name.
	List(ctx context.Context) ([]Connector, error)
	// Test dials the peer beside the connection in use. A step that fails is no
	// error.
	Test(ctx context.Context, name string) ([]TestStep, error)
	Reconnect(ctx context.Context, name string) error
	SetPaused(ctx context.Context, name string, paused bool) error
}

// ConfigBackend shows and steers the configuration of this gateway.
type ConfigBackend interface {
	Status(ctx context.Context) (ConfigStatus, error)
	// History returns what was applied or refused, newest first; limit 0 is all.
	History(ctx context.Context, limit int) ([]ConfigApply, error)
	// Watch emits events until ctx ends, which is no error.
	Watch(ctx context.Context, emit func(ConfigEvent)) error
	// Reload reads the source again and waits for the outcome.
	Reload(ctx context.Context) (ConfigStatus, error)
	// Rollback puts an earlier configuration back here; 0 is the one before.
	Rollback(ctx context.Context, toRev uint64) (ConfigStatus, error)
}

// DiagnosticsBackend helps to find faults.
type DiagnosticsBackend interface {
	// LogLevel returns the level: "debug", "info", "warn" or "error".
	LogLevel(ctx context.Context) (string, error)
	SetLogLevel(ctx context.Context, level string) error
	// Trace emits what goes over an endpoint's connections until ctx ends,
	// which is no error.
	Trace(ctx context.Context, endpoint string, emit func(TraceEvent)) error
	// BundleFiles returns what a support archive should hold beside the status
	// of every part: configuration and recent log lines, secrets masked.
	BundleFiles(ctx context.Context) ([]File, error)
}

// Info is what the gateway is.
type Info struct {
	Gateway  string
	Tenant   string
	Device   string
	State    string // "starting", "running", "stopping"
	Started  time.Time
	Problems []Problem // beyond those that the other parts show
}

// File is a file of a support archive.
type File struct {
	Name string // relative, with slashes
	Data []byte
}
