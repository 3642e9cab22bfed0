package main

import "github.com/edge-gateway/edge-gateway/pkg/config"

// difference is a config.Difference with what it is between. It is of documents,
// not of snapshots: so it shows what this version of the tool can't read, too.
type difference struct {
	*config.Difference
	old, new *config.Document
}

// compare returns what leads from one document to another.
func compare(old, new *config.Document) *difference { return &difference{old.Diff(new), old, new} }

// counts counts the changes per table.
func (d *difference) counts() config.Changes {
	out := config.Changes{}
	for _, t := range config.Tables() {
		if td := d.Table(t); !td.Empty() {
			out[t] = config.Counts{Added: len(td.Added), Removed: len(td.Removed), Changed: len(td.Changed)}
		}
	}
	return out
}

// removed counts the items that go.
func (d *difference) removed() int {
	n := 0
	for _, c := range d.counts() {
		n += c.Removed
	}
	return n
}

// hideSecrets replaces the literal secrets in the changed fields.
func (d *difference) hideSecrets() {
	for _, t := range config.Tables() {
		for i, c := range d.Table(t).Changed {
			d.Table(t).Changed[i].Fields = hideSecrets(t, c, itemTree(d.old, t, c.ID), itemTree(d.new, t, c.ID))
		}
	}
}
