package center

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// register claims the gateway_id unless that is done. An earlier run's lease is
// waited for, but not longer than it can last.
func (s *session) register(ctx context.Context) error {
	if s.lease != 0 {
		return nil
	}
	f := s.f
	if err := s.lookBack(ctx); err != nil {
		return err
	}
	st := f.View().Status
	st.Seen, st.Log = f.cfg.Store.Now().UTC(), f.claim()
	lease, err := s.store.register(ctx, f.me, st, f.cfg.LeaseTTL)
	if errors.Is(err, errWait) {
		if s.refused.IsZero() {
			s.refused = time.Now()
		}
		if claimed := (*ClaimedError)(nil); errors.As(err, &claimed) && time.Since(s.refused) > f.cfg.LeaseTTL+5*time.Second {
			return claimed
		}
		return errWait
	}
	if err != nil {
		return err
	}
	s.lease, s.written, s.beat = lease, st, time.Now()
	s.beats, err = s.store.etcd.KeepAlive(ctx, lease)
	if err != nil {
		return fmt.Errorf("keep the registration alive: %w", err)
	}
	return nil
}

// lookBack takes over what an earlier run has left in the status, which the registration
// is about to replace: what ran, and how far the log had come, to which it is held.
func (s *session) lookBack(ctx context.Context) error {
	f := s.f
	was, err := s.lastStatus(ctx)
	if err != nil || was.Instance == "" {
		return err
	}
	f.update(func(st *Status) {
		for _, id := range slices.Backward(strings.Fields(st.Refused)) { // of this run: the newest
			was.Refused = withID(was.Refused, id)
		}
		for _, id := range slices.Backward(strings.Fields(st.Unsigned)) {
			was.Unsigned = withID(was.Unsigned, id)
		}
		for _, id := range slices.Backward(strings.Fields(st.Ran)) {
			was.runs(id)
		}
		st.Ran, st.Refused, st.Unsigned = was.Ran, was.Refused, was.Unsigned
	})
	if f.cfg.Witness != nil && was.Log != (Seen{}) {
		f.cfg.Witness(was.Log)
	}
	return nil
}

// lastStatus returns the newest status of this instance, the last version's too. A status
// that can't be read says nothing; another gateway's is refused later.
func (s *session) lastStatus(ctx context.Context) (was Status, err error) {
	me, keys := s.f.cfg, s.store.keys
	for i, key := range []string{keys.status(me.Gateway), keys.oldStatus(me.Gateway)} {
		resp, err := s.store.get(ctx, "read the status", key)
		if i > 0 && errors.Is(err, ErrRefused) { // out of reach for the role
			break
		}
		if err != nil {
			return Status{}, err
		}
		for _, kv := range resp.Kvs {
			st, err := parseStatus(me.Gateway, kv.Value)
			if err == nil && st.Instance == me.Instance && !st.Seen.Before(was.Seen) {
				was = st
			}
		}
	}
	return was, nil
}

// claim returns how far the gateway's log has come.
func (f *Follower) claim() Seen {
	if f.cfg.Claim == nil {
		return Seen{}
	}
	return f.cfg.Claim()
}

// report writes the status if it has changed, or if always is set.
func (s *session) report(ctx context.Context, always bool) error {
	st := s.f.View().Status
	if s.lease == 0 {
		return nil
	}
	st.Seen, st.Log = s.written.Seen, s.written.Log
	if !always && st == s.written {
		return nil
	}
	st.Seen, st.Log = s.f.cfg.Store.Now().UTC(), s.f.claim()
	if err := s.store.putStatus(ctx, s.lease, st); err != nil {
		return err
	}
	s.written = st
	return nil
}

// leave says good-bye, so that the gateway is shown as offline at once.
func (s *session) leave() {
	if s.lease == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.report(ctx, true); err != nil {
		return // the store is away, so the lease has to run out
	}
	_, _ = s.store.etcd.Revoke(ctx, s.lease) // as above
}
