package center

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// FromSnapshot returns the document of a snapshot.
func FromSnapshot(snap *config.Snapshot) (*Document, error) {
	tables := map[config.Table][]Item{}
	for _, t := range config.Tables() {
		items := make([]Item, 0, snap.Len(t))
		for id, raw := range snap.Items(t) {
			items = append(items, Item{ID: id, JSON: bytes.Clone(raw)})
		}
		tables[t] = items
	}
	return NewDocument(tables)
}

// Snapshot decodes the version's document. prev may be nil, or a snapshot with the
// document it came from: then only what differs is decoded, and the rest is shared.
// The error is a config.Findings that names the items that can't be used.
func (v Version) Snapshot(prev *config.Snapshot, prevDoc *Document) (*config.Snapshot, error) {
	doc := v.Document()
	d := decoder{prev: prev, snap: &config.Snapshot{SHA256: doc.SHA256(), Rev: uint64(v.Commit.Rev)}}
	if prev == nil || prevDoc == nil {
		d.prev, prevDoc = &config.Snapshot{}, emptyDocument()
	}
	d.snap.Endpoints = decodeTable(&d, prevDoc, doc, config.Endpoints, d.prev.Endpoints, config.DecodeEndpoint)
	d.snap.Drivers = decodeTable(&d, prevDoc, doc, config.Drivers, d.prev.Drivers, config.DecodeDriver)
	d.snap.Settings = decodeTable(&d, prevDoc, doc, config.Settings, d.prev.Settings, config.DecodeSettings)
	d.variables(prevDoc, doc)
	d.findings.Sort()
	if err := d.findings.Err(); err != nil {
		return nil, err
	}
	return d.snap, nil
}

type decoder struct {
	prev, snap *config.Snapshot
	findings   config.Findings
}

func (d *decoder) fail(t config.Table, id string, err error) {
	var fs config.Findings
	if errors.As(err, &fs) {
		d.findings = append(d.findings, fs...)
		return
	}
	d.findings = append(d.findings, config.Finding{
		Severity: config.SeverityError, Rule: "decode", Key: string(t) + "/" + id, Message: err.Error(),
	})
}

func decodeTable[V any](d *decoder, old, doc *Document, t config.Table, prev map[string]V, decode func(string, []byte) (V, error)) map[string]V {
	out := make(map[string]V, len(doc.Items(t)))
	for _, it := range doc.Items(t) {
		if was, ok := prev[it.ID]; ok {
			if raw, ok := old.Get(t, it.ID); ok && sameBytes(raw, it.JSON) {
				out[it.ID] = was
				continue
			}
		}
		v, err := decode(it.ID, it.JSON)
		if err != nil {
			d.fail(t, it.ID, err)
			continue
		}
		out[it.ID] = v
	}
	return out
}

// variables decodes the largest table: what it can it takes from the previous
// snapshot, whose variables are in the order of the document's (an item's id is its
// tag); the rest it decodes on all processors.
func (d *decoder) variables(prevDoc, doc *Document) {
	items, old := doc.Items(config.Variables), prevDoc.Items(config.Variables)
	prev := d.prev.Variables
	if len(prev) != len(old) {
		old = nil
	}
	out := make([]config.Variable, len(items))
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
	for part := range slices.Chunk(span(len(missing)), max(1, len(missing)/runtime.GOMAXPROCS(0)+1)) {
		wg.Go(func() {
			known := interner{}
			for _, n := range part {
				it := items[missing[n]]
				v, err := config.DecodeVariable(it.ID, it.JSON)
				known.variable(&v, it.ID)
				out[missing[n]], errs[n] = v, err
			}
		})
	}
	wg.Wait()
	for n, err := range errs {
		if err != nil {
			d.fail(config.Variables, items[missing[n]].ID, err)
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

func (in interner) variable(v *config.Variable, tag string) {
	v.Tag = tag // equal, but the document's copy
	v.DriverID, v.Scale, v.Unit, v.ByteOrder = in.one(v.DriverID), in.one(v.Scale), in.one(v.Unit), in.one(v.ByteOrder)
	v.Access, v.Datatype = config.Access(in.one(string(v.Access))), config.DataType(in.one(string(v.Datatype)))
	v.Report, v.Address.Type = config.Report(in.one(string(v.Report))), config.AddressType(in.one(string(v.Address.Type)))
}

func span(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
