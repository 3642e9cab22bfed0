package feed

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

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// dirPoll is how often a configuration directory is looked at. Polling sees
// changes on every kind of file system, network shares and mounted ConfigMaps
// included, and costs a few stat calls.
const dirPoll = time.Second

const (
	// settled is in how many looks in a row a change must be the same before it is
	// loaded, so that an editor or a copy is done writing.
	settled = 2
	// settledShort is that where a file is shorter than it was: it may be half-written.
	settledShort = 5
	// wholeEvery is after how many looks contents are read although sizes and times
	// say that nothing changed.
	wholeEvery = 10
)

// DirConfig says which directory is followed, and what happens to its tables.
type DirConfig struct {
	Dir     string // of the tables
	DataDir string // what is kept through restarts
	Log     *slog.Logger

	// Apply makes a snapshot the running configuration; boot: it is the first one.
	// It is never called twice at the same time.
	Apply func(ctx context.Context, snap *config.Snapshot, boot bool) Outcome
	// OnRefused is told of tables that Apply never sees, for they can't be read.
	OnRefused func(error)
	// OnFailed is told that neither a configuration nor the one before it can be run
	// in this process, once it is noted that the next one is not to try.
	OnFailed func(error)
	// OnRollback is told that a person put an earlier configuration back.
	OnRollback func(old, left uint64)
}

// Dir is the feed of a directory: it reads the tables, and again whenever a file
// changes.
type Dir struct {
	cfg   DirConfig
	kept  memory
	queue *Queue

	// The owner's.
	seen     look          // what was loaded or refused last
	removing *removalError // why it was refused, if for what it removes
	unread   string        // names like those of tables that were warned about

	mu      sync.Mutex
	status  Status
	running *config.Snapshot
}

// NewDir returns the feed of a directory. Nothing is read before [Dir.Run].
func NewDir(cfg DirConfig) *Dir {
	return &Dir{cfg: cfg, kept: memory{cfg.DataDir, cfg.Log}, queue: NewQueue(), status: Status{State: Waiting, Error: "no configuration runs yet", Since: time.Now()}}
}

// Status implements [Feed].
func (d *Dir) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// Keep implements [Feed].
func (d *Dir) Keep(snap *config.Snapshot) error { return d.kept.keep(snap) }

// set changes the state; err says why what is wanted doesn't run.
func (d *Dir) set(state State, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if state != d.status.State || text != d.status.Error {
		d.status.Since = time.Now()
	}
	var held *heldError
	if errors.As(err, &held) {
		d.status.Since = held.hold.Since
	}
	d.status.State, d.status.Error = state, text
}

// link notes whether the directory can be read.
func (d *Dir) link(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Link = d.status.Link.Set(err == nil, err, time.Now())
}

// load reads the directory.
func (d *Dir) load() (*config.Snapshot, error) {
	seen, err := lookAt(d.cfg.Dir, d.seen, true)
	d.link(err)
	if err != nil {
		return nil, fmt.Errorf("config.dir: %w", err)
	}
	d.seen, d.removing = seen, nil
	d.warnUnread()
	snap, err := config.LoadDir(d.cfg.Dir)
	if err == nil {
		d.mu.Lock()
		d.status.Wanted = RevisionOf(snap)
		d.mu.Unlock()
	}
	return snap, err
}

// warnUnread tells of files that somebody may take for tables.
func (d *Dir) warnUnread() {
	names := strings.Join(config.Unread(d.cfg.Dir), ", ")
	if names != "" && names != d.unread {
		d.cfg.Log.Warn("files of the configuration directory are not read: a table is a file called "+config.FileNames+"; "+config.PartNames,
			"dir", d.cfg.Dir, "files", names)
	}
	d.unread = names
}

// intended refuses tables that lack more than half of what runs, or ran last, unless a
// person said, now or by a file, that this is meant.
func (d *Dir) intended(was, next *config.Snapshot, meant bool) error {
	all, large := removals(was, next)
	if large != "" && !meant && !d.allowsDelete() {
		d.removing = &removalError{d.cfg.Dir, large}
		return d.removing
	}
	if all != "" {
		d.cfg.Log.Info("the changed configuration removes items", "removed", all)
	}
	return nil
}

// allowsDelete reports whether a person said that a large removal is meant.
func (d *Dir) allowsDelete() bool {
	_, err := os.Stat(filepath.Join(d.cfg.Dir, AllowDeleteFile))
	return err == nil
}

// useUp removes what allowed the removal, so that it allows no other.
func (d *Dir) useUp() {
	if !d.allowsDelete() {
		return
	}
	if err := os.Remove(filepath.Join(d.cfg.Dir, AllowDeleteFile)); err != nil {
		d.cfg.Log.Warn("the file that allows a removal stays, and allows the next one too: remove it", "error", err)
	}
}

// refuse notes why tables are not run. Tables that are held back were counted when they
// failed.
func (d *Dir) refuse(err error) {
	if held := (*heldError)(nil); errors.As(err, &held) {
		d.set(Pinned, err)
		return
	}
	d.cfg.OnRefused(err)
	d.set(Rejected, err)
}

// apply takes the gateway to snap.
func (d *Dir) apply(ctx context.Context, snap *config.Snapshot, boot bool) error {
	d.set(Applying, nil)
	out := d.cfg.Apply(ctx, snap, boot)
	d.mu.Lock()
	switch out.State {
	case Applied:
		d.running = snap
	case Failed:
		d.running = nil
	}
	d.status.Running = RevisionOf(d.running)
	d.mu.Unlock()
	d.set(out.State, out.Err)
	if out.State == Failed {
		reason := fmt.Sprintf("neither it nor a rollback worked, and the gateway was restarted: %v", out.Err)
		if err := d.kept.setHold(snap, reason); err != nil {
			d.cfg.Log.Error("the failed configuration may be tried again after the restart", "error", err)
		}
		d.cfg.OnFailed(out.Err)
	}
	return out.Err
}

// Reload implements [Feed]. A person who asks for it wants what is held back too.
func (d *Dir) Reload(ctx context.Context) error { return d.reloadByHand(ctx, false) }

// ReloadAllowingDelete is [Dir.Reload] by a person who says that a large removal is meant.
func (d *Dir) ReloadAllowingDelete(ctx context.Context) error { return d.reloadByHand(ctx, true) }

func (d *Dir) reloadByHand(ctx context.Context, meant bool) (err error) {
	if stopped := d.queue.Do(ctx, func(ctx context.Context) {
		err = d.reload(ctx, func(*config.Snapshot) error { return nil }, meant)
	}); stopped != nil {
		return stopped
	}
	return err
}

// reload loads the directory and applies it unless held has an objection; meant: a person
// has said that it may remove what it does. A refused directory is refused once: d.seen
// is set either way.
func (d *Dir) reload(ctx context.Context, held func(*config.Snapshot) error, meant bool) error {
	snap, err := d.load()
	if err == nil {
		err = held(snap)
	}
	large := ""
	if err == nil && d.running != nil {
		_, large = removals(d.running, snap)
		err = d.intended(d.running, snap, meant)
	}
	if err != nil {
		d.refuse(err)
		d.cfg.Log.Error("the changed configuration cannot be used; what runs goes on", "error", err)
		return err
	}
	if err := d.apply(ctx, snap, false); err != nil {
		return err
	}
	d.kept.dropHold()
	if large != "" {
		d.useUp()
	}
	return nil
}

// Rollback implements [Feed]: back to what ran before, which is all that is
// remembered of a directory.
func (d *Dir) Rollback(ctx context.Context, rev uint64) (err error) {
	if rev != 0 {
		return &kindError{ErrInvalid, fmt.Sprintf("the tables of this gateway come from the directory %s, which has no revisions: leave --to out to go back to what ran before", d.cfg.Dir)}
	}
	if stopped := d.queue.Do(ctx, func(ctx context.Context) { err = d.back(ctx) }); stopped != nil {
		return stopped
	}
	return err
}

func (d *Dir) back(ctx context.Context) error {
	old, err := d.kept.read(PreviousFile)
	if errors.Is(err, fs.ErrNotExist) {
		return &kindError{ErrNoEarlier, "nothing ran before this configuration"}
	}
	if err != nil {
		return fmt.Errorf("what ran before: %w", err)
	}
	now, err := d.load()
	held := err == nil && now.SHA256 != old.SHA256
	// What can't be read can't be kept.
	earlier, _ := regular.ReadFile(d.kept.path(HoldFile), 64<<10)
	if held { // before anything else: a crash must not undo what the person did
		if err := d.kept.setHold(now, "put back by hand (edge-ctl config rollback)"); err != nil {
			return err
		}
	}
	left := d.Status().Running
	err = d.apply(ctx, old, false)
	switch {
	case err != nil:
		if held && d.Status().State != Failed { // else the note says that this one broke down
			d.kept.resetHold(earlier)
		}
		return fmt.Errorf("what ran before does not run now: %w", err)
	case held:
		d.refuse(d.kept.held(now))
	default:
		d.kept.dropHold()
	}
	d.cfg.OnRollback(old.Rev, left.Rev)
	return nil
}

// Run implements [Feed]. A change is loaded once some looks in a row see the same
// contents.
func (d *Dir) Run(ctx context.Context) error {
	defer d.queue.End()
	if err := d.boot(ctx); err != nil {
		return fmt.Errorf("the configuration cannot be used:\n%w", err)
	}
	tick := time.NewTicker(dirPoll)
	defer tick.Stop()
	pending, same := d.seen, settled
	for n := 1; ; {
		select {
		case <-ctx.Done():
			return nil
		case job := <-d.queue.Jobs():
			job.Run(ctx)
			continue
		case <-tick.C:
		}
		n++
		now, err := lookAt(d.cfg.Dir, pending, n%wholeEvery == 0)
		d.link(err)
		if err != nil {
			if same > 0 {
				d.cfg.Log.Warn("the configuration directory can't be read; what runs goes on", "dir", d.cfg.Dir, "error", err)
			}
			pending, same = look{}, 0
			continue
		}
		if now.sum != pending.sum {
			same = 0
		}
		same++
		pending = now
		if d.changed(now, same) {
			d.cfg.Log.Info("the configuration directory changed", "dir", d.cfg.Dir)
			_ = d.reload(ctx, d.kept.held, false) // told where it happened
		}
	}
}

// changed reports whether what was seen in the last looks, which were the same, is to be
// loaded.
func (d *Dir) changed(now look, same int) bool {
	if now.sum == d.seen.sum {
		return d.removing != nil && d.allowsDelete()
	}
	if now.shorter(d.seen) {
		return same >= settledShort
	}
	return same >= settled
}

// boot applies what the directory holds, or what ran last where that can't be
// used.
func (d *Dir) boot(ctx context.Context) error {
	snap, err := d.load()
	if err == nil {
		err = d.kept.held(snap)
	}
	kept, keptErr := d.kept.read(LastGoodFile)
	if err == nil && keptErr == nil {
		err = d.intended(kept, snap, false)
	}
	if err == nil {
		if err = d.apply(ctx, snap, true); err == nil {
			return nil
		}
	} else {
		d.refuse(err)
	}
	if keptErr != nil {
		if !errors.Is(keptErr, fs.ErrNotExist) {
			err = fmt.Errorf("%w\nand what ran last cannot be used either: %w", err, keptErr)
		}
		return err
	}
	d.cfg.Log.Error("the configuration cannot be used; the last good one runs until it is mended", "sha256", kept.SHA256, "error", err)
	state := d.Status().State
	if applyErr := d.apply(ctx, kept, true); applyErr != nil {
		return applyErr
	}
	d.set(state, err) // it stays refused although something runs
	return nil
}
