package center

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// EventKind says what an [Event] is about.
type EventKind string

// The kinds of events.
const (
	EventCommit    EventKind = "commit"    // somebody pushed, or rolled back
	EventStatus    EventKind = "status"    // a gateway reports
	EventOnline    EventKind = "online"    // a gateway has registered
	EventOffline   EventKind = "offline"   // its lease has ended
	EventForgotten EventKind = "forgotten" // its record was removed
)

// Event is something that happened in a store.
type Event struct {
	Kind    EventKind
	Rev     int64   // etcd revision of the event
	Commit  Commit  // of EventCommit
	Gateway Gateway // of the others: the gateway as it is after the event
	Err     error   // a record that can't be read
}

// Watch calls each with everything that happens from now on: it begins with the
// commit in force and one status event per gateway, so that nothing is missed
// between a look at the store and the first event. It returns when each returns an
// error, ctx ends, or the store can't be watched any more.
func (s *Store) Watch(ctx context.Context, each func(Event) error) error {
	return s.watch(ctx, each, func() error { return nil })
}

// watch calls listed when what was there at the start has been told.
func (s *Store) watch(ctx context.Context, each func(Event) error, listed func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	head, at, err := s.head(ctx)
	if err != nil {
		return err
	}
	gateways, _, err := s.gateways(ctx)
	if err != nil {
		return err
	}
	w := watcher{store: s, each: each, gateways: map[string]Gateway{}}
	if !head.None() {
		if err := each(Event{Kind: EventCommit, Rev: head.Rev, Commit: head}); err != nil {
			return err
		}
	}
	for _, g := range gateways {
		w.gateways[g.Gateway] = g
		if err := each(Event{Kind: EventStatus, Rev: at.rev, Gateway: g}); err != nil {
			return err
		}
	}
	if err := listed(); err != nil {
		return err
	}
	// Both from the revision of the first read; what the second read has shown
	// already is told again.
	from := clientv3.WithRev(at.rev + 1)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	ctx = clientv3.WithRequireLeader(ctx)
	commits := s.etcd.Watch(ctx, s.keys.commit(), from, clientv3.WithFilterDelete())
	statuses := s.etcd.Watch(ctx, s.keys.statuses(), from, clientv3.WithPrefix())
	for {
		var resp clientv3.WatchResponse
		var ok bool
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok = <-commits:
		case resp, ok = <-statuses:
		case <-look.C:
			now, err := s.position(ctx)
			if err == nil && now.before(at) {
				err = errRestored
			}
			if err != nil && !errors.Is(err, ErrUnavailable) || errors.Is(err, errRestored) {
				return err
			}
			continue
		}
		at.rev = max(at.rev, resp.Header.Revision)
		if err := watchError(resp, ok); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return s.classify("watch", err)
		}
		for _, ev := range resp.Events {
			if err := w.event(ev); err != nil {
				return err
			}
		}
	}
}

// lookEvery is how often a watch looks whether the store is the one that it watches: a
// watch of a store that was put back to an earlier state says nothing.
const lookEvery = 3 * time.Second

// position returns where the store is now.
func (s *Store) position(ctx context.Context) (position, error) {
	resp, err := s.get(ctx, "look at the store", s.keys.commit(), clientv3.WithCountOnly())
	if err != nil {
		return position{}, err
	}
	return positionOf(resp.Header), nil
}

// watcher keeps what is known of the gateways, since an event changes a part of it.
type watcher struct {
	store    *Store
	each     func(Event) error
	gateways map[string]Gateway
}

func (w *watcher) event(ev *clientv3.Event) error {
	key, rev := string(ev.Kv.Key), ev.Kv.ModRevision
	if key == w.store.keys.commit() {
		c, err := parseCommit(ev.Kv.Value, rev)
		return w.each(Event{Kind: EventCommit, Rev: rev, Commit: c, Err: err})
	}
	name, kind := w.store.keys.parseStatusKey(key)
	g := w.gateways[name]
	g.Gateway = name
	e := Event{Rev: rev}
	switch put := ev.Type == clientv3.EventTypePut; {
	case kind == "" && put:
		e.Kind = EventStatus
		g.Status, e.Err = parseStatus(name, ev.Kv.Value)
	case kind == "":
		e.Kind = EventForgotten
	case kind == "alive" && put:
		e.Kind, g.Online = EventOnline, true
	case kind == "alive":
		e.Kind, g.Online = EventOffline, false
	default:
		return nil
	}
	e.Gateway = g
	w.gateways[name] = g
	if e.Kind == EventForgotten {
		delete(w.gateways, name)
	}
	return w.each(e)
}

// NotAppliedError tells which gateways don't run a commit.
type NotAppliedError struct {
	Commit   Commit
	Failed   []Gateway // finished, without success
	Missing  []Gateway // not finished when the wait ended
	Replaced *Commit   // another commit took its place meanwhile
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
	if e.Replaced != nil {
		text += fmt.Sprintf("; rev %d by %s took its place", e.Replaced.Rev, e.Replaced.Author)
		if len(e.Failed) == 0 { // else its message repeats why
			text += ": " + e.Replaced.Message
		}
	}
	return text
}

// WaitApplied waits until every gateway that is online is through with commit c. It
// returns a [NotAppliedError] with the reasons if one of them doesn't run it, or
// when ctx ends. progress, if not nil, is told of every status that comes in.
func (s *Store) WaitApplied(ctx context.Context, c Commit, progress func(Gateway)) error {
	w := &applyWait{commit: c, head: c, all: map[string]Gateway{}, progress: progress}
	err := s.watch(ctx, w.event, w.check)
	switch {
	case errors.Is(err, errSettled):
		return w.result()
	case err != nil && ctx.Err() != nil:
		return w.notApplied()
	}
	return err
}

// errSettled ends a wait.
var errSettled = errors.New("all gateways are through with the commit")

// applyWait follows the gateways until they are through with a commit.
type applyWait struct {
	commit   Commit
	head     Commit // what is in force now
	all      map[string]Gateway
	listed   bool    // all gateways are known
	replaced *Commit // by a newer one with another document
	progress func(Gateway)
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
	case e.Kind == EventForgotten:
		delete(w.all, e.Gateway.Gateway)
	default:
		w.all[e.Gateway.Gateway] = e.Gateway
		if w.progress != nil {
			w.progress(e.Gateway)
		}
	}
	if !w.listed {
		return nil
	}
	return w.check()
}

// check ends the wait if nobody is missing.
func (w *applyWait) check() error {
	w.listed = true
	for _, g := range w.all {
		if done, _ := g.Settled(w.head); g.Online && !done {
			return nil
		}
	}
	return errSettled
}

// result is what a wait to the end has found.
func (w *applyWait) result() error {
	if e := w.notApplied(); len(e.Failed) > 0 || e.Replaced != nil {
		return e
	}
	return nil
}

// notApplied lists the gateways that are online and don't run the commit. One that
// runs what took the commit's place has not failed.
func (w *applyWait) notApplied() *NotAppliedError {
	e := &NotAppliedError{Commit: w.commit, Replaced: w.replaced}
	for _, name := range slices.Sorted(maps.Keys(w.all)) {
		g := w.all[name]
		switch done, _ := g.Settled(w.head); {
		case !g.Online, done && (g.State == Applied || g.State == RolledBack && g.SHA256 == w.commit.SHA256):
		case done:
			e.Failed = append(e.Failed, g)
		default:
			e.Missing = append(e.Missing, g)
		}
	}
	return e
}
