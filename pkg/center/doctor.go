package center

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// Health is the gravity of a [Diagnosis].
type Health string

// The grades.
const (
	Healthy Health = "ok"
	Doubt   Health = "warning"
	Sick    Health = "error"
)

// Diagnosis is one thing that [Store.Doctor] looked at.
type Diagnosis struct {
	Check   string `json:"check"`
	Health  Health `json:"health"`
	Message string `json:"message"` // what was found, and what to do
}

// Doctor examines the store: etcd itself, the records, the documents, and whether
// the item keys say what the committed document says. It changes nothing. The error
// is that of a store that can't be read at all.
func (s *Store) Doctor(ctx context.Context) ([]Diagnosis, error) {
	d := &doctor{store: s}
	d.etcd(ctx)
	head, _, err := s.head(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
		return d.found, err
	}
	switch {
	case errors.Is(err, ErrDamaged) && head.Rev > 0:
		d.sick("commit", "%v; edge-cfg doctor --repair makes it anew from the releases", err)
	case err != nil:
		d.sick("commit", "%v", err)
	case head.None():
		d.doubt("commit", "nothing was ever pushed to %s", s.keys.prefix)
	default:
		d.fine("commit", "rev %d, release %d, by %s", head.Rev, head.Release, head.Author)
		d.release(ctx, head)
		d.document(ctx, head)
	}
	if err := d.claims(ctx); err != nil {
		return d.found, err
	}
	if err := d.history(ctx, head); err != nil {
		return d.found, err
	}
	return d.found, d.gateways(ctx, head)
}

type doctor struct {
	store *Store
	found []Diagnosis
}

func (d *doctor) add(h Health, check, format string, args ...any) {
	d.found = append(d.found, Diagnosis{Check: check, Health: h, Message: fmt.Sprintf(format, args...)})
}
func (d *doctor) fine(check, format string, args ...any)  { d.add(Healthy, check, format, args...) }
func (d *doctor) doubt(check, format string, args ...any) { d.add(Doubt, check, format, args...) }
func (d *doctor) sick(check, format string, args ...any)  { d.add(Sick, check, format, args...) }

// etcd looks at the servers.
func (d *doctor) etcd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.store.cfg.DialTimeout)
	defer cancel()
	for _, endpoint := range d.store.cfg.Endpoints {
		st, err := d.store.etcd.Status(ctx, endpoint)
		switch {
		case err != nil:
			d.sick("etcd", "%s: %v", endpoint, err)
		case len(st.Errors) > 0:
			d.sick("etcd", "%s: %s", endpoint, strings.Join(st.Errors, "; "))
		default:
			quota := ""
			if st.DbSizeQuota > 0 {
				quota = fmt.Sprintf(", %d KiB at most", st.DbSizeQuota>>10)
			}
			d.fine("etcd", "%s: version %s, database %d KiB of which %d KiB are used%s, leader %x",
				endpoint, st.Version, st.DbSize>>10, st.DbSizeInUse>>10, quota, st.Leader)
		}
	}
	alarms, err := d.store.etcd.AlarmList(ctx)
	if err != nil {
		return // an etcd user need not have the right
	}
	for _, a := range alarms.Alarms {
		hint := ""
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE {
			hint = "; nothing can be pushed until there is room: edge-cfg compact makes some, or raise its quota"
		}
		d.sick("etcd", "member %x raised the alarm %s%s", a.MemberID, a.Alarm, hint)
	}
}

// release checks that the head is the last release too.
func (d *doctor) release(ctx context.Context, head Commit) {
	last, err := d.store.lastRelease(ctx)
	switch {
	case err != nil:
		d.sick("releases", "%v", err)
	case last != head.Release:
		d.sick("releases", "the last release is %d, but the commit is release %d; edge-cfg doctor --repair puts it right", last, head.Release)
	default:
		d.fine("releases", "%d", last)
	}
}

// document proves the item keys equal to the committed document.
func (d *doctor) document(ctx context.Context, head Commit) {
	s := d.store
	doc, err := s.fetchOf(ctx, head)
	if err != nil {
		d.sick("document", "%v; edge-cfg doctor --repair writes it anew if the item keys say the same, else edge-cfg push --force DIR", err)
		return
	}
	d.fine("document", "%s, sha256 %.12s", words.Count(doc.Len(), "item"), doc.SHA256())
	for _, t := range config.AllTables() {
		if got := doc.TableSHA256(t); got != head.Tables[t] && (!t.IsLayer() || doc.Layered()) {
			d.sick("document", "%s has the hash %.12s, but the commit says %.12s", t, got, head.Tables[t])
		}
	}
	if head.Fleet() {
		d.records(ctx, Version{Commit: head, Doc: doc})
	}
	items, err := s.readItems(ctx)
	if err != nil {
		d.sick("items", "%v", err)
		return
	}
	diff := items.changesTo(doc)
	if len(diff) == 0 {
		d.fine("items", "the item keys are equal to the document")
		return
	}
	var names []string
	for _, c := range diff[:min(len(diff), 5)] {
		names = append(names, string(c.Table)+"/"+c.ID)
	}
	d.sick("items", "the keys of %s differ from the document (%s, …): something other than edge-cfg wrote them, or a push was cut off; "+
		"gateways don't read them; edge-cfg doctor --repair puts them right", words.Count(len(diff), "item"), strings.Join(names, ", "))
}

// records proves that each gateway of a fleet is told to run what is rendered for it.
func (d *doctor) records(ctx context.Context, v Version) {
	wrong, err := d.store.checkRecords(ctx, v)
	switch {
	case err != nil:
		d.sick("fleet", "%v", err)
	case len(wrong) > 0:
		d.sick("fleet", "the records of %s (%s, …) are not as the commit has them; edge-cfg doctor --repair writes them anew",
			words.Count(len(wrong), "gateway"), strings.Join(wrong[:min(len(wrong), 5)], ", "))
	default:
		d.fine("fleet", "%s, the record of each is as the commit has it", words.Count(len(v.Doc.Items(config.Gateways)), "gateway"))
	}
}

// claims looks for a push in progress, or one that was cut off.
func (d *doctor) claims(ctx context.Context) error {
	resp, err := d.store.commit(ctx, "look for a push in progress", txn{then: []clientv3.Op{
		clientv3.OpGet(d.store.keys.pending()), clientv3.OpGet(d.store.keys.dirty()),
	}})
	if err != nil {
		return err
	}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		d.doubt("push", "a push is in progress: %s", claimant(kvs[0].Value))
	} else if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		d.doubt("push", "a push was cut off (%s); it is invisible, and the next push repairs what it wrote", claimant(kvs[0].Value))
	} else {
		d.fine("push", "none is in progress, none was cut off")
	}
	return nil
}

func claimant(record []byte) string {
	c, err := parseCommit(record, 1)
	if err != nil {
		return "by nobody knows whom"
	}
	return fmt.Sprintf("by %s at %s, %q", c.Author, moment.Format(c.Time), c.Message)
}

// history checks that the documents of the kept releases are there.
func (d *doctor) history(ctx context.Context, head Commit) error {
	if head.Release == 0 {
		return nil
	}
	log, err := d.store.Log(ctx, d.store.cfg.KeepReleases)
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) {
		d.sick("history", "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range log {
		kept, err := d.store.kept(ctx, c)
		if err != nil {
			return err
		}
		if !kept {
			missing = append(missing, fmt.Sprint(c.Rev))
		}
	}
	if len(missing) > 0 {
		d.doubt("history", "the documents of rev %s are gone; there is no rollback to them", strings.Join(missing, ", "))
	} else {
		d.fine("history", "rollback is possible to %s", lastReleases(len(log)))
	}
	return nil
}

// lastReleases names those that are kept.
func lastReleases(n int) string {
	if n == 1 {
		return "the last release"
	}
	return "the last " + words.Count(n, "release")
}

// gateways looks at who follows.
func (d *doctor) gateways(ctx context.Context, head Commit) error {
	all, err := d.store.Gateways(ctx)
	if err != nil {
		return err
	}
	behind := slices.DeleteFunc(slices.Clone(all), func(g Gateway) bool {
		_, ok := g.Settled(head)
		return g.Online && (ok || !head.Fleet() && g.SHA256 == head.SHA256 && g.State != Failed)
	})
	for _, g := range behind {
		state, since := g.Shown()
		d.doubt("gateways", "%s: %s since %s, rev %d %s", g.Gateway, state, moment.Format(since), g.Rev, g.Error)
	}
	if len(behind) == 0 {
		d.fine("gateways", "%d, all of them on rev %d", len(all), head.Rev)
	}
	return nil
}
