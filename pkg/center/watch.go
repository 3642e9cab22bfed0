package center

import (
	"context"
	"errors"
	"strings"
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
	EventRollout   EventKind = "rollout"   // an operator acted, or another push ended it
	EventForgotten EventKind = "forgotten" // its record was removed
)

// Event is something that happened in a store.
type Event struct {
	Kind    EventKind
	Rev     int64   // etcd revision of the event
	Commit  Commit  // of EventCommit
	Rollout string  // of EventRollout: what is new
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

// watch calls idle when what was there at the start has been told, and then every few
// seconds. An error of it ends the watch.
func (s *Store) watch(ctx context.Context, each func(Event) error, idle func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	head, at, err := s.head(ctx)
	if err != nil {
		return err
	}
	seen, _, err := s.roll(ctx)
	if err != nil {
		return err
	}
	w := watcher{store: s, each: each, seen: seen}
	if !head.None() {
		if err := each(Event{Kind: EventCommit, Rev: head.Rev, Commit: head}); err != nil {
			return err
		}
	}
	for _, g := range seen.list() {
		if err := each(Event{Kind: EventStatus, Rev: at.rev, Gateway: g}); err != nil {
			return err
		}
	}
	if err := idle(); err != nil {
		return err
	}
	// Both from the revision of the first read; what the second read has shown
	// already is told again.
	from := clientv3.WithRev(at.rev + 1)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	commits, err := s.watchKey(ctx, s.keys.commit(), from, clientv3.WithFilterDelete())
	if err != nil {
		return err
	}
	statuses, err := s.watchKey(ctx, s.keys.fleet(), from, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	rollouts, err := s.watchKey(ctx, s.keys.rollouts(), from, clientv3.WithPrefix(), clientv3.WithFilterDelete())
	if err != nil {
		return err
	}
	var oldStatuses clientv3.WatchChan
	if !seen.noOld {
		if oldStatuses, err = s.watchKey(ctx, s.keys.oldStatuses(), from, clientv3.WithPrefix()); err != nil {
			return err
		}
	}
	for {
		var resp clientv3.WatchResponse
		var ok bool
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok = <-commits:
		case resp, ok = <-statuses:
		case resp, ok = <-rollouts:
		case resp, ok = <-oldStatuses:
		case <-look.C:
			now, err := s.position(ctx)
			if err == nil && now.before(at) {
				err = errRestored
			}
			if err != nil && !errors.Is(err, ErrUnavailable) || errors.Is(err, errRestored) {
				return err
			}
			if err := idle(); err != nil {
				return err
			}
			continue
		}
		if err := watchError(resp, ok); err != nil { // then there may be no header
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return s.classify("watch", err)
		}
		at.rev = max(at.rev, resp.Header.Revision)
		for _, ev := range resp.Events {
			if err := w.event(ev); err != nil {
				return err
			}
		}
	}
}

// lookEvery is how often a watch looks about, and whether the store is the one that it watches: a
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
	store *Store
	each  func(Event) error
	seen  *roll
}

func (w *watcher) event(ev *clientv3.Event) error {
	key, rev, put := string(ev.Kv.Key), ev.Kv.ModRevision, ev.Type == clientv3.EventTypePut
	if key == w.store.keys.commit() {
		c, err := parseCommit(ev.Kv.Value, rev)
		return w.each(Event{Kind: EventCommit, Rev: rev, Commit: c, Err: err})
	}
	if id, of := strings.CutPrefix(key, w.store.keys.rollouts()); of {
		if strings.Contains(id, "/") { // its deadline
			return nil
		}
		e := Event{Kind: EventRollout, Rev: rev}
		r, err := parseRollout(id, ev.Kv.Value)
		if e.Err = err; err == nil {
			e.Rollout = r.news()
		}
		return w.each(e)
	}
	name, kind := w.seen.set(ev.Kv, put)
	g, known := w.seen.get(name)
	e := Event{Rev: rev, Gateway: g.Gateway}
	switch {
	case kind != kindStatus && kind != kindAlive:
		return nil
	case !known || kind == kindStatus && !put && !g.known:
		e.Kind = EventForgotten
	case kind == kindStatus:
		e.Kind, e.Err = EventStatus, g.err
	case g.Online:
		e.Kind = EventOnline
	default:
		e.Kind = EventOffline
	}
	return w.each(e)
}
