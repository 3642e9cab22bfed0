package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// Files of data_dir.
const (
	LastGoodFile = "config.last-good.json" // the snapshot that was applied last, in canonical form
	PreviousFile = "config.previous.json"  // the one before it
	HoldFile     = "config.hold.json"      // which one not to run
)

// memory is what a directory's feed keeps through restarts.
type memory struct {
	dir string
	log *slog.Logger
}

// hold keeps one document from being run again by itself.
type hold struct {
	SHA256 string    `json:"sha256"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// heldError says why a document is not run.
type heldError struct{ hold hold }

func (e *heldError) Error() string {
	return fmt.Sprintf("%s; the directory still holds that configuration (sha256 %.12s): change it, or try it again with edge-ctl config reload", e.hold.Reason, e.hold.SHA256)
}

func (m memory) path(name string) string { return filepath.Join(m.dir, name) }

// held returns the error of a snapshot that is not to be run by itself.
func (m memory) held(snap *config.Snapshot) error {
	text, err := regular.ReadFile(m.path(HoldFile), 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var h hold
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		m.log.Warn("the note on which configuration not to run can't be read", "file", m.path(HoldFile), "error", err)
		return nil
	}
	if h.SHA256 != snap.SHA256 {
		return nil
	}
	return &heldError{h}
}

// setHold notes, durably, that snap is not to be run by itself.
func (m memory) setHold(snap *config.Snapshot, reason string) error {
	text, err := json.Marshal(hold{SHA256: snap.SHA256, Reason: reason, Since: time.Now().UTC()})
	if err != nil {
		return err
	}
	return durable.WriteFile(m.path(HoldFile), append(text, '\n'), 0o600)
}

// resetHold puts a note back as it was; empty: there was none.
func (m memory) resetHold(text []byte) {
	if len(text) == 0 {
		m.dropHold()
		return
	}
	if err := durable.WriteFile(m.path(HoldFile), text, 0o600); err != nil {
		m.log.Warn("the note on which configuration not to run was not put back", "file", m.path(HoldFile), "error", err)
	}
}

func (m memory) dropHold() {
	if err := os.Remove(m.path(HoldFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("the note on which configuration not to run was not removed", "file", m.path(HoldFile), "error", err)
	}
}

func (m memory) read(name string) (*config.Snapshot, error) {
	doc, err := regular.ReadFile(m.path(name), 1<<30)
	if err != nil {
		return nil, err
	}
	return config.ParseDocument(doc)
}

// Hold makes doc, a document in canonical form, what a directory's feed falls back to,
// and keeps the one with the hash sha from being run by itself. The feed must not run.
func Hold(dataDir string, doc []byte, sha, reason string) error {
	m := memory{dir: dataDir}
	if err := durable.WriteFile(m.path(LastGoodFile), doc, 0o600); err != nil {
		return err
	}
	return m.setHold(&config.Snapshot{SHA256: sha}, reason)
}

// LastGood returns the snapshot that a directory's feed with this data_dir applied
// last: what the next start falls back to.
func LastGood(dataDir string) (*config.Snapshot, error) {
	return memory{dir: dataDir}.read(LastGoodFile)
}

// keep makes snap the last good one, and what that was the one before.
func (m memory) keep(snap *config.Snapshot) error {
	if was, err := m.read(LastGoodFile); err == nil && was.SHA256 != snap.SHA256 {
		if err := durable.WriteFile(m.path(PreviousFile), was.Document().JSON(), 0o600); err != nil {
			return err
		}
	}
	return durable.WriteFile(m.path(LastGoodFile), snap.Document().JSON(), 0o600)
}
