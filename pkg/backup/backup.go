// Package backup is the file that edge-gw backup writes and edge-gw restore reads: what
// is in it, in which order, and how it is known to be whole. Package gateway decides what
// goes into it.
//
// A backup is a tar archive, compressed with zstd, so that its parts can be looked
// at with "tar --zstd":
//
//	manifest.json     what it is a backup of, and the version of this format; first
//	NAME              a file
//	NAME/000000 …     a stream, cut into pieces: its length isn't known when it begins
//	SHA256SUMS        the hash of each entry before, as sha256sum writes them; last
//
// A file that was cut off has no SHA256SUMS, and one that was changed has others;
// both are refused.
package backup

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Format is the version of the format that this release writes.
const Format = 1

const (
	manifestName = "manifest.json"
	sumsName     = "SHA256SUMS"

	// pieceSize is how much of a stream goes into one entry.
	pieceSize  = 4 << 20
	maxEntries = 1 << 20
	// maxParts and maxManifest bound what a reader has to remember.
	maxParts    = 10_000
	maxManifest = 1 << 20
)

// Errors that callers branch on.
var (
	// ErrDamaged: the file is no backup, was cut off, or was changed.
	ErrDamaged = errors.New("not a whole backup")
	// ErrNewer: a newer release wrote it.
	ErrNewer = errors.New("written by a newer release")
	// ErrOpen: no more entries may follow while a stream is open.
	ErrOpen = errors.New("a stream of the backup is still open")
)

// Manifest says what a backup is of.
type Manifest struct {
	Format  int       `json:"format"`
	Gateway string    `json:"gateway"` // gateway_id
	Host    string    `json:"host,omitempty"`
	Version string    `json:"version"` // of edge-gw
	Time    time.Time `json:"time"`
	Secrets bool      `json:"secrets"` // secrets_dir is in it
	Running bool      `json:"running"` // it was made while the gateway ran
}

// validName holds names to relative paths that stay below where they are put.
func validName(name string) error {
	if name == "" || len(name) > 255 || strings.ContainsAny(name, "\\\x00\n") {
		return fmt.Errorf("%w: %q cannot be a name", ErrDamaged, name)
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%w: %q cannot be a name", ErrDamaged, name)
		}
	}
	return nil
}
