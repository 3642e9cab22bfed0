package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// ItemChange is one item that differs between two documents. Old or New is nil
// where the item is missing.
type ItemChange struct {
	Table    Table
	ID       string
	Old, New []byte
}

// Changes lists what differs, ordered by table and id.
func (d *Document) Changes(next *Document) []ItemChange {
	var out []ItemChange
	for i, t := range AllTables() {
		out = append(out, CompareItems(t, d.tables[i], next.tables[i])...)
	}
	return out
}

// CompareItems lists what differs between two lists that are sorted by id.
func CompareItems(t Table, a, b []Item) []ItemChange {
	var out []ItemChange
	for len(a) > 0 || len(b) > 0 {
		switch order := compareHeads(a, b); {
		case order < 0:
			out = append(out, ItemChange{Table: t, ID: a[0].ID, Old: a[0].JSON})
			a = a[1:]
		case order > 0:
			out = append(out, ItemChange{Table: t, ID: b[0].ID, New: b[0].JSON})
			b = b[1:]
		default:
			if !sameBytes(a[0].JSON, b[0].JSON) {
				out = append(out, ItemChange{t, a[0].ID, a[0].JSON, b[0].JSON})
			}
			a, b = a[1:], b[1:]
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

// Counts says how many items of a table were changed.
type Counts struct {
	Added   int `json:"added,omitempty"`
	Removed int `json:"removed,omitempty"`
	Changed int `json:"changed,omitempty"`
}

// Changes counts per table; tables without changes are left out.
type Changes map[Table]Counts

// Total returns the number of all changed items.
func (c Changes) Total() int {
	n := 0
	for _, t := range c {
		n += t.Added + t.Removed + t.Changed
	}
	return n
}

// Count counts changes.
func Count(list []ItemChange) Changes {
	out := Changes{}
	for _, c := range list {
		n := out[c.Table]
		switch {
		case c.Old == nil:
			n.Added++
		case c.New == nil:
			n.Removed++
		default:
			n.Changed++
		}
		out[c.Table] = n
	}
	return out
}

// Delta is what turns one document into another: items to put and ids to remove,
// per table.
type Delta struct {
	Put    map[Table]map[string]json.RawMessage `json:"put,omitempty"`
	Remove map[Table][]string                   `json:"remove,omitempty"`
}

// NewDelta returns the delta of list, or nil if it would be larger than limit
// bytes.
func NewDelta(list []ItemChange, limit int) *Delta {
	size := 0
	d := &Delta{Put: map[Table]map[string]json.RawMessage{}, Remove: map[Table][]string{}}
	for _, c := range list {
		if size += len(c.ID) + len(c.New) + 8; size > limit {
			return nil
		}
		if c.New == nil {
			d.Remove[c.Table] = append(d.Remove[c.Table], c.ID)
			continue
		}
		if d.Put[c.Table] == nil {
			d.Put[c.Table] = map[string]json.RawMessage{}
		}
		d.Put[c.Table][c.ID] = c.New
	}
	return d
}

// Apply returns base with the delta's changes. The result shares the unchanged
// items with base. It is an error if an item to be removed isn't there, or an item
// isn't one.
func (d *Delta) Apply(base *Document) (*Document, error) { return ApplyAll(base, d) }

// ApplyAll applies deltas one after the other. It hashes the last document alone.
func ApplyAll(base *Document, deltas ...*Delta) (*Document, error) {
	for _, d := range deltas {
		next, err := d.merge(base)
		if err != nil {
			return nil, err
		}
		base = next
	}
	if base.sha256 == "" {
		base.sha256 = base.sum()
	}
	return base, nil
}

// merge is Apply without the hash.
func (d *Delta) merge(base *Document) (*Document, error) {
	next := &Document{tables: base.tables}
	for t, ids := range d.Remove {
		i := t.Index()
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
		i := t.Index()
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
		if err := it.check(); err != nil {
			return nil, err
		}
		put = append(put, it)
	}
	slices.SortFunc(put, byID)
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
