package center

import (
	"context"
	"errors"
	"time"
)

// want is the owner's offer to apply something newer than what it was given last.
// Whoever takes it answers, with the zero version if there is nothing after all.
type want struct {
	base  Version
	reply chan<- Version
}

// own is the one goroutine that owns what runs here: it applies one version after the
// other, and does what a person asks for in between, until ctx ends.
func (f *Follower) own(ctx context.Context, last *cached) {
	defer f.queue.End()
	f.boot(ctx, last)
	for {
		reply := make(chan Version, 1)
		select {
		case <-ctx.Done():
			return
		case job := <-f.queue.Jobs():
			job.Run(ctx)
		case f.wants <- want{f.last, reply}:
			select {
			case <-ctx.Done():
				return
			case v := <-reply:
				f.give(ctx, v)
			}
		}
	}
}

// boot runs the cached configuration first: the commit in force may have come while
// this gateway was away, and if it is a bad one there must be something to go back to,
// and something to compare with. The store is given a moment to answer first. What a
// person asks for in that moment is done, and then takes the place of the cache.
func (f *Follower) boot(ctx context.Context, last *cached) {
	for last != nil && f.running.Doc == nil {
		select {
		case <-ctx.Done():
			return
		case job := <-f.queue.Jobs():
			job.Run(ctx)
		case answered := <-f.begun:
			if !answered {
				f.cfg.Log.Warn("starting with the last good configuration", "rev", last.Rev, "sha256", last.Commit.SHA256, "bad", last.Bad != nil)
			}
			f.give(ctx, Version{Commit: last.Commit, Doc: last.doc, cached: true})
			return
		}
	}
}

// give applies v, if there is one.
func (f *Follower) give(ctx context.Context, v Version) {
	if v.Doc != nil {
		f.last = v
		f.apply(ctx, v)
	}
}

// apply makes v the running configuration if it isn't already.
func (f *Follower) apply(ctx context.Context, v Version) {
	c := v.Commit
	f.tellBack(c)
	if f.running.Doc != nil && f.running.Doc.SHA256() == c.SHA256 {
		if f.running.Commit.Rev != c.Rev && f.cfg.OnSame != nil {
			f.cfg.OnSame(c.Rev)
		}
		if f.admit(c, false) != nil { // what runs was signed, and must be at the next start
			c.Signature = f.running.Commit.Signature
		}
		f.raise(c)
		f.running.Commit = c
		f.supersede(c)
		f.crossed(v)
		state, reason := f.standing(v)
		f.update(func(st *Status) {
			st.runs(c.ID)
			st.Rev, st.Target, st.Tried = c.Rev, c.Rev, c.ID
			if st.State != RolledBack { // the commit that this gateway put back itself
				st.State, st.Error = state, reason
			}
		})
		f.saveLater()
		return
	}
	if f.running.Doc != nil && f.bad.stands(c, f.cfg.Version) {
		if v.to {
			f.condemn(v.part, "apply", f.bad.Error)
		}
		f.stay(v)
		return
	}
	if !f.crosses(v) {
		reason := f.staked().Reason
		f.update(func(st *Status) { st.State, st.Error, st.Target, st.Tried = Pinned, reason, c.Rev, c.ID })
		return
	}
	f.update(func(st *Status) { st.State, st.Error, st.Target, st.Tried = Applying, "", c.Rev, c.ID })
	if err := f.admit(c, !v.cached && !f.returns(v)); err != nil {
		if f.cfg.OnInvalid != nil {
			f.cfg.OnInvalid(c.Rev, err)
		}
		f.failed(v, Outcome{State: Rejected, Err: err})
		return
	}
	f.raise(c)
	begin := time.Now()
	out := f.try(ctx, v)
	if ctx.Err() != nil && out.State != Applied && out.State != Failed {
		return // the process is stopping; that says nothing about the commit
	}
	if out.State != Applied {
		f.failed(v, out)
		return
	}
	f.supersede(c)
	f.crossed(v)
	state, reason := f.standing(v)
	f.cfg.Log.Debug("commit applied", "rev", c.Rev, "sha256", c.SHA256, "items", v.Doc.Len(), "took", time.Since(begin))
	f.update(func(st *Status) {
		st.State, st.Error, st.Rev, st.SHA256 = state, reason, c.Rev, c.SHA256
		st.runs(c.ID)
	})
	f.saveLater()
}

// tellBack tells when the store holds another commit than the one that ran, and not a
// later one: what was pushed since its backup is gone from it. Somebody has to push it
// again, so it is said though the gateway follows.
func (f *Follower) tellBack(c Commit) {
	if ran := f.running.Commit; f.running.Doc != nil && ran.ID != "" && c.ID != ran.ID && c.Rev <= ran.Rev {
		f.cfg.Log.Warn("the config center went back, as after a restore from a backup; what it holds is applied. Push again what was pushed since",
			"ran_rev", ran.Rev, "ran_sha256", ran.SHA256, "rev", c.Rev, "sha256", c.SHA256)
	}
}

// supersede drops the verdict on a commit that isn't newer than c. A start from the
// cache runs an older one, and the verdict must outlive it.
func (f *Follower) supersede(c Commit) {
	if f.bad != nil && (f.bad.Rev <= c.Rev || f.bad.ID == c.ID) {
		f.bad = nil
	}
}

// try decodes v and applies it.
func (f *Follower) try(ctx context.Context, v Version) Outcome {
	if f.cfg.Fits != nil {
		if err := f.cfg.Fits(v.Doc); err != nil {
			if f.cfg.OnInvalid != nil {
				f.cfg.OnInvalid(v.Commit.Rev, err)
			}
			return Outcome{State: Rejected, Err: err}
		}
	}
	snap, err := v.Snapshot(f.snap)
	if err != nil {
		if f.cfg.OnInvalid != nil {
			f.cfg.OnInvalid(v.Commit.Rev, err)
		}
		return Outcome{State: Rejected, Err: err}
	}
	out := f.cfg.Apply(ctx, snap)
	if out.State == Applied {
		f.running, f.snap = v, snap
	}
	return out
}

// failed decides what follows from a commit that doesn't run here. Whether the
// store is put back is up to the session, which can see who else uses it.
func (f *Follower) failed(v Version, out Outcome) {
	reason := "no reason given"
	if out.Err != nil {
		reason = out.Err.Error()
	}
	state := out.State
	switch {
	case state == RolledBack && f.running.Doc == nil:
		state = Failed // to nothing
	case state == RolledBack:
		state = Pinned // until the store is put back too
	}
	f.cfg.Log.Debug("commit not applied", "rev", v.Commit.Rev, "state", state, "reason", reason)
	f.bad = &verdict{Rev: v.Commit.Rev, ID: v.Commit.ID, State: state, Error: reason, Version: f.cfg.Version,
		Unsigned: errors.Is(out.Err, errSignature)}
	if v.part != nil { // the other side has the same commit
		f.bad.Side = v.Commit.SHA256
	}
	if v.to {
		f.condemn(v.part, "apply", reason)
	}
	if f.running.Doc != nil {
		f.save()
	}
	asked := false
	if state == Failed { // whatever comes next is applied from scratch
		f.running, f.snap = Version{}, nil
	} else {
		asked = f.askBack(v, out.State)
	}
	f.update(func(st *Status) {
		if !asked { // else it goes on: the session says how it ends
			st.State = state
		}
		st.Error = reason
		if f.bad.Unsigned {
			st.Unsigned = withID(st.Unsigned, v.Commit.ID)
		} else {
			st.Refused = withID(st.Refused, v.Commit.ID)
		}
		st.Rev, st.SHA256 = f.running.Commit.Rev, f.running.Commit.SHA256
	})
	f.brokeDown(out)
}

// brokeDown tells that nothing runs any more, now that the cache knows why.
func (f *Follower) brokeDown(out Outcome) {
	if out.State == Failed && f.cfg.OnFailed != nil {
		f.cfg.OnFailed(out.Err)
	}
}

// askBack asks the session to put the store back from v to what runs, if the policy
// may want that.
func (f *Follower) askBack(v Version, state State) bool {
	if f.running.Doc == nil || f.cfg.Rollback == RollbackLocal {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rollback = &rollbackRequest{bad: v, old: f.running, state: state, verdict: f.bad.State, reason: f.bad.Error, unsigned: f.bad.Unsigned}
	return true
}

// stay keeps what runs although v, on which there is a verdict, is in force. A
// process that ended between its verdict and putting the store back left that to
// the next one.
func (f *Follower) stay(v Version) {
	asked := false
	if f.inherited && !f.bad.ByHand {
		f.inherited = false
		asked = f.askBack(v, Rejected) // this process has told nobody of it
	}
	f.update(func(st *Status) {
		st.State, st.Error, st.Target, st.Tried = f.bad.State, f.bad.Error, v.Commit.Rev, v.Commit.ID
		if asked {
			st.State = Applying
		}
	})
}

// stands reports whether the verdict is on commit c and need not be tried again.
// Another version of the software may do better, unless a person decided.
func (b *verdict) stands(c Commit, version string) bool {
	if b == nil || b.Version != version && !b.ByHand {
		return false
	}
	return b.Rev == c.Rev && b.ID == c.ID && (b.Side == "" || b.Side == c.SHA256) || b.SHA256 != "" && b.SHA256 == c.SHA256
}

// save writes the cache. A gateway that can't, runs on; it would start with an
// older configuration if the store were away then.
func (f *Follower) save() {
	f.remember()
	f.write()
}

// saveLater has the cache written while the applier is free for the next commit: for
// a hundred thousand variables that takes as long as a few applies.
func (f *Follower) saveLater() {
	f.remember()
	select {
	case f.unsaved <- struct{}{}:
	default: // it will be written anyway
	}
}

// remember makes what runs, and the verdict, what the cache is to hold.
func (f *Follower) remember() {
	c := cached{Prefix: f.keys.prefix, Commit: f.running.Commit, Bad: f.bad, doc: f.running.Doc}
	f.mu.Lock()
	f.good = &c
	f.mu.Unlock()
}

// write writes the cache as it is to be now, so that an older one never follows a
// newer one.
func (f *Follower) write() {
	f.writing.Lock()
	defer f.writing.Unlock()
	if err := f.cache.save(*f.cached()); err != nil {
		f.cfg.Log.Error("the configuration cache could not be written", "error", err)
	}
}

// saver does what saveLater asks for, until the applier has ended and everything is
// written.
func (f *Follower) saver(ended <-chan struct{}) {
	for {
		select {
		case <-f.unsaved:
			f.write()
			continue
		case <-ended:
		}
		select {
		case <-f.unsaved:
			f.write()
		default:
		}
		return
	}
}
