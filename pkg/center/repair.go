package center

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/rollout"
)

// Repair puts right what [Store.Doctor] finds wrong and what the store itself says how to
// mend, and returns a line for each thing that it did:
//
//   - a commit record that is gone, can't be read, or is older than the last release, is
//     made anew from the newest release whose document can be read;
//   - the release of the commit, its document and the item keys are written as the commit
//     says.
//
// It makes no new release: gateways run what they ran.
func (s *Store) Repair(ctx context.Context) ([]string, error) {
	var done []string
	head, _, err := s.head(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) || err == nil && head.None() {
		return nil, err
	}
	last, lastErr := s.lastRelease(ctx)
	if lastErr != nil {
		return nil, lastErr
	}
	if err != nil || last != head.Release {
		text, err := s.repairCommit(ctx, head, last)
		if err != nil {
			return nil, err
		}
		done = append(done, text)
	}
	v, err := s.Load(ctx)
	if err != nil {
		return done, err
	}
	sound, err := s.sound(ctx, v)
	if err != nil || sound {
		return done, err
	}
	if _, err := s.Rewrite(ctx, v); err != nil {
		return done, err
	}
	return append(done, fmt.Sprintf("the document and the item keys of rev %d were written anew", v.Commit.Rev)), nil
}

// repairCommit makes the commit record anew: from the newest release that is whole, or, if
// it has gone further than the releases, its release from it.
func (s *Store) repairCommit(ctx context.Context, head Commit, last uint64) (string, error) {
	if head.Release > last {
		return fmt.Sprintf("the record of release %d was written anew", head.Release), s.putCommit(ctx, head.Rev, head)
	}
	for n := last; n > 0; n-- {
		v, err := s.LoadRelease(ctx, n)
		if errors.Is(err, ErrNoRelease) || errors.Is(err, ErrDamaged) {
			continue
		}
		if errors.Is(err, ErrNotKept) {
			break
		}
		if err != nil {
			return "", err
		}
		if n < last { // what lies above it stays on the log, and counts
			went, err := s.wentThrough(ctx, v.Commit)
			if err != nil {
				return "", err
			}
			if !went {
				continue
			}
			v.Commit.Rollout = "" // that one is over
			v.Commit.Release = last + 1
			v.Commit.Message = clip(fmt.Sprintf("repair: back to release %d, the last one whose document can be read", n), maxMessage)
		}
		return fmt.Sprintf("the commit record was made anew from release %d (%.12s)", n, v.Commit.SHA256), s.putCommit(ctx, head.Rev, v.Commit)
	}
	return "", fmt.Errorf("%w: no release has a document that can be read; edge-cfg push --force DIR begins anew, after them", ErrDamaged)
}

// wentThrough reports whether a release that isn't the last one was for all gateways in the
// end. One whose rollout halted is nothing to go back to.
func (s *Store) wentThrough(ctx context.Context, c Commit) (bool, error) {
	if c.Rollout == "" {
		return true, nil
	}
	t, err := s.readRollout(ctx, c.Rollout)
	if errors.Is(err, ErrDamaged) {
		return false, nil
	}
	return err == nil && t.record.Over && t.record.Control == rollout.Done, err
}

// putCommit writes the records of c in place of the commit record of revision rev, 0 if
// there is none. Both have one revision then, as after a push.
func (s *Store) putCommit(ctx context.Context, rev int64, c Commit) error {
	c.Delta = nil
	record, release, err := c.encode()
	if err != nil {
		return err
	}
	resp, err := s.commit(ctx, "repair the commit", txn{
		compare: []clientv3.Cmp{modifiedAt(s.keys.commit(), rev), absent(s.keys.pending())},
		then:    []clientv3.Op{clientv3.OpPut(s.keys.commit(), string(record)), clientv3.OpPut(s.keys.release(c.Release), string(release))},
		orElse:  []clientv3.Op{clientv3.OpGet(s.keys.commit())},
	})
	if err != nil || resp.Succeeded {
		return err
	}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		if now, err := parseCommit(kvs[0].Value, kvs[0].ModRevision); err == nil && now.ID == c.ID {
			return nil // an attempt whose answer was lost
		}
	}
	return fmt.Errorf("repair the commit: %w; try again", errBusy)
}

// sound reports whether the document and the item keys are as the commit says.
func (s *Store) sound(ctx context.Context, v Version) (bool, error) {
	switch doc, err := s.fetchOf(ctx, v.Commit); {
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrNotKept):
		return false, nil
	case err != nil:
		return false, err
	default:
		v.Doc = doc
	}
	resp, err := s.get(ctx, "look for a push that was cut off", s.keys.dirty(), clientv3.WithCountOnly())
	if err != nil || resp.Count > 0 {
		return false, err
	}
	if v.Commit.Fleet() {
		if wrong, err := s.checkRecords(ctx, v); err != nil || len(wrong) > 0 {
			return false, err
		}
	}
	items, err := s.readItems(ctx)
	return err == nil && len(items.changesTo(v.Doc)) == 0, err
}

// Rewrite writes the document and the item keys of v, which is in force, anew, whatever
// stands there. It makes no new commit.
func (s *Store) Rewrite(ctx context.Context, v Version) (Commit, error) {
	p, err := s.plan(v, v.Document(), PushOptions{})
	if err != nil {
		return Commit{}, err
	}
	p.rewrite = true
	if err := s.prepareRollout(ctx, p, nil, false); err != nil {
		return Commit{}, err
	}
	for {
		c, err := s.pushInSteps(ctx, p)
		if !errors.Is(err, errBusy) {
			return c, err
		}
		if err := s.waitIdle(ctx); err != nil {
			return Commit{}, err
		}
	}
}
