package tables

import "github.com/edge-gateway/edge-gateway/pkg/config"

// Difference is a config.Difference with what it is between. It is of documents,
// not of snapshots: so it shows what this version of the tool can't read, too.
type Difference struct {
	*config.Difference
	old, new *config.Document
}

// Compare returns what leads from one document to another.
func Compare(old, new *config.Document) *Difference { return &Difference{old.Diff(new), old, new} }

// Counts counts the changes per table.
func (d *Difference) Counts() config.Changes {
	out := config.Changes{}
	for _, t := range config.AllTables() {
		if td := d.Table(t); !td.Empty() {
			out[t] = config.Counts{Added: len(td.Added), Removed: len(td.Removed), Changed: len(td.Changed)}
		}
	}
	return out
}

// Removed counts the items that go.
func (d *Difference) Removed() int {
	n := 0
	for _, c := range d.Counts() {
		n += c.Removed
	}
	return n
}

// HideSecrets replaces the literal secrets in the changed fields.
func (d *Difference) HideSecrets() {
	for _, t := range config.AllTables() {
		for i, c := range d.Table(t).Changed {
			d.Table(t).Changed[i].Fields = hideSecrets(t, c, itemTree(d.old, t, c.ID), itemTree(d.new, t, c.ID))
		}
	}
}
