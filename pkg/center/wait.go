package center

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// Whom says which gateways a wait is for. The zero value is those that are online.
type Whom struct {
	All   bool     // every gateway that ever registered
	Names []string // these
}

// wants reports whether g is waited for.
func (w Whom) wants(g Gateway) bool {
	return w.All || slices.Contains(w.Names, g.Gateway) || len(w.Names) == 0 && g.Online
}

// online reports whether those that are offline are not waited for.
func (w Whom) online() bool { return !w.All && len(w.Names) == 0 }

// NotAppliedError tells which gateways don't run a commit.
type NotAppliedError struct {
	Commit   Commit
	Failed   []Gateway // finished, without success
	Missing  []Gateway // not finished when the wait ended
	Offline  []Gateway // not there to do it
	Unknown  []string  // never registered
	Nobody   bool      // all were to be waited for, and none ever registered
	Replaced *Commit   // another commit took its place meanwhile
	Err      error     // why the gateways could not be asked any more
}

// Error names the gateways.
func (e *NotAppliedError) Error() string {
	verb := "is"
	if e.Replaced != nil {
		verb = "was"
	}
	text := fmt.Sprintf("rev %d %s committed, but not applied everywhere", e.Commit.Rev, verb)
	for _, g := range e.Failed {
		text += fmt.Sprintf("; %s: %s: %s", g.Gateway, g.State, g.Error)
	}
	for _, g := range e.Missing {
		text += fmt.Sprintf("; %s has not finished", g.Gateway)
	}
	for _, g := range e.Offline {
		_, since := g.Shown()
		text += fmt.Sprintf("; %s is offline since about %s, and takes it when it is back", g.Gateway, moment.Format(since))
	}
	for _, name := range e.Unknown {
		text += fmt.Sprintf("; no gateway %s ever registered", name)
	}
	if e.Nobody {
		text += "; no gateway ever registered"
	}
	if e.Replaced != nil {
		text += fmt.Sprintf("; rev %d by %s took its place", e.Replaced.Rev, e.Replaced.Author)
		if len(e.Failed) == 0 { // else its message repeats why
			text += ": " + e.Replaced.Message
		}
	}
	if e.Err != nil {
		text += fmt.Sprintf("; the gateways can't be asked: %v", e.Err)
	}
	return text
}

// Unwrap returns the kind.
func (e *NotAppliedError) Unwrap() error { return errkind.NotApplied }

// empty reports whether nobody is in the way.
func (e *NotAppliedError) empty() bool {
	return len(e.Failed)+len(e.Missing)+len(e.Offline)+len(e.Unknown) == 0 && e.Replaced == nil && !e.Nobody
}

const (
	// awayGrace is how long a gateway that was online may be away during a wait: a
	// process that starts anew is back by then.
	awayGrace = 5 * time.Second
	// waitAgain is how long a wait leaves a store alone that can't be watched.
	waitAgain = 500 * time.Millisecond
)

// WaitApplied waits until the gateways of whom are through with commit c. It returns a
// [NotAppliedError] with the reasons if one of them doesn't run it, or when ctx ends.
// Where those that are online are waited for, one that leaves and does not come back has
// not applied it, and neither has anybody if all that ever registered are offline.
// progress, if not nil, is told of every status that comes in. A store that is away for a
// while is waited for.
func (s *Store) WaitApplied(ctx context.Context, c Commit, whom Whom, progress func(Gateway)) error {
	w := &applyWait{commit: c, head: c, whom: whom, now: s.cfg.Now, all: map[string]*waited{}, progress: progress}
	if c.Fleet() {
		doc, err := s.fetchOf(ctx, c)
		if err != nil {
			return err
		}
		w.fleet = doc
	}
	for {
		w.listed = false
		err := s.watch(ctx, w.event, w.check)
		switch {
		case errors.Is(err, errSettled):
			return w.result()
		case ctx.Err() != nil:
			e := w.notApplied()
			e.Err = w.err
			return e
		case !errors.Is(err, ErrUnavailable):
			return err
		}
		w.err = err
		select {
		case <-ctx.Done():
		case <-time.After(waitAgain):
		}
	}
}

// errSettled ends a wait.
var errSettled = errors.New("all gateways are through with the commit")

// applyWait follows the gateways until they are through with a commit.
type applyWait struct {
	commit   Commit
	head     Commit // what is in force now
	whom     Whom
	fleet    *config.Document // names those that it is for; nil: it is for all
	now      func() time.Time
	all      map[string]*waited
	listed   bool    // all gateways are known
	replaced *Commit // by another document
	err      error   // of the store
	progress func(Gateway)
}

// waited is a gateway as a wait knows it.
type waited struct {
	Gateway
	wanted bool
	left   time.Time // when it was seen to leave
}

func (w *applyWait) event(e Event) error {
	switch {
	case e.Kind == EventCommit:
		if e.Err != nil {
			break
		}
		if w.head = e.Commit; w.head.SHA256 != w.commit.SHA256 {
			w.replaced = &e.Commit
		}
	case e.Kind == EventRollout:
	case e.Kind == EventForgotten:
		delete(w.all, e.Gateway.Gateway)
	default:
		w.note(e.Gateway)
	}
	if !w.listed {
		return nil
	}
	return w.check()
}

// note takes down what is known of a gateway now.
func (w *applyWait) note(g Gateway) {
	is := w.all[g.Gateway]
	if is == nil {
		is = &waited{}
		w.all[g.Gateway] = is
	}
	if is.Online && !g.Online {
		is.left = w.now()
	}
	is.Gateway, is.wanted = g, is.wanted || w.whom.wants(g) && w.concerns(g.Gateway)
	if w.progress != nil {
		w.progress(g)
	}
}

// concerns reports whether the commit is for a gateway. One that a person names is waited for
// in any case, and says why it stays as it is.
func (w *applyWait) concerns(gateway string) bool {
	if w.fleet == nil || slices.Contains(w.whom.Names, gateway) {
		return true
	}
	_, named := w.fleet.Get(config.Gateways, gateway)
	return named
}

// check ends the wait if nobody is missing.
func (w *applyWait) check() error {
	w.listed, w.err = true, nil
	for _, g := range w.all {
		if g.wanted && w.pending(g) {
			return nil
		}
	}
	for _, name := range w.whom.Names {
		if w.all[name] == nil {
			return nil // it may be on its way
		}
	}
	return errSettled
}

// pending reports whether g is still to be waited for.
func (w *applyWait) pending(g *waited) bool {
	if done, _ := g.Settled(w.head); done {
		return false
	}
	return g.Online || !w.whom.online() || w.now().Sub(g.left) < awayGrace
}

// result is what a wait to the end has found.
func (w *applyWait) result() error {
	if e := w.notApplied(); !e.empty() {
		return e
	}
	return nil
}

// notApplied lists the gateways that were waited for and don't run the commit. One that
// runs what took the commit's place has not failed.
func (w *applyWait) notApplied() *NotAppliedError {
	e := &NotAppliedError{Commit: w.commit, Replaced: w.replaced, Nobody: w.whom.All && len(w.all) == 0}
	var away []Gateway
	ran := false
	for _, name := range slices.Sorted(maps.Keys(w.all)) {
		g := w.all[name]
		done, _ := g.Settled(w.head)
		ok := done && (g.State == Applied || g.State == RolledBack && g.SHA256 == w.commit.SHA256)
		ran = ran || ok || g.wanted
		switch {
		case ok:
		case !w.concerns(name):
		case !g.wanted && !g.Online:
			away = append(away, g.Gateway)
		case !g.wanted: // it is for others to say
		case done:
			e.Failed = append(e.Failed, g.Gateway)
		case !g.Online:
			e.Offline = append(e.Offline, g.Gateway)
		default:
			e.Missing = append(e.Missing, g.Gateway)
		}
	}
	if !ran { // absence is no success
		e.Offline = append(e.Offline, away...)
	}
	for _, name := range w.whom.Names {
		if w.all[name] == nil {
			e.Unknown = append(e.Unknown, name)
		}
	}
	return e
}

// String says whom a wait is for, as --wait takes it.
func (w Whom) String() string {
	switch {
	case w.All:
		return "all"
	case len(w.Names) > 0:
		return strings.Join(w.Names, ",")
	}
	return "online"
}
