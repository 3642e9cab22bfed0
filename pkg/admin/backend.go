package admin

import (
	"context"
	"io"
	"time"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Backend is what the server serves. Parts may be nil. All methods may be called
// from many goroutines at once and honour their context.
//
// Errors that a caller should tell apart wrap one of this package's sentinels,
// such as [errkind.NotFound].
//
// Send of the streams that WatchConfig and TraceEndpoint are given never blocks: it
// drops when the client is slow, so that it may be called from where nothing may
// wait. A callback named send blocks while the client is slow and returns an error
// when the method should give up. Neither may be called after the method has returned.
type Backend struct {
	// Status returns what the gateway is, with the problems that no other part shows.
	Status      func(context.Context) (*pb.GetStatusResponse, error)
	Endpoints   pb.EndpointServiceServer
	Drivers     pb.DriverServiceServer
	Tags        TagBackend
	Bus         BusBackend
	Connectors  pb.ConnectorServiceServer
	Config      pb.ConfigServiceServer
	Diagnostics pb.DiagnosticsServiceServer // its GetProfile and GetBundle are not called
	// Files returns what a support archive should hold besides the status of every
	// part: configuration and recent log lines, secrets masked.
	Files func(context.Context) ([]File, error)
}

// File is a file of a support archive.
type File struct {
	Name string // relative, with slashes
	Data []byte
}

// TagBackend shows, reads and writes tags.
type TagBackend interface {
	// Tags returns every tag with its last value. While tags are watched it is called
	// at most ten times a second, however many watch.
	Tags(ctx context.Context) (TagList, error)
	// ReadTag reads a tag from the device.
	ReadTag(context.Context, *pb.ReadTagRequest) (*pb.ReadTagResponse, error)
	// WriteTag writes to the device. A text for a tag of another type is what a person
	// typed and is to be converted.
	WriteTag(context.Context, *pb.WriteTagRequest) (*pb.WriteTagResponse, error)
}

// TagList is every tag at one moment, sorted by name. It does not change.
type TagList interface {
	Len() int
	Name(i int) string
	// Version differs whenever the tag has another value: its source time (Unix
	// nanoseconds) and how often it was published.
	Version(i int) (ts int64, frames uint64)
	// Message is only called for tags that are shown.
	Message(i int) *pb.Tag
}

// BusBackend shows and trims the log: that of a gateway behind its socket, or a
// stopped one's in its directory.
type BusBackend interface {
	Stats(ctx context.Context) (*pb.GetBusStatsResponse, error)
	// Tail sends the frames that pass f as they become durable, until ctx ends,
	// which is no error. While send blocks it holds a bounded number of frames
	// and drops, and counts, what exceeds it.
	Tail(ctx context.Context, f frame.Filter, send func(TailPart) error) error
	// Replay sends the frames of r in order and returns.
	Replay(ctx context.Context, r Range, send func(ReplayPart) error) error
	// ReplayTo sends the frames of r through a connector, marked as a replay;
	// speed 1 is as they came, 0 as fast as possible.
	ReplayTo(ctx context.Context, r Range, connector string, speed float64, send func(*pb.ReplayToResponse) error) error
	// Export writes the frames first…last (0: open) to w as a file.
	Export(ctx context.Context, first, last uint64, w io.Writer) (*pb.ExportSummary, error)
	// Import publishes the frames of an export anew.
	Import(ctx context.Context, r io.Reader) (*pb.ExportSummary, error)
	// Flush makes durable what was published and returns the durable seq.
	Flush(ctx context.Context) (*pb.FlushResponse, error)
	// CollectGarbage trims the log.
	CollectGarbage(ctx context.Context, gc *pb.CollectGarbageRequest) (*pb.CollectGarbageResponse, error)
	// Set changes a setting until the next start and returns what it was and is.
	Set(ctx context.Context, key, value string) (*pb.SetBusSettingResponse, error)
	// Check reads the whole log and reports what is damaged.
	Check(ctx context.Context) (*pb.CheckLogResponse, error)
	// Delivery tells which consumers have the frames of r.
	Delivery(ctx context.Context, r Range) (*pb.GetDeliveryResponse, error)
	// RemoveConsumer forgets a parked consumer.
	RemoveConsumer(ctx context.Context, name string) error
	// Parked lists the messages that a peer refused and that were put aside.
	Parked(ctx context.Context) ([]*pb.ParkedMessage, error)
	// RetryParked has one sent, DropParked gives it up.
	RetryParked(ctx context.Context, consumer string, id uint64) error
	DropParked(ctx context.Context, consumer string, id uint64) error
}

// Range is a part of the log: the frames for which all of it holds. What is zero
// is open; the end is then the newest frame there is at the time of the call.
type Range struct {
	FromSeq  uint64
	FromTime time.Time // source time
	ToSeq    uint64    // included
	ToTime   time.Time // source time, not included
	Filter   frame.Filter
}

// TailPart is a piece of the live frames.
type TailPart struct {
	Batches []*frame.Batch
	Dropped uint64 // frames that this client was too slow for, in all
}

// ReplayPart is a piece of a replay.
type ReplayPart struct {
	Batches []*frame.Batch
	LastSeq uint64          // where the replay ends
	Damages []*pb.LogDamage // left out, because they cannot be read; in the last part
}
