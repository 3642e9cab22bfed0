package center

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// register claims the gateway_id unless that is done. An earlier run's lease is
// waited for, but not longer than it can last.
func (s *session) register(ctx context.Context) error {
	if s.lease != 0 {
		return nil
	}
	f := s.f
	st := f.View().Status
	st.Seen = f.cfg.Store.Now().UTC()
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
	s.lease, s.written = lease, st
	s.beats, err = s.store.etcd.KeepAlive(ctx, lease)
	if err != nil {
		return fmt.Errorf("keep the registration alive: %w", err)
	}
	return nil
}

// report writes the status if it has changed, or if always is set.
func (s *session) report(ctx context.Context, always bool) error {
	st := s.f.View().Status
	if s.lease == 0 {
		return nil
	}
	st.Seen = s.written.Seen
	if !always && st == s.written {
		return nil
	}
	st.Seen = s.f.cfg.Store.Now().UTC()
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
