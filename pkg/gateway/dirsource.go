package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// dirPoll is how often a configuration directory is looked at. Polling sees
// changes on every kind of file system, network shares and mounted ConfigMaps
// included, and costs a few stat calls.
const dirPoll = time.Second

// dirSource reads the tables from a directory and again whenever a file changes
// (config.source: dir).
type dirSource struct {
	g    *Gateway
	dir  string
	poll time.Duration
	log  *slog.Logger

	mu   sync.Mutex // held while the directory is loaded and applied
	seen string     // fingerprint of what was loaded or refused last
}

func (g *Gateway) newDirSource() *dirSource {
	return &dirSource{g: g, dir: g.cfg.Config.Dir, poll: dirPoll, log: g.log}
}

// load reads the directory. s.mu is held.
func (s *dirSource) load() (*config.Snapshot, error) {
	seen, err := fingerprint(s.dir)
	if err != nil {
		return nil, fmt.Errorf("config.dir: %w", err)
	}
	s.seen = seen
	return config.LoadDir(s.dir)
}

// Reload implements [source]. A person who asks for it wants what is held back too.
func (s *dirSource) Reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reload(ctx, func(*config.Snapshot) error { return nil })
}

// changed applies what the directory has become. What was refused is refused once:
// seen is set either way.
func (s *dirSource) changed(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.reload(ctx, s.g.held) // told where it happened
}

// reload loads the directory and applies it unless held has an objection. s.mu is
// held.
func (s *dirSource) reload(ctx context.Context, held func(*config.Snapshot) error) error {
	snap, err := s.load()
	if err == nil {
		err = held(snap)
	}
	if err != nil {
		s.g.refuse(err)
		s.log.Error("the changed configuration cannot be used; what runs goes on", "error", err)
		return err
	}
	if err := s.g.apply(ctx, snap, false).Err; err != nil {
		return err
	}
	s.g.dropHold()
	return nil
}

// Rollback implements [source]: back to what ran before, which is all that is
// remembered of a directory.
func (s *dirSource) Rollback(ctx context.Context, rev uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev != 0 {
		return fmt.Errorf("%w: the tables of this gateway come from the directory %s, which has no revisions: leave --to out to go back to what ran before",
			admin.ErrInvalid, s.dir)
	}
	old, err := readDocument(s.g.previousFile())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: nothing ran before this configuration", admin.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("what ran before: %w", err)
	}
	now, err := s.load()
	held := err == nil && now.SHA256 != old.SHA256
	// What can't be read can't be kept.
	earlier, _ := os.ReadFile(s.g.holdFile())
	if held { // before anything else: a crash must not undo what the person did
		if err := s.g.setHold(now, "put back by hand (edge-ctl config rollback)"); err != nil {
			return err
		}
	}
	left := s.g.runner.Current()
	err = s.g.apply(ctx, old, false).Err
	switch {
	case err != nil:
		if held { // else it is an earlier one, or says that this one broke down
			s.g.resetHold(earlier)
		}
		return fmt.Errorf("what ran before does not run now: %w", err)
	case held:
		s.g.refuse(s.g.held(now))
	default:
		s.g.dropHold()
	}
	s.g.putBackByHand(old.Rev, left.Rev)
	return nil
}

// State implements [source].
func (s *dirSource) State() sourceState {
	var held *heldError
	if err := s.g.refused.Load(); err != nil && errors.As(*err, &held) {
		return sourceState{State: "pinned", Error: held.Error(), Since: held.hold.Since}
	}
	return sourceState{}
}

// Run implements [source]. A change is loaded once two looks in a row see the same
// files, so that an editor or a copy is done writing.
func (s *dirSource) Run(ctx context.Context) error {
	if err := s.boot(ctx); err != nil {
		return fmt.Errorf("the configuration cannot be used:\n%w", err)
	}
	tick := time.NewTicker(s.poll)
	defer tick.Stop()
	pending := s.lastSeen()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := fingerprint(s.dir)
		if err != nil {
			if pending != "" {
				s.log.Warn("the configuration directory can't be read; what runs goes on", "dir", s.dir, "error", err)
			}
			pending = ""
			continue
		}
		if now != s.lastSeen() && now == pending {
			s.log.Info("the configuration directory changed", "dir", s.dir)
			s.changed(ctx)
		}
		pending = now
	}
}

func (s *dirSource) lastSeen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// fingerprint describes the tables' files: it changes when one of them does.
func fingerprint(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory", dir)
	}
	var b strings.Builder
	for _, table := range config.Tables() {
		info, err := os.Stat(filepath.Join(dir, table.FileName()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s %d %d\n", table, info.Size(), info.ModTime().UnixNano())
	}
	return b.String(), nil
}

// boot applies what the directory holds, or what ran last where that can't be
// used.
func (s *dirSource) boot(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap, err := s.load()
	if err == nil {
		err = s.g.held(snap)
	}
	if err == nil {
		if err = s.g.apply(ctx, snap, true).Err; err == nil {
			return nil
		}
	} else {
		s.g.refuse(err)
	}
	kept, keptErr := s.g.lastGood()
	if keptErr != nil {
		if !errors.Is(keptErr, fs.ErrNotExist) {
			err = fmt.Errorf("%w\nand what ran last cannot be used either: %w", err, keptErr)
		}
		return err
	}
	s.log.Error("the configuration cannot be used; the last good one runs until it is mended", "sha256", kept.SHA256, "error", err)
	defer s.g.refused.Store(&err) // it stays refused although something runs
	return s.g.apply(ctx, kept, true).Err
}
