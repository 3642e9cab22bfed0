package bus

import (
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// Range is a run of sequence numbers, both ends included.
type Range = wal.Range

// Record is something that a consumer keeps in the log's state beside its
// position, such as a message in flight: a Key unique per consumer (1–128 bytes),
// a Value, and a Pin. The log never deletes the frames of Pin while the record
// exists; the zero Pin pins nothing.
type Record = wal.Record

// Commit is one atomic change of a consumer's state: all of it or nothing
// survives a crash. Put and Delete change records (a missing one is no error to
// delete). Ack marks ranges as delivered for good: the position moves to the end
// of the contiguous part; what lies beyond is remembered and skipped when the
// consumer reads again from its position. Gaps are frames that are not delivered; sys.gap
// frames tell of them. Sync makes the change durable before
// Commit returns; without it, a crash may take back this commit and those after
// it, never one before a synced one.
type Commit = wal.Commit

// GoneError says which frames the log does not hold any more. It wraps ErrGone.
type GoneError = wal.GoneError

// Errors that callers branch on.
var (
	ErrLocked        = wal.ErrLocked         // another process has the directory open
	ErrNewerFormat   = wal.ErrNewerFormat    // a newer release wrote the log
	ErrEpochMismatch = wal.ErrEpochMismatch  // the two databases do not belong together
	ErrDamaged       = wal.ErrDamaged        // frames that must be there cannot be read
	ErrFailed        = wal.ErrFailed         // the disk failed; the process must end and start again
	ErrGone          = wal.ErrGone           // frames that were deleted or dropped
	ErrMoved         = wal.ErrMoved          // the log's directory was deleted, moved or replaced
	ErrNoLog         = wal.ErrNoLog          // the directory holds no log
	ErrClosed        = wal.ErrClosed         // the bus is closed
	ErrDiskFull      = wal.ErrDiskFull       // no space, for an archive, which does not wait for it
	ErrReadOnly      = wal.ErrReadOnly       // the log was opened for reading only
	ErrNoRecord      = wal.ErrNoRecord       // a record that a commit depends on does not exist
	ErrNoConsumer    = wal.ErrNoConsumer     // no consumer of that name
	ErrConsumerThere = wal.ErrConsumerExists // a consumer of that name is there already
	ErrBadExport     = wal.ErrBadExport      // a file that is no whole export
	// ErrInUse: a connector reads as this consumer.
	ErrInUse = errkind.New(errkind.Conflict, "in use by a connector")
)
