package config

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// Difference is the exact difference of two snapshots.
type Difference struct {
	Endpoints TableDiff `json:"endpoints"`
	Drivers   TableDiff `json:"drivers"`
	Variables TableDiff `json:"variables"`
	Settings  TableDiff `json:"settings"`

	// ByDriver groups the changes of variables: a variable that moved from one
	// driver to another is removed from the first and added to the second.
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
	switch t {
	case Endpoints:
		return &d.Endpoints
	case Drivers:
		return &d.Drivers
	case Variables:
		return &d.Variables
	default:
		return &d.Settings
	}
}

// Empty reports whether nothing differs.
func (d *Difference) Empty() bool {
	for _, t := range Tables() {
		if !d.Table(t).Empty() {
			return false
		}
	}
	return true
}

// Len returns the number of items that differ.
func (d *Difference) Len() int {
	n := 0
	for _, t := range Tables() {
		n += d.Table(t).Len()
	}
	return n
}

// Empty reports whether nothing differs.
func (d *TableDiff) Empty() bool { return d.Len() == 0 }

// Len returns the number of items that differ.
func (d *TableDiff) Len() int { return len(d.Added) + len(d.Removed) + len(d.Changed) }

// Diff returns what leads from old to new. A nil snapshot counts as empty.
func Diff(old, new *Snapshot) *Difference {
	if old == nil {
		old = &Snapshot{}
	}
	if new == nil {
		new = &Snapshot{}
	}
	d := &Difference{ByDriver: make(map[string]*VariableDiff)}
	d.Endpoints = compareMaps(old.Endpoints, new.Endpoints, func(e Endpoint) []byte { return e.appendCanonical(nil) })
	d.Drivers = compareMaps(old.Drivers, new.Drivers, func(x Driver) []byte { return x.appendCanonical(nil) })
	d.Settings = compareMaps(old.Settings, new.Settings, func(m map[string]any) []byte { return appendValue(nil, m) })
	d.compareVariables(old.Variables, new.Variables)
	return d
}

func compareMaps[V any](old, new map[string]V, canonical func(V) []byte) TableDiff {
	var d TableDiff
	for _, id := range slices.Sorted(maps.Keys(new)) {
		was, ok := old[id]
		if !ok {
			d.Added = append(d.Added, id)
		} else if !reflect.DeepEqual(was, new[id]) {
			if fields := compareItems(canonical(was), canonical(new[id])); len(fields) > 0 {
				d.Changed = append(d.Changed, Change{id, fields})
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if _, ok := new[id]; !ok {
			d.Removed = append(d.Removed, id)
		}
	}
	return d
}

// compareVariables walks both lists, which are sorted by tag.
func (d *Difference) compareVariables(old, new []Variable) {
	for len(old) > 0 || len(new) > 0 {
		order := 0
		switch {
		case len(old) == 0:
			order = 1
		case len(new) == 0:
			order = -1
		default:
			order = cmp.Compare(old[0].Tag, new[0].Tag)
		}
		switch {
		case order < 0:
			d.Variables.Removed = append(d.Variables.Removed, old[0].Tag)
			d.driver(old[0].DriverID).remove(old[0].Tag)
			old = old[1:]
		case order > 0:
			d.Variables.Added = append(d.Variables.Added, new[0].Tag)
			d.driver(new[0].DriverID).add(new[0].Tag)
			new = new[1:]
		default:
			if !old[0].Equal(&new[0]) {
				d.changedVariable(&old[0], &new[0])
			}
			old, new = old[1:], new[1:]
		}
	}
}

func (d *Difference) changedVariable(old, new *Variable) {
	fields := compareItems(old.appendCanonical(nil), new.appendCanonical(nil))
	if len(fields) == 0 {
		return
	}
	d.Variables.Changed = append(d.Variables.Changed, Change{new.Tag, fields})
	if old.DriverID != new.DriverID {
		d.driver(old.DriverID).remove(old.Tag)
		d.driver(new.DriverID).add(new.Tag)
		return
	}
	v := d.driver(new.DriverID)
	v.Changed = append(v.Changed, new.Tag)
}

func (d *Difference) driver(id string) *VariableDiff {
	v := d.ByDriver[id]
	if v == nil {
		v = new(VariableDiff)
		d.ByDriver[id] = v
	}
	return v
}

func (v *VariableDiff) add(tag string)    { v.Added = append(v.Added, tag) }
func (v *VariableDiff) remove(tag string) { v.Removed = append(v.Removed, tag) }

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

// compareItems tells which fields of two canonical items differ.
func compareItems(old, new []byte) []FieldChange {
	was, err1 := parseCanonical(old)
	is, err2 := parseCanonical(new)
	if err1 != nil || err2 != nil {
		panic("config: the canonical form is no JSON") // it was written a moment ago
	}
	var out []FieldChange
	compareTrees("", was, is, &out)
	return out
}

func compareTrees(path string, old, new any, out *[]FieldChange) {
	a, aMap := old.(map[string]any)
	b, bMap := new.(map[string]any)
	if aMap && bMap {
		for _, k := range unionKeys(a, b) {
			sub := k
			if path != "" {
				sub = path + "." + k
			}
			compareTrees(sub, a[k], b[k], out)
		}
		return
	}
	la, aList := old.([]any)
	lb, bList := new.([]any)
	if aList && bList && len(la) == len(lb) {
		for i := range la {
			compareTrees(path+"["+strconv.Itoa(i)+"]", la[i], lb[i], out)
		}
		return
	}
	if !reflect.DeepEqual(old, new) {
		*out = append(*out, FieldChange{path, old, new})
	}
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

// Impact is what a running gateway has to do to go from one snapshot to another.
// All lists are sorted; a driver is in one of them at most.
type Impact struct {
	Drain   []string // endpoints, changed or removed, whose connections must go
	Stop    []string // drivers that are removed
	Start   []string // drivers that are added
	Restart []string // drivers that changed, or whose endpoint did
	Reload  []string // drivers of which only variables changed
	Groups  []string // groups of settings that were added, removed or changed
}

// Impact works out what d means for the drivers of both snapshots.
func (d *Difference) Impact(old, new *Snapshot) *Impact {
	if old == nil {
		old = &Snapshot{}
	}
	im := &Impact{Stop: d.Drivers.Removed, Start: d.Drivers.Added}
	touched := make(map[string]bool)
	im.Drain = append(im.Drain, d.Endpoints.Removed...)
	for _, c := range d.Endpoints.Changed {
		im.Drain = append(im.Drain, c.ID)
	}
	for _, id := range append(slices.Clone(im.Drain), d.Endpoints.Added...) {
		touched[id] = true
	}
	restart := make(map[string]bool)
	for _, c := range d.Drivers.Changed {
		restart[c.ID] = true
	}
	for id, drv := range new.Drivers {
		if was, ok := old.Drivers[id]; ok && (touched[drv.EndpointID] || touched[was.EndpointID]) {
			restart[id] = true
		}
	}
	for id := range d.ByDriver {
		_, before := old.Drivers[id]
		_, after := new.Drivers[id]
		if before && after && !restart[id] {
			im.Reload = append(im.Reload, id)
		}
	}
	im.Restart = slices.Sorted(maps.Keys(restart))
	im.Groups = append(slices.Clone(d.Settings.Added), d.Settings.Removed...)
	for _, c := range d.Settings.Changed {
		im.Groups = append(im.Groups, c.ID)
	}
	slices.Sort(im.Drain)
	slices.Sort(im.Reload)
	slices.Sort(im.Groups)
	return im
}

// Empty reports whether there is nothing to do.
func (im *Impact) Empty() bool {
	return len(im.Drain)+len(im.Stop)+len(im.Start)+len(im.Restart)+len(im.Reload)+len(im.Groups) == 0
}
