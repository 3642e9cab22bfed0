package center

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Compacted is what [Store.Compact] did to one server.
type Compacted struct {
	Endpoint string `json:"endpoint"`
	Before   int64  `json:"size_before"` // of the database, bytes
	After    int64  `json:"size"`
	Used     int64  `json:"used"`
	Quota    int64  `json:"quota,omitempty"` // where the server tells
}

// Compact makes room in etcd: it gives up the history of all keys (not our releases, which
// are keys of their own), then defragments one server after the other, each of which
// answers nothing meanwhile, and lifts the alarm of a full database. With passwords on
// that takes root's rights. It returns what was done before an error.
func (s *Store) Compact(ctx context.Context) ([]Compacted, error) {
	at, err := s.position(ctx)
	if err != nil {
		return nil, err
	}
	err = s.retry(ctx, "compact", func(ctx context.Context) error {
		_, err := s.etcd.Compact(ctx, at.rev, clientv3.WithCompactPhysical())
		if err != nil && isCompacted(err) {
			return nil // by an attempt before, or by the server itself
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var done []Compacted
	for _, endpoint := range s.cfg.Endpoints {
		c, err := s.defragment(ctx, endpoint)
		if err != nil {
			return done, s.classify("defragment "+endpoint, err)
		}
		done = append(done, c)
	}
	if _, err := s.etcd.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return done, s.classify("lift the alarm", err)
	}
	return done, nil
}

func (s *Store) defragment(ctx context.Context, endpoint string) (Compacted, error) {
	before, err := s.etcd.Status(ctx, endpoint)
	if err != nil {
		return Compacted{}, err
	}
	if _, err := s.etcd.Defragment(ctx, endpoint); err != nil {
		return Compacted{}, err
	}
	after, err := s.etcd.Status(ctx, endpoint)
	if err != nil {
		return Compacted{}, err
	}
	return Compacted{Endpoint: endpoint, Before: before.DbSize, After: after.DbSize, Used: after.DbSizeInUse, Quota: after.DbSizeQuota}, nil
}

// String tells it in a line.
func (c Compacted) String() string {
	text := fmt.Sprintf("%s: %d KiB, was %d KiB", c.Endpoint, c.After>>10, c.Before>>10)
	if c.Quota > 0 {
		text += fmt.Sprintf("; it may have %d KiB", c.Quota>>10)
	}
	return text
}
