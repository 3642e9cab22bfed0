package center

import (
	"context"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Restore returns the document that a rollback makes of head, to be looked at,
// linted and pushed: table as it was at the commit of etcd revision rev, or all
// tables if table is "". With rev 0 it goes back to the newest release in which
// they were different. It also returns the commit that it went back to.
func (s *Store) Restore(ctx context.Context, head Version, table config.Table, rev int64) (*config.Document, Commit, error) {
	if table != "" && table.Index() < 0 {
		return nil, Commit{}, fmt.Errorf("table %q: expected one of %v, or all", table, config.Tables())
	}
	old, err := s.restoreFrom(ctx, head.Commit, table, rev)
	if err != nil {
		return nil, old.Commit, err
	}
	if table == "" {
		return old.Doc, old.Commit, nil
	}
	return head.Document().WithTable(table, old.Doc), old.Commit, nil
}

func (s *Store) restoreFrom(ctx context.Context, head Commit, table config.Table, rev int64) (Version, error) {
	if rev != 0 {
		return s.LoadRev(ctx, rev)
	}
	log, err := s.Log(ctx, s.cfg.KeepReleases)
	if err != nil {
		return Version{}, err
	}
	for _, c := range log {
		if c.Rev < head.Rev && c.hash(table) != head.hash(table) {
			return s.LoadRelease(ctx, c.Release)
		}
	}
	what := "the configuration was"
	if table != "" {
		what = fmt.Sprintf("%s were", table)
	}
	return Version{}, fmt.Errorf("%w: %s never different in the %d releases that are kept", ErrNoRelease, what, s.cfg.KeepReleases)
}

// hash identifies the state of a table, or of all for "".
func (c Commit) hash(table config.Table) string {
	if table == "" {
		return c.SHA256
	}
	return c.Tables[table]
}
