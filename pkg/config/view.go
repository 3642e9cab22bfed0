package config

import (
	"errors"
	"runtime"
	"sync"
)

// Snapshot decodes the document. prev may be nil, or an earlier snapshot: then only
// what differs from its document is decoded, and the rest is shared. The error is a
// [Findings] that names the items that can't be used; a document with layers is nothing
// that can be run, and so an error. Whether the items' references
// lead somewhere is [Snapshot.References]' business. The snapshot's Rev is 0.
func (d *Document) Snapshot(prev *Snapshot) (*Snapshot, error) {
	if d.Layered() {
		return nil, layeredFinding.asError()
	}
	dec := decoder{doc: d, prev: prev, snap: &Snapshot{SHA256: d.sha256}}
	if prev == nil {
		dec.prev, dec.prevDoc = &Snapshot{}, &Document{}
	} else {
		dec.prevDoc = prev.Document()
	}
	for _, t := range Tables() {
		t.rows().decode(&dec)
	}
	dec.findings.Sort()
	if err := dec.findings.Err(); err != nil {
		return nil, err
	}
	dec.snap.origin = origin{dec.snap, d}
	return dec.snap, nil
}

type decoder struct {
	doc, prevDoc *Document
	prev, snap   *Snapshot
	findings     Findings
}

// fail notes why an item can't be decoded. Decoding returns [Findings] alone.
func (d *decoder) fail(err error) {
	var fs Findings
	errors.As(err, &fs)
	d.findings = append(d.findings, fs...)
}

// variables decodes the largest table: what it can it takes from the previous
// snapshot, whose variables are in the order of the document's (an item's id is its
// tag); the rest it decodes on all processors.
func (d *decoder) variables() {
	items, old := d.doc.Items(Variables), d.prevDoc.Items(Variables)
	prev := d.prev.Variables
	if len(prev) != len(old) {
		old = nil
	}
	out := make([]Variable, len(items))
	var missing []int
	for i, o := 0, 0; i < len(items); {
		if n := sameRun(old[o:], items[i:]); n > 0 {
			copy(out[i:], prev[o:o+n]) // in one go: the garbage collector may be at work
			i, o = i+n, o+n
			continue
		}
		if o < len(old) && old[o].ID < items[i].ID {
			o++
			continue
		}
		missing = append(missing, i)
		i++
	}
	errs := make([]error, len(missing))
	var wg sync.WaitGroup
	size := len(missing)/runtime.GOMAXPROCS(0) + 1
	for from := 0; from < len(missing); from += size {
		wg.Go(func() {
			known := interner{}
			for n := from; n < min(from+size, len(missing)); n++ {
				it := items[missing[n]]
				v, err := DecodeVariable(it.ID, it.JSON)
				known.variable(&v, it.ID)
				out[missing[n]], errs[n] = v, err
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			d.fail(err)
		}
	}
	d.snap.Variables = out
}

// sameRun returns how many items from the first on are the same in both.
func sameRun(a, b []Item) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i].ID != b[i].ID || !sameBytes(a[i].JSON, b[i].JSON) {
			return i
		}
	}
	return n
}

// interner keeps one copy of each string: most variables share their driver, unit
// and types, and a hundred thousand of them would make the garbage collector's work
// felt.
type interner map[string]string

func (in interner) one(s string) string {
	if was, ok := in[s]; ok {
		return was
	}
	in[s] = s
	return s
}

func (in interner) variable(v *Variable, tag string) {
	v.Tag = tag // equal, but the document's copy
	v.DriverID, v.Scale, v.Unit, v.ByteOrder = in.one(v.DriverID), in.one(v.Scale), in.one(v.Unit), in.one(v.ByteOrder)
	v.Access, v.Datatype = Access(in.one(string(v.Access))), DataType(in.one(string(v.Datatype)))
	v.Report, v.Address.Type = Report(in.one(string(v.Report))), AddressType(in.one(string(v.Address.Type)))
}
