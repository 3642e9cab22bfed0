package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/version"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// Files of data_dir.
const (
	trialFile  = "config.trial"  // which configuration is proven, and which is being tried
	provenFile = "config.proven" // the one that ran for a healthy minute last, as the feed keeps it
)

const (
	// healthyAfter is how long the process has to live with a configuration until
	// that counts as proven.
	healthyAfter = time.Minute
	// maxUnclean is after how many starts that did not end cleanly a configuration is
	// not tried again.
	maxUnclean = 2
)

// trial protects the gateway from a configuration that kills it. Some do so although
// nothing is wrong with them that a check could see: they need more memory than there
// is, or make a driver crash.
//
// Before an apply it is noted, durably, what is tried; after a healthy minute it is
// noted as proven, and a clean stop takes the note back. A start that finds the note knows that the process
// before it has died in that minute. After two of them the proven configuration is put
// where the feed begins, and the other one is held back until a person tries it again.
//
//	crash before the note is durable     ⇒ the configuration before runs
//	crash between note and healthy minute ⇒ one unclean start more
//	crash while the note is removed      ⇒ one unclean start more, at most
//	crash while the proven one is written ⇒ the old or the new one, whole
type trial struct {
	dir  string
	log  *slog.Logger
	keep func(snap *config.Snapshot, path string) error // makes path the proven copy of what runs

	mu    sync.Mutex
	now   attempt // what is noted
	timer *time.Timer
	ended bool
}

// attempt is the note: what is tried, nothing if SHA256 is empty.
type attempt struct {
	Proven  string `json:"proven"` // sha256 of the proven configuration
	SHA256  string `json:"sha256,omitempty"`
	Rev     uint64 `json:"rev,omitempty"`
	Unclean int    `json:"unclean,omitempty"` // starts that found it
}

// openTrial reads what an earlier process has left. left.Unclean says how often the
// process has ended while left was being tried.
func openTrial(dir string, log *slog.Logger) (t *trial, left attempt, err error) {
	t = &trial{dir: dir, log: log}
	text, err := regular.ReadFile(t.path(trialFile), 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return t, left, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &left)
	}
	if err != nil { // as good as none
		log.Warn("the note on which configuration was tried can't be read", "file", t.path(trialFile), "error", err)
		return t, attempt{}, nil
	}
	if left.SHA256 == "" {
		t.now = left
		return t, left, nil
	}
	left.Unclean++
	return t, left, t.note(left)
}

func (t *trial) path(name string) string { return filepath.Join(t.dir, name) }

// note makes a durable note. The caller holds mu, or is alone.
func (t *trial) note(a attempt) error {
	text, err := json.Marshal(a)
	if err == nil {
		err = durable.WriteFile(t.path(trialFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("note which configuration is tried: %w", err)
	}
	t.now = a
	return nil
}

// begin notes that snap is tried, and returns what puts the note back as it was. A
// gateway that can't write the note goes on without.
func (t *trial) begin(snap *config.Snapshot) (undo func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.now
	undo = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.change(was)
	}
	switch {
	case t.ended || snap.SHA256 == was.SHA256:
	case snap.SHA256 == was.Proven:
		t.change(attempt{Proven: was.Proven})
	default:
		t.change(attempt{Proven: was.Proven, SHA256: snap.SHA256, Rev: snap.Rev})
	}
	return undo
}

// change makes another note if it differs. The caller holds mu.
func (t *trial) change(a attempt) {
	if t.now == a {
		return
	}
	if err := t.note(a); err != nil {
		t.log.Warn("a configuration that ends the process might be tried again and again", "error", err)
	}
}

// runs is told that snap runs now; it is proven in a minute.
func (t *trial) runs(snap *config.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.ended || snap.SHA256 == t.now.Proven {
		return
	}
	t.timer = time.AfterFunc(healthyAfter, func() { t.prove(snap) })
}

func (t *trial) prove(snap *config.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.now.SHA256 != snap.SHA256 {
		return
	}
	if err := t.keep(snap, t.path(provenFile)); err != nil {
		t.log.Warn("the note on the configuration that runs well could not be written", "error", err)
		return
	}
	t.change(attempt{Proven: snap.SHA256})
}

// end is told of a clean stop: what ran until then did not kill the process.
func (t *trial) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
	t.change(attempt{Proven: t.now.Proven})
	t.ended = true
}

// hold puts the proven configuration where the feed of g begins, with a note on the
// one that is not to be tried.
func (g *Gateway) hold(left attempt) error {
	reason := fmt.Sprintf("the process has ended %s within a minute of trying it; the configuration before runs. "+
		"To try it again: edge-cfg retry %s, or edge-ctl config reload", words.Count(left.Unclean, "time"), g.cfg.GatewayID)
	proven := g.trial.path(provenFile)
	if g.cfg.Config.Source == "etcd" {
		return center.Hold(filepath.Join(g.cfg.DataDir, cacheFile), proven, left.SHA256, int64(left.Rev), reason, version.String())
	}
	doc, err := regular.ReadFile(proven, maxKept)
	if err != nil {
		return err
	}
	return feed.Hold(g.cfg.DataDir, doc, left.SHA256, reason)
}

// prove makes path the copy of what runs, as [Gateway.hold] wants it.
func (g *Gateway) prove(snap *config.Snapshot, path string) error {
	if g.cfg.Config.Source == "etcd" {
		return center.KeepCache(filepath.Join(g.cfg.DataDir, cacheFile), path, snap.SHA256)
	}
	return durable.WriteFile(path, snap.Document().JSON(), 0o600)
}

// rescue does what follows from what an earlier process has left.
func (g *Gateway) rescue(left attempt) {
	switch {
	case left.Unclean == 0:
	case left.Unclean < maxUnclean && !g.safe:
		g.log.Warn("the process before this one ended within a minute of trying a new configuration; it is tried once more",
			"rev", left.Rev, "sha256", left.SHA256)
	case left.Proven == "":
		g.log.Error("the process has ended again and again with this configuration, and none before it is known to run; "+
			"edge-gw run --safe starts without it, for a rollback", "rev", left.Rev, "sha256", left.SHA256, "unclean_starts", left.Unclean)
		if g.safe && g.cfg.Config.Source == "etcd" { // the next start asks the store
			if err := os.Remove(filepath.Join(g.cfg.DataDir, cacheFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				g.log.Warn("the note on the configuration that was tried could not be removed", "error", err)
			}
		}
	default:
		if err := g.hold(left); err != nil {
			g.log.Error("the previous configuration can't be put back", "rev", left.Rev, "sha256", left.SHA256, "error", err)
			return
		}
		g.log.Error("the process has ended again and again within a minute of trying a configuration; the one before runs, and this one is held back",
			"rev", left.Rev, "sha256", left.SHA256, "unclean_starts", left.Unclean)
	}
}
