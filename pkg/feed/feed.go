package feed

import (
	"context"
	"errors"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// Feed is where a gateway's tables come from.
type Feed interface {
	// Run hands out the first snapshot and then every change, until ctx ends. It
	// returns an error if there is nothing to begin with and never will be.
	Run(ctx context.Context) error
	// Reload looks now, and returns when what was found is applied or refused. What
	// was held back is tried again.
	Reload(ctx context.Context) error
	// Rollback puts an earlier configuration back on this gateway; 0 is the one
	// before. It stays until what the feed has is changed, or Reload is called.
	Rollback(ctx context.Context, rev uint64) error
	// Keep makes snap what the next start falls back to: the last step of an apply.
	// After an error the one before is still that. A feed that keeps it with what it
	// knows of its source does nothing here.
	Keep(snap *config.Snapshot) error
	// Status returns the state now.
	Status() Status
}

// State is how what runs stands to what is wanted.
type State string

// The states.
const (
	Waiting    State = "waiting"     // nothing runs yet
	Applied    State = "applied"     // what is wanted runs
	Applying   State = "applying"    // the gateway is changing to it
	Rejected   State = "rejected"    // it failed before anything was touched; the one before runs on
	RolledBack State = "rolled_back" // it failed, and the one before was put back
	Pinned     State = "pinned"      // this gateway stays on the one before, until something changes
	Failed     State = "failed"      // it failed and there is nothing to go back to
)

// Status is the one state of a feed. It is plain: whoever shows it prints its fields.
type Status struct {
	Link    Link
	Wanted  Revision // what the source has, as far as it was read
	Running Revision
	State   State
	Error   string    // why what is wanted doesn't run
	Since   time.Time // of the state
}

// Link is the connection with the source.
type Link struct {
	Connected bool
	Since     time.Time // when it became so
	Error     string    // why it is not connected
}

// Set returns the link as it is now that the source answered, or not for err. Since
// stays while nothing changes.
func (l Link) Set(up bool, err error, now time.Time) Link {
	next := Link{Connected: up, Since: l.Since}
	if err != nil {
		next.Error = err.Error()
	}
	if next.Since.IsZero() || next.Connected != l.Connected {
		next.Since = now
	}
	return next
}

// Revision names a configuration. Rev is 0 where the source has no revisions.
type Revision struct {
	Rev    uint64
	SHA256 string
}

// RevisionOf names a snapshot; nil is none.
func RevisionOf(snap *config.Snapshot) Revision {
	if snap == nil {
		return Revision{}
	}
	return Revision{snap.Rev, snap.SHA256}
}

// Outcome is what became of applying a snapshot.
type Outcome struct {
	// State is Applied; Rejected if nothing was touched; RolledBack if the
	// previous snapshot runs again; Failed if none does.
	State State
	Err   error // why it isn't Applied
}

// Errors that callers branch on.
var (
	ErrInvalid   = errkind.New(errkind.Invalid, "the feed has no such thing")
	ErrNoEarlier = errkind.New(errkind.NotFound, "nothing ran before")
	ErrStopped   = errors.New("the gateway stops")
)

// kindError is an error of a kind with a text of its own.
type kindError struct {
	kind error
	text string
}

func (e *kindError) Error() string { return e.text }
func (e *kindError) Unwrap() error { return e.kind }
