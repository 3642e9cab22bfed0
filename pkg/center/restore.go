package center

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Restore returns the document that a rollback makes of head, to be looked at,
// linted and pushed: table as it was at the commit of etcd revision rev, or all
// tables if table is "". With rev 0 it goes back to the newest release in which
// they were different and which ran on a gateway; where no gateway remembers, to the
// newest that none has refused. It also returns the commit that it went back to.
func (s *Store) Restore(ctx context.Context, head Version, table config.Table, rev int64) (*config.Document, Commit, error) {
	if table != "" && table.Index() < 0 {
		return nil, Commit{}, fmt.Errorf("table %q: expected one of %v, or all", table, config.AllTables())
	}
	if rev == 0 {
		var err error
		if rev, err = s.lastApplied(ctx, head.Commit, table); err != nil {
			return nil, Commit{}, err
		}
	}
	old, err := s.LoadRev(ctx, rev)
	if err != nil {
		return nil, old.Commit, err
	}
	if table == "" {
		return old.Doc, old.Commit, nil
	}
	return head.Document().WithTable(table, old.Doc), old.Commit, nil
}

// lastApplied returns the revision of the release that "previous" means.
func (s *Store) lastApplied(ctx context.Context, head Commit, table config.Table) (int64, error) {
	log, err := s.Log(ctx, s.cfg.KeepReleases)
	if err != nil {
		return 0, err
	}
	gateways, err := s.Gateways(ctx)
	if err != nil {
		return 0, err
	}
	var unknown int64 // the newest of which nobody knows
	var refused error // the newest that is known not to run
	for _, c := range log {
		if c.Rev >= head.Rev || c.hash(table) == head.hash(table) {
			continue
		}
		why := refusal(c, log, gateways)
		if why == "" && unsigned(c, log, gateways) { // somebody else's document, for all that is known
			why = "it was refused for its signature"
		}
		if why != "" {
			if refused == nil {
				refused = fmt.Errorf("%w: none that ran differs from what is in force; rev %d does, but did not run (%s)", ErrNoRelease, c.Rev, why)
			}
			continue
		}
		if ran(c, gateways) {
			return c.Rev, nil
		}
		if unknown == 0 {
			unknown = c.Rev
		}
	}
	switch {
	case unknown == 0 && refused != nil:
		return 0, refused
	case unknown == 0:
		return 0, neverDifferent(table, s.cfg.KeepReleases)
	}
	return unknown, nil
}

// ran reports whether a gateway says that it ran c.
func ran(c Commit, gateways []Gateway) bool {
	return slices.ContainsFunc(gateways, func(g Gateway) bool { return hasID(g.Ran, c.ID) })
}

// unsigned reports whether a gateway refused c for its signature.
func unsigned(c Commit, log []Commit, gateways []Gateway) bool {
	return slices.ContainsFunc(gateways, func(g Gateway) bool { return hasID(g.Unsigned, c.ID) }) ||
		slices.ContainsFunc(log, func(later Commit) bool { return later.Unsigned && later.tookBack(c) })
}

// tookBack reports whether c is a gateway's commit that put the store back from bad.
func (c Commit) tookBack(bad Commit) bool {
	return c.BaseRev == bad.Rev && c.BaseSHA256 == bad.SHA256 && strings.HasPrefix(c.Author.OSUser, GatewayAuthor)
}

// refusal says why c is known not to run: a gateway put the store back from it, or says of
// it that it does not run there. "" if nothing is known.
func refusal(c Commit, log []Commit, gateways []Gateway) string {
	for _, g := range gateways {
		switch {
		case !hasID(g.Refused, c.ID):
		case g.Tried == c.ID && g.Error != "":
			return g.Gateway + ": " + g.Error
		default:
			return g.Gateway + " has refused it"
		}
	}
	for _, later := range log {
		if later.tookBack(c) && !later.Unsigned {
			return later.Author.OSUser + ": " + later.Message
		}
	}
	return ""
}

// Refusal says why a rollback to c, which makes the document of this hash, is known not to
// run: c was refused, or a release with that document was. It returns which, and why; ""
// if nothing is known of them.
func (s *Store) Refusal(ctx context.Context, c Commit, sha256 string) (rev int64, why string, err error) {
	log, err := s.Log(ctx, s.cfg.KeepReleases)
	if err != nil {
		return 0, "", err
	}
	gateways, err := s.Gateways(ctx)
	if err != nil {
		return 0, "", err
	}
	for _, candidate := range append([]Commit{c}, log...) {
		if candidate.ID != c.ID && candidate.SHA256 != sha256 {
			continue
		}
		if why := refusal(candidate, log, gateways); why != "" {
			return candidate.Rev, why, nil
		}
	}
	return 0, "", nil
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
	return Version{}, neverDifferent(table, s.cfg.KeepReleases)
}

func neverDifferent(table config.Table, kept int) error {
	what := "the configuration was"
	if table != "" {
		what = fmt.Sprintf("%s were", table)
	}
	return fmt.Errorf("%w: %s never different in %s, which is all that is kept", ErrNoRelease, what, lastReleases(kept))
}

// hash identifies the state of a table, or of all for "".
func (c Commit) hash(table config.Table) string {
	if table == "" {
		return c.SHA256
	}
	return c.Tables[table]
}
