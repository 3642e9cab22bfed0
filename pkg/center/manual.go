package center

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
)

// Reload reads the store now, tries the commit in force again if it failed here
// before, and returns when it is applied, or why it is not.
func (f *Follower) Reload(ctx context.Context) error {
	return f.byHand(ctx, func(ctx context.Context, _ *Store, head Version) error {
		f.bad = nil
		f.apply(ctx, head)
		if f.running.Doc == nil || f.running.Doc.SHA256() != head.Commit.SHA256 {
			return errors.New(f.View().Error)
		}
		return nil
	})
}

// Rollback makes this gateway alone run an earlier release: the newest with to's
// document if it names one, else that of etcd revision to.Rev, else the newest release
// that differs from what runs. The store stays as it is. The
// gateway stays on it, through restarts, until a newer commit comes, or [Follower.Reload]
// or [Store.Retry] asks for the one in force.
func (f *Follower) Rollback(ctx context.Context, to feed.Revision) (Rollback, error) {
	var done Rollback
	err := f.byHand(ctx, func(ctx context.Context, s *Store, head Version) error {
		from := head.Commit
		if f.running.Doc != nil {
			from = f.running.Commit
		}
		old, err := f.earlier(ctx, s, head.Commit, from, to)
		if err != nil {
			return err
		}
		if err := f.admit(old.Commit, false); err != nil { // a person may go back to what was signed
			return err
		}
		out := f.try(ctx, old)
		if out.State != Applied {
			f.brokeDown(out)
			return fmt.Errorf("rev %d does not run either: %s: %w; --to names another one, and edge-cfg log lists them", old.Commit.Rev, out.State, out.Err)
		}
		f.stayOn(old.Commit, head.Commit)
		done = Rollback{RevOld: old.Commit.Rev, RevBad: from.Rev, Rev: old.Commit.Rev, State: Pinned, Reason: "edge-ctl config rollback"}
		return nil
	})
	return done, err
}

// earlier returns the version that a person wants instead of from.
func (f *Follower) earlier(ctx context.Context, s *Store, head, from Commit, to feed.Revision) (Version, error) {
	if head.Fleet() {
		old, err := s.loadBefore(ctx, f.cfg.Gateway)
		if err == nil && (old.Commit.SHA256 == from.SHA256 || to.SHA256 != "" && to.SHA256 != old.Commit.SHA256 || to.Rev != 0 && to.SHA256 == "" && int64(to.Rev) != old.Commit.Rev) {
			err = fmt.Errorf("%w: a gateway of a fleet goes back to what it was to run before, which is of rev %d (%.12s), and to nothing else; edge-cfg rollback puts the fleet back",
				ErrNoRelease, old.Commit.Rev, old.Commit.SHA256)
		}
		return old, err
	}
	rev, err := s.revOf(ctx, to)
	if err != nil {
		return Version{}, err
	}
	return s.restoreFrom(ctx, from, config.Table(""), rev)
}

// revOf returns the revision of the release that to names: a revision alone may name
// another one in a store that was put back to an earlier state.
func (s *Store) revOf(ctx context.Context, to feed.Revision) (int64, error) {
	if to.SHA256 == "" {
		return int64(to.Rev), nil
	}
	log, err := s.Log(ctx, s.cfg.KeepReleases)
	if err != nil {
		return 0, err
	}
	for _, c := range log {
		if c.SHA256 == to.SHA256 {
			return c.Rev, nil
		}
	}
	return 0, fmt.Errorf("%w: what ran before (rev %d, %.12s) is not among %s, which is all that is kept; --to names another one, and edge-cfg log lists them",
		ErrNoRelease, to.Rev, to.SHA256, lastReleases(s.cfg.KeepReleases))
}

// stayOn notes that old runs, by a person's decision, while head is in force.
func (f *Follower) stayOn(old, head Commit) {
	f.bad = nil
	state, reason := Applied, ""
	if old.SHA256 != head.SHA256 {
		state, reason = Pinned, fmt.Sprintf("put back to rev %d by hand (edge-ctl config rollback); rev %d is in force", old.Rev, head.Rev)
		f.bad = &verdict{Rev: head.Rev, ID: head.ID, State: state, Error: reason, Version: f.cfg.Version, ByHand: true}
	}
	f.update(func(st *Status) {
		st.State, st.Error, st.Rev, st.SHA256, st.Target, st.Tried = state, reason, old.Rev, old.SHA256, head.Rev, head.ID
	})
	f.save()
}

// handPatience is how long what a person asks for waits for the store, and for an
// apply that is under way.
const handPatience = time.Minute

// byHand has the owner call do with the store and what is in force there. It reads the
// store only then: a commit that came while it waited would be undone by an older one.
func (f *Follower) byHand(ctx context.Context, do func(context.Context, *Store, Version) error) error {
	wait, cancel := context.WithTimeout(ctx, handPatience)
	defer cancel()
	store, err := Open(wait, f.cfg.Store)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // what matters was answered
	var done error
	err = f.queue.Do(wait, func(ctx context.Context) {
		head, err := store.loadFor(wait, f.cfg.Gateway, f.running.Doc, f.look)
		switch {
		case err != nil:
			done = err
		case head.Commit.None():
			done = fmt.Errorf("%w: the config center is empty", ErrNoRelease)
		default:
			done = do(ctx, store, head)
		}
	})
	if err != nil {
		return fmt.Errorf("another configuration is being applied: %w", err)
	}
	return done
}
