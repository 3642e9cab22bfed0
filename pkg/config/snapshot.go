package config

import (
	"cmp"
	"slices"
)

// origin ties a snapshot to its document. It holds for the very snapshot that it
// was made for: somebody who changes a copy must not get the original's document.
type origin struct {
	of  *Snapshot
	doc *Document
}

// NewSnapshot makes a snapshot of its items, which it keeps: it sorts the
// variables and computes the hash. Nil maps are as good as empty ones.
func NewSnapshot(endpoints map[string]Endpoint, drivers map[string]Driver, variables []Variable, settings map[string]map[string]any) *Snapshot {
	return newSnapshot(&Snapshot{Endpoints: endpoints, Drivers: drivers, Variables: variables, Settings: settings})
}

func newSnapshot(s *Snapshot) *Snapshot {
	if !slices.IsSortedFunc(s.Variables, byTag) {
		slices.SortFunc(s.Variables, byTag)
	}
	s.origin = origin{s, s.encode()}
	s.SHA256 = s.origin.doc.SHA256()
	return s
}

// Document returns the snapshot's document, whose hash is s.SHA256.
func (s *Snapshot) Document() *Document {
	if s.origin.of == s {
		return s.origin.doc
	}
	return s.encode()
}

// encode makes the document of the snapshot's items.
func (s *Snapshot) encode() *Document {
	d := &Document{}
	var room arena
	for i, t := range AllTables() {
		rows := t.rows()
		items := make([]Item, 0, rows.len(s))
		for id, form := range rows.forms(s) {
			items = append(items, Item{id, room.keep(form)})
		}
		d.tables[i] = items
	}
	d.sha256 = d.sum()
	return d
}

// arena keeps many small texts in few large pieces, without moving any.
type arena struct {
	free    []byte
	scratch []byte
}

func (a *arena) keep(form func([]byte) []byte) []byte {
	const piece = 256 << 10
	a.scratch = form(a.scratch[:0])
	n := len(a.scratch)
	if n > len(a.free) {
		if n > piece/16 {
			return slices.Clone(a.scratch)
		}
		a.free = make([]byte, piece)
	}
	out := a.free[:n:n]
	copy(out, a.scratch)
	a.free = a.free[n:]
	return out
}

// Len returns the number of items in a table.
func (s *Snapshot) Len(t Table) int { return t.rows().len(s) }

// Variable finds a variable by its tag; nil if there is none.
func (s *Snapshot) Variable(tag string) *Variable {
	i, ok := slices.BinarySearchFunc(s.Variables, tag, func(v Variable, tag string) int { return cmp.Compare(v.Tag, tag) })
	if !ok {
		return nil
	}
	return &s.Variables[i]
}

// DriverVariables groups the variables by driver, each group sorted by tag.
func (s *Snapshot) DriverVariables() map[string][]Variable {
	groups := make(map[string][]Variable, len(s.Drivers))
	for _, v := range s.Variables {
		groups[v.DriverID] = append(groups[v.DriverID], v)
	}
	return groups
}
