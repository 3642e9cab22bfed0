package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
)

// hold keeps one document of the configuration directory from being run again by
// itself, through restarts: a person put the gateway back from it, or it failed so
// that the process had to be restarted. With config.source etcd the follower's cache
// has the same.
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

func (g *Gateway) holdFile() string { return filepath.Join(g.cfg.DataDir, holdFile) }

// held returns the error of a snapshot that is not to be run by itself.
func (g *Gateway) held(snap *config.Snapshot) error {
	text, err := os.ReadFile(g.holdFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var h hold
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		g.log.Warn("the note on which configuration not to run can't be read", "file", g.holdFile(), "error", err)
		return nil
	}
	if h.SHA256 != snap.SHA256 {
		return nil
	}
	return &heldError{h}
}

// setHold notes, durably, that snap is not to be run by itself.
func (g *Gateway) setHold(snap *config.Snapshot, reason string) error {
	text, err := json.Marshal(hold{SHA256: snap.SHA256, Reason: reason, Since: time.Now().UTC()})
	if err != nil {
		return err
	}
	return durable.WriteFile(g.holdFile(), append(text, '\n'), 0o600)
}

// resetHold puts a note back as it was; empty: there was none.
func (g *Gateway) resetHold(text []byte) {
	if len(text) == 0 {
		g.dropHold()
		return
	}
	if err := durable.WriteFile(g.holdFile(), text, 0o600); err != nil {
		g.log.Warn("the note on which configuration not to run was not put back", "file", g.holdFile(), "error", err)
	}
}

func (g *Gateway) dropHold() {
	if err := os.Remove(g.holdFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.log.Warn("the note on which configuration not to run was not removed", "file", g.holdFile(), "error", err)
	}
}

// lastGoodFile holds the snapshot that was applied last, in canonical form;
// previousFile the one before it.
func (g *Gateway) lastGoodFile() string { return filepath.Join(g.cfg.DataDir, lastGoodFile) }
func (g *Gateway) previousFile() string { return filepath.Join(g.cfg.DataDir, previousFile) }

func (g *Gateway) lastGood() (*config.Snapshot, error) { return readDocument(g.lastGoodFile()) }

func readDocument(path string) (*config.Snapshot, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return config.ParseDocument(doc)
}

// keep makes snap the last good one, and what that was the one before.
func (g *Gateway) keep(snap *config.Snapshot) error {
	if was, err := g.lastGood(); err == nil && was.SHA256 != snap.SHA256 {
		if err := durable.WriteFile(g.previousFile(), was.Document().JSON(), 0o600); err != nil {
			return err
		}
	}
	return durable.WriteFile(g.lastGoodFile(), snap.Document().JSON(), 0o600)
}
