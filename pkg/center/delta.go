package center

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Delta is what turns one document into another: items to put and ids to remove,
// per table.
type Delta struct {
	Put    map[config.Table]map[string]json.RawMessage `json:"put,omitempty"`
	Remove map[config.Table][]string                   `json:"remove,omitempty"`
}

// Counts says how many items of a table a commit changed.
type Counts struct {
	Added   int `json:"added,omitempty"`
	Removed int `json:"removed,omitempty"`
	Changed int `json:"changed,omitempty"`
}

// Changes counts per table; tables without changes are left out.
type Changes map[config.Table]Counts

// Total returns the number of all changed items.
func (c Changes) Total() int {
	n := 0
	for _, t := range c {
		n += t.Added + t.Removed + t.Changed
	}
	return n
}

// change is one item that differs between two documents. old or new is nil where
// the item is missing.
type change struct {
	table    config.Table
	id       string
	old, new []byte
}

// changes lists what differs, ordered by table and id.
func changes(old, new *Document) []change {
	var out []change
	for i, t := range config.Tables() {
		a, b := old.tables[i], new.tables[i]
		for len(a) > 0 || len(b) > 0 {
			switch order := compareHeads(a, b); {
			case order < 0:
				out = append(out, change{table: t, id: a[0].ID, old: a[0].JSON})
				a = a[1:]
			case order > 0:
				out = append(out, change{table: t, id: b[0].ID, new: b[0].JSON})
				b = b[1:]
			default:
				if !sameBytes(a[0].JSON, b[0].JSON) {
					out = append(out, change{t, a[0].ID, a[0].JSON, b[0].JSON})
				}
				a, b = a[1:], b[1:]
			}
		}
	}
	return out
}

func compareHeads(a, b []Item) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return cmp.Compare(a[0].ID, b[0].ID)
}

// sameBytes is bytes.Equal with a short cut for slices that two documents share.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

func count(list []change) Changes {
	out := Changes{}
	for _, c := range list {
		n := out[c.table]
		switch {
		case c.old == nil:
			n.Added++
		case c.new == nil:
			n.Removed++
		default:
			n.Changed++
		}
		out[c.table] = n
	}
	return out
}

// newDelta returns the delta of list, or nil if it would be larger than limit
// bytes.
func newDelta(list []change, limit int) *Delta {
	size := 0
	d := &Delta{Put: map[config.Table]map[string]json.RawMessage{}, Remove: map[config.Table][]string{}}
	for _, c := range list {
		if size += len(c.id) + len(c.new) + 8; size > limit {
			return nil
		}
		if c.new == nil {
			d.Remove[c.table] = append(d.Remove[c.table], c.id)
			continue
		}
		if d.Put[c.table] == nil {
			d.Put[c.table] = map[string]json.RawMessage{}
		}
		d.Put[c.table][c.id] = c.new
	}
	return d
}

// Apply returns base with the delta's changes. The result shares the unchanged
// items with base. It is an error if an item to be removed isn't there, or an item
// isn't one.
func (d *Delta) Apply(base *Document) (*Document, error) {
	next, err := d.merge(base)
	if err == nil {
		next.sha256 = next.sum()
	}
	return next, err
}

// merge is Apply without the hash.
func (d *Delta) merge(base *Document) (*Document, error) {
	next := &Document{tables: base.tables}
	for t, ids := range d.Remove {
		i := tableIndex(t)
		if i < 0 {
			return nil, fmt.Errorf("delta: unknown table %q", t)
		}
		gone := make(map[string]bool, len(ids))
		for _, id := range ids {
			if _, ok := find(next.tables[i], id); !ok || gone[id] {
				return nil, fmt.Errorf("delta: %s has no %q to remove", t, id)
			}
			gone[id] = true
		}
		next.tables[i] = slices.DeleteFunc(slices.Clone(next.tables[i]), func(it Item) bool { return gone[it.ID] })
	}
	for t, items := range d.Put {
		i := tableIndex(t)
		if i < 0 {
			return nil, fmt.Errorf("delta: unknown table %q", t)
		}
		table, err := putAll(next.tables[i], items)
		if err != nil {
			return nil, fmt.Errorf("delta: %s: %w", t, err)
		}
		next.tables[i] = table
	}
	return next, nil
}

// putAll merges items into a copy of the sorted table.
func putAll(table []Item, items map[string]json.RawMessage) ([]Item, error) {
	put := make([]Item, 0, len(items))
	for id, raw := range items {
		it := Item{ID: id, JSON: raw}
		if err := checkItem(it); err != nil {
			return nil, err
		}
		put = append(put, it)
	}
	slices.SortFunc(put, func(a, b Item) int { return cmp.Compare(a.ID, b.ID) })
	out := make([]Item, 0, len(table)+len(put))
	for _, it := range put {
		n, found := find(table, it.ID)
		out = append(append(out, table[:n]...), it)
		if found {
			n++
		}
		table = table[n:]
	}
	return append(out, table...), nil
}
