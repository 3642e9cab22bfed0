package wal

import (
	"errors"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// Range is a run of sequence numbers, both ends included.
type Range struct{ First, Last uint64 }

// Len returns how many numbers r holds.
func (r Range) Len() uint64 { return r.Last - r.First + 1 }

// Record is something that a consumer keeps in the log's state beside its
// position, such as a message in flight. The log never deletes the frames of Pin
// while the record exists.
type Record struct {
	Key   string // unique per consumer, 1–128 bytes
	Value []byte
	Pin   Range // zero: pins nothing
}

// Commit is one atomic change of a consumer's state: all of it or nothing
// survives a crash.
type Commit struct {
	Put    []Record
	Delete []string // keys of records; a missing one is no error
	// Ack marks ranges as delivered for good. The consumer's position moves to
	// the end of the contiguous part; what lies beyond is remembered and skipped
	// when the consumer reads again from its position.
	Ack []Range
	// Gaps are noted as part of the change: frames that the consumer is not going to
	// deliver.
	Gaps []Gap
	// If names records that must exist: without one of them nothing is changed, and the
	// error wraps ErrNoRecord.
	If []string
	// Sync makes the change durable before Commit returns. Without it, a crash
	// may take back this commit and those after it, never one before a synced
	// one.
	Sync bool
}

// Gap is a run of frames that the log lost or dropped, and why. Missing frames
// without a Gap are damage.
type Gap struct {
	Range
	Consumer string // the only one that misses them; "" means that they are gone for all
	Reason   string // "overflow", "parked", "gc", ReasonRefused or ReasonDamaged
	Time     int64  // Unix ms
	Told     bool   // a sys.gap frame is in the log

	// Of frames that a peer refused and that are kept aside:
	Topic  string `json:",omitempty"` // only those that went there
	Parked uint64 `json:",omitempty"` // the number under which they are kept; 0: they are not
}

// ReasonRefused is the reason of gaps that a connector notes.
const ReasonRefused = "refused"

// ReasonDamaged is the reason of gaps that Repair notes.
const ReasonDamaged = "damaged"

// Errors that callers branch on.
var (
	// ErrLocked: another process, or another part of this one, has the directory open.
	ErrLocked = errkind.New(errkind.Conflict, "in use by another process")
	// ErrNewerFormat: a newer release wrote the log.
	ErrNewerFormat = errors.New("written by a newer release")
	// ErrEpochMismatch: the two databases do not belong together.
	ErrEpochMismatch = errors.New("frames and state do not belong together")
	// ErrDamaged: frames that must be there cannot be read; see [DamageError].
	ErrDamaged = errors.New("damaged")
	// ErrFailed: the disk failed; only a restart can tell what survived.
	ErrFailed = errkind.New(errkind.Unavailable, "the log failed; restart to recover")
	// ErrClosed: the log is closed.
	ErrClosed = errkind.New(errkind.Unavailable, "the log is closed")
	// ErrMoved: the log's directory is not where it was opened any more.
	ErrMoved = durable.ErrMoved
	// ErrNoLog: the directory holds no log.
	ErrNoLog = errkind.New(errkind.NotFound, "no log there")
	// ErrGone: the frames were deleted, or dropped since the log was full.
	ErrGone = errkind.New(errkind.NotFound, "frames are gone")
	// ErrDiskFull: there is no space, for a tool that does not wait for it.
	ErrDiskFull = errors.New("the disk is full")
	// ErrReadOnly: the log was opened for reading only.
	ErrReadOnly = errkind.New(errkind.Conflict, "the log was opened for reading only")
	// ErrNoRecord: a record that a commit depends on does not exist.
	ErrNoRecord = errkind.New(errkind.NotFound, "no such record")
	// ErrNoConsumer: the log knows no consumer of that name.
	ErrNoConsumer = errkind.New(errkind.NotFound, "no such consumer")
)

// DamageError says which frames cannot be read. It wraps [ErrDamaged].
type DamageError struct {
	Range
	Err error // what is wrong with them
}

// Error describes the damage and the way out.
func (e *DamageError) Error() string {
	return fmt.Sprintf("frames %d to %d are damaged (%v): stop the gateway and run edge-bus check --repair", e.First, e.Last, e.Err)
}

// GoneError says which frames the log does not hold any more: deleted, dropped, or
// taken out by a repair. It wraps [ErrGone].
type GoneError struct{ Ranges []Range }

// Error names the first and the last of the frames.
func (e *GoneError) Error() string {
	return fmt.Sprintf("%v: %d to %d", ErrGone, e.Ranges[0].First, e.Ranges[len(e.Ranges)-1].Last)
}

// Unwrap returns ErrGone.
func (e *GoneError) Unwrap() error { return ErrGone }

// Unwrap returns ErrDamaged and the cause.
func (e *DamageError) Unwrap() []error { return []error{ErrDamaged, e.Err} }
