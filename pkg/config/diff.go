package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// Difference is the exact difference of two documents.
type Difference struct {
	Endpoints TableDiff `json:"endpoints"`
	Drivers   TableDiff `json:"drivers"`
	Variables TableDiff `json:"variables"`
	Settings  TableDiff `json:"settings"`
	Groups    TableDiff `json:"groups,omitzero"`
	Gateways  TableDiff `json:"gateways,omitzero"`

	// ByDriver groups the changes of variables, where snapshots were compared: a
	// variable that moved from one driver to another is removed from the first and
	// added to the second.
	ByDriver map[string]*VariableDiff `json:"-"`
}

// TableDiff is the difference of one table. Ids are sorted.
type TableDiff struct {
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Changed []Change `json:"changed,omitempty"`
}

// Change is an item that both sides have, differently.
type Change struct {
	ID     string        `json:"id"`
	Fields []FieldChange `json:"fields"` // sorted by path
}

// FieldChange is a field that differs. Values are those of decoded JSON, nil for
// a field that a side lacks.
type FieldChange struct {
	Path string `json:"path"` // "address.addr", "cfg.polling"
	Old  any    `json:"old"`
	New  any    `json:"new"`
}

// VariableDiff is what changed among one driver's variables: sorted tags.
type VariableDiff struct {
	Added, Removed, Changed []string
}

// Table returns the difference of one table.
func (d *Difference) Table(t Table) *TableDiff {
	return [tableCount]*TableDiff{&d.Endpoints, &d.Drivers, &d.Variables, &d.Settings, &d.Groups, &d.Gateways}[t.Index()]
}

// Empty reports whether nothing differs.
func (d *Difference) Empty() bool {
	for _, t := range AllTables() {
		if !d.Table(t).Empty() {
			return false
		}
	}
	return true
}

// Len returns the number of items that differ.
func (d *Difference) Len() int {
	n := 0
	for _, t := range AllTables() {
		n += d.Table(t).Len()
	}
	return n
}

// Empty reports whether nothing differs.
func (d *TableDiff) Empty() bool { return d.Len() == 0 }

// Len returns the number of items that differ.
func (d *TableDiff) Len() int { return len(d.Added) + len(d.Removed) + len(d.Changed) }

// Diff returns what leads from d to next, told by what the items say, whether this
// version can make sense of them or not. Fields are compared down to the leaves of
// mappings; a list is one value.
func (d *Document) Diff(next *Document) *Difference { return difference(d.Changes(next)) }

func difference(changes []ItemChange) *Difference {
	d := &Difference{}
	for _, c := range changes {
		t := d.Table(c.Table)
		switch {
		case c.Old == nil:
			t.Added = append(t.Added, c.ID)
		case c.New == nil:
			t.Removed = append(t.Removed, c.ID)
		default:
			t.Changed = append(t.Changed, Change{c.ID, compareFields(c.Old, c.New)})
		}
	}
	return d
}

// Diff returns what leads from old to new, for those who run it: what is spelled
// differently and means the same is no difference. A nil snapshot counts as empty.
func Diff(old, new *Snapshot) *Difference {
	if old == nil {
		old = &Snapshot{}
	}
	if new == nil {
		new = &Snapshot{}
	}
	changes := slices.DeleteFunc(old.Document().Changes(new.Document()), func(c ItemChange) bool {
		return c.Old != nil && c.New != nil && bytes.Equal(c.Table.rows().form(old, c.ID), c.Table.rows().form(new, c.ID))
	})
	d := difference(changes)
	d.ByDriver = make(map[string]*VariableDiff)
	for _, c := range changes {
		if c.Table == Variables {
			d.group(c.ID, old.Variable(c.ID), new.Variable(c.ID))
		}
	}
	return d
}

// group notes a variable that differs with the drivers that it concerns.
func (d *Difference) group(tag string, old, new *Variable) {
	if old != nil && new != nil && old.DriverID == new.DriverID {
		v := d.driver(new.DriverID)
		v.Changed = append(v.Changed, tag)
		return
	}
	if old != nil {
		v := d.driver(old.DriverID)
		v.Removed = append(v.Removed, tag)
	}
	if new != nil {
		v := d.driver(new.DriverID)
		v.Added = append(v.Added, tag)
	}
}

func (d *Difference) driver(id string) *VariableDiff {
	v := d.ByDriver[id]
	if v == nil {
		v = new(VariableDiff)
		d.ByDriver[id] = v
	}
	return v
}

// Equal reports whether v and o are the same item.
func (v *Variable) Equal(o *Variable) bool {
	a, b := *v, *o
	same := a.Address.equal(&b.Address) && (a.VerifyAddress == nil) == (b.VerifyAddress == nil) &&
		(a.VerifyAddress == nil || a.VerifyAddress.equal(b.VerifyAddress))
	a.Address, b.Address, a.VerifyAddress, b.VerifyAddress = Address{}, Address{}, nil, nil
	return same && a == b
}

func (a *Address) equal(o *Address) bool {
	x, y := *a, *o
	bits := (x.Bit == nil) == (y.Bit == nil) && (x.Bit == nil || *x.Bit == *y.Bit)
	x.Bit, y.Bit = nil, nil
	return bits && x == y
}

// compareFields tells which fields of two items differ.
func compareFields(old, new []byte) []FieldChange {
	was, is := anyTree(old), anyTree(new)
	var out []FieldChange
	compareTrees("", was, is, &out)
	return out
}

// anyTree decodes what a document holds; its numbers keep all their digits.
func anyTree(raw []byte) (tree any) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return string(raw) // not reached: documents hold JSON alone
	}
	return tree
}

// compareTrees lists the leaves that differ, by path. A mapping that a side lacks
// is compared with an empty one.
func compareTrees(path string, old, new any, out *[]FieldChange) {
	a, aMap := old.(map[string]any)
	b, bMap := new.(map[string]any)
	if !(aMap && (bMap || new == nil) || bMap && old == nil) {
		if !reflect.DeepEqual(old, new) {
			*out = append(*out, FieldChange{path, plainNumbers(old), plainNumbers(new)})
		}
		return
	}
	for _, k := range unionKeys(a, b) {
		sub := k
		if path != "" {
			sub = path + "." + k
		}
		compareTrees(sub, a[k], b[k], out)
	}
}

// plainNumbers turns the numbers of a tree into int64 and float64, but those that
// would lose digits.
func plainNumbers(v any) any {
	return mapLeaves(v, func(leaf any) any {
		n, ok := leaf.(json.Number)
		if !ok {
			return leaf
		}
		if i, err := n.Int64(); err == nil {
			return i
		}
		if f, err := n.Float64(); err == nil && string(appendFloat(nil, f)) == n.String() {
			return f
		}
		return leaf
	})
}

func unionKeys(a, b map[string]any) []string {
	keys := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, both := a[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
