package center

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// NewestCommitFormat is the newest version of the commit record, and of the protocol
// around it, that this release reads and writes.
const NewestCommitFormat = fleetFormat

const (
	// plainFormat is that of a document that every gateway of the prefix runs.
	plainFormat = 1
	// fleetFormat is that of a document with layers. A gateway that knows plainFormat
	// alone refuses it, and stays where it is.
	fleetFormat = 2

	// maxDelta bounds what a commit record carries of the change itself.
	maxDelta = 64 << 10
	// maxRelease is the last number that a release's key has digits for.
	maxRelease = 9_999_999_999
	// maxMessage bounds a commit's message, bytes.
	maxMessage = 4 << 10
)

// Author says who made a commit, as far as the client knows. It is a note, not a
// proof: who may write is decided by etcd.
type Author struct {
	Name     string `json:"name,omitempty"`      // of the person, where one was given
	EtcdUser string `json:"etcd_user,omitempty"` // user name, or the common name of the client's certificate
	OSUser   string `json:"os_user,omitempty"`
	Host     string `json:"host,omitempty"`
}

// GatewayAuthor begins the OSUser of a commit that a gateway made.
const GatewayAuthor = "edge-gw/"

// String returns "name (etcd-user, os-user@host)"; the first that is known stands alone.
func (a Author) String() string {
	local := a.OSUser
	if a.Host != "" {
		local += "@" + a.Host
	}
	known := slices.DeleteFunc([]string{a.Name, a.EtcdUser, local}, func(s string) bool { return s == "" })
	if len(known) < 2 {
		return strings.Join(known, "")
	}
	return known[0] + " (" + strings.Join(known[1:], ", ") + ")"
}

// Commit is the record that makes a document the configuration: written in the
// transaction that completes a push, kept for ever as a release.
type Commit struct {
	Format  int    `json:"format"`
	Release uint64 `json:"release"` // 1, 2, 3, …
	ID      string `json:"id"`      // random: how a push whose answer was lost finds out that it succeeded

	SHA256 string                  `json:"sha256"`
	Tables map[config.Table]string `json:"tables"` // sha256 of each table

	BaseRev    int64          `json:"base_rev"` // the commit that it replaced; 0: it was the first
	BaseSHA256 string         `json:"base_sha256,omitempty"`
	Author     Author         `json:"author"`
	Message    string         `json:"message,omitempty"`
	Time       time.Time      `json:"time"`
	Changes    config.Changes `json:"changes,omitempty"`

	// Delta leads from the base to this document. It is left out where it is
	// large, and in releases.
	Delta *config.Delta `json:"delta,omitempty"`

	// Signature is a signer's word for the document; nil: it is not signed. See sign.go.
	Signature *Signature `json:"signature,omitempty"`

	// Unsigned: a gateway took the base back for its signature alone. That says nothing of
	// the base's document.
	Unsigned bool `json:"unsigned,omitempty"`

	// Rollout is the id of the rollout in waves that the commit began; "": it is for all at once.
	Rollout string `json:"rollout,omitempty"`

	// Rev is etcd's revision of the record: what people name a commit by. The
	// store sets it.
	Rev int64 `json:"-"`
}

// Fleet reports whether the document has layers, so that each gateway runs one of its own.
func (c Commit) Fleet() bool { return c.Format == fleetFormat }

// None reports whether c stands for the empty store, before any push.
func (c Commit) None() bool { return c.Rev == 0 }

// parseCommit refuses what cannot be a commit record: [ErrDamaged], or [ErrFormat].
func parseCommit(b []byte, rev int64) (Commit, error) {
	var c Commit
	if err := json.Unmarshal(b, &c); err != nil {
		return Commit{}, fmt.Errorf("%w: commit record of rev %d: %w", ErrDamaged, rev, err)
	}
	c.Rev = rev
	if c.Format < plainFormat || c.Format > NewestCommitFormat {
		return Commit{}, fmt.Errorf("%w: the commit record of rev %d has format %d, and this version reads formats up to %d; use the version that wrote it",
			ErrFormat, rev, c.Format, NewestCommitFormat)
	}
	if !isHash(c.SHA256) || c.BaseSHA256 != "" && !isHash(c.BaseSHA256) || c.Release == 0 || c.Release > maxRelease || rev <= 0 {
		return Commit{}, fmt.Errorf("%w: commit record of rev %d: release %d of document %.80q is not possible",
			ErrDamaged, rev, c.Release, c.SHA256)
	}
	return c, nil
}

// encode returns the record, and the copy without delta that is kept as a
// release.
func (c Commit) encode() (record, release []byte, err error) {
	if record, err = json.Marshal(c); err != nil {
		return nil, nil, fmt.Errorf("commit record: %w", err)
	}
	c.Delta = nil
	if release, err = json.Marshal(c); err != nil {
		return nil, nil, fmt.Errorf("release record: %w", err)
	}
	return record, release, nil
}

func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}

// Version is a commit and the document that it committed. The zero version's
// document is empty, not nil: use [Version.Document].
type Version struct {
	Commit Commit
	Doc    *config.Document

	cached bool // it ran here before

	part *part // in a rollout; nil: there is none
	to   bool  // it is the new side of the rollout
}

// Snapshot decodes the version's document, as [config.Document.Snapshot] does.
func (v Version) Snapshot(prev *config.Snapshot) (*config.Snapshot, error) {
	snap, err := v.Document().Snapshot(prev)
	if err == nil {
		snap.Rev = uint64(v.Commit.Rev) // nobody else has it yet
		snap.Author, snap.Message = v.Commit.Author.String(), v.Commit.Message
	}
	return snap, err
}

// Document returns the version's document; that of the empty store has no items.
func (v Version) Document() *config.Document {
	if v.Doc == nil {
		return config.EmptyDocument()
	}
	return v.Doc
}
