package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Item is one row of a table: its id and its canonical JSON, on one line.
type Item struct {
	ID   string
	JSON []byte
}

// Tree decodes the item; its numbers keep all their digits.
func (it Item) Tree() (map[string]any, error) {
	var tree map[string]any
	dec := json.NewDecoder(bytes.NewReader(it.JSON))
	dec.UseNumber()
	err := dec.Decode(&tree)
	return tree, err
}

// Document is one whole configuration: canonical items, sorted by id, without
// knowledge of what they mean. It is immutable. [Document.Snapshot] decodes it;
// [Snapshot.Document] returns the document of a snapshot.
//
// Its canonical form is one JSON object of the tables, in the order of [AllTables],
// each an object of its items; layers without items are left out. The hash of that form
// identifies the document.
type Document struct {
	tables [tableCount][]Item
	sha256 string
}

// NewDocument sorts the items into a document. The slices are taken over. An item
// that no key or line can carry is an error.
func NewDocument(tables map[Table][]Item) (*Document, error) {
	d := &Document{}
	for t, items := range tables {
		i := t.Index()
		if i < 0 {
			return nil, fmt.Errorf("table %q: expected one of %v", t, AllTables())
		}
		if !slices.IsSortedFunc(items, byID) {
			slices.SortFunc(items, byID)
		}
		d.tables[i] = items
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	d.sha256 = d.sum()
	return d, nil
}

// EmptyDocument returns the document without items.
func EmptyDocument() *Document {
	d := &Document{}
	d.sha256 = d.sum()
	return d
}

func byID(a, b Item) int { return cmp.Compare(a.ID, b.ID) }

// check holds the document to what keys and lines can carry.
func (d *Document) check() error {
	for i, t := range AllTables() {
		last := ""
		for n, it := range d.tables[i] {
			if err := it.check(); err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
			if n > 0 && it.ID <= last {
				return fmt.Errorf("%s: item %q occurs twice or out of order", t, it.ID)
			}
			last = it.ID
		}
	}
	return nil
}

func (it Item) check() error {
	if !ValidKey(it.ID) {
		return fmt.Errorf("%.80q cannot be an id", it.ID)
	}
	if bytes.IndexByte(it.JSON, '\n') >= 0 || !json.Valid(it.JSON) {
		return fmt.Errorf("item %q is not JSON on one line", it.ID)
	}
	return nil
}

// ValidKey reports whether a document can have an item of this id: letters and
// digits of any script, "_", "." and "-" are safe in a key, on a line and in JSON
// without escapes. What the schemas allow as an id or a tag is less.
func ValidKey(id string) bool {
	if id == "" || len(id) > 512 || !utf8.ValidString(id) {
		return false
	}
	for _, r := range id {
		if r != '_' && r != '.' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			return false
		}
	}
	return true
}

// SHA256 identifies the document: the hex hash of its canonical form.
func (d *Document) SHA256() string { return d.sha256 }

// Items returns a table, sorted by id. The slice must not be changed.
func (d *Document) Items(t Table) []Item {
	if i := t.Index(); i >= 0 {
		return d.tables[i]
	}
	return nil
}

// Get returns the JSON of one item.
func (d *Document) Get(t Table, id string) ([]byte, bool) {
	items := d.Items(t)
	i, ok := find(items, id)
	if !ok {
		return nil, false
	}
	return items[i].JSON, true
}

// IDs returns the ids of a table, sorted.
func (d *Document) IDs(t Table) []string {
	out := make([]string, 0, len(d.Items(t)))
	for _, it := range d.Items(t) {
		out = append(out, it.ID)
	}
	return out
}

// Len returns the number of items in all tables.
func (d *Document) Len() int {
	n := 0
	for _, items := range d.tables {
		n += len(items)
	}
	return n
}

// WithTable returns a document whose table t is the one of other.
func (d *Document) WithTable(t Table, other *Document) *Document {
	next := *d
	if i := t.Index(); i >= 0 {
		next.tables[i] = other.tables[i]
	}
	next.sha256 = next.sum()
	return &next
}

// SameTable reports whether other says the same in table t.
func (d *Document) SameTable(t Table, other *Document) bool {
	return d == other || slices.EqualFunc(d.Items(t), other.Items(t), func(a, b Item) bool { return a.ID == b.ID && sameBytes(a.JSON, b.JSON) })
}

// Layered reports whether the document has layers: it is a fleet's, and no gateway may
// run it as it is.
func (d *Document) Layered() bool { return len(d.Items(Groups)) > 0 || len(d.Items(Gateways)) > 0 }

// Base returns the document without its layers.
func (d *Document) Base() *Document {
	if !d.Layered() {
		return d
	}
	next := &Document{tables: d.tables}
	next.tables[Groups.Index()], next.tables[Gateways.Index()] = nil, nil
	next.sha256 = next.sum()
	return next
}

// TableSHA256 returns the hash of one table's canonical form.
func (d *Document) TableSHA256(t Table) string {
	h := sha256.New()
	w := &chunked{w: h}
	w.table(d.Items(t))
	w.flush()
	return hex.EncodeToString(h.Sum(nil))
}

// JSON returns the canonical form. [ParseDocument] reads it.
func (d *Document) JSON() []byte {
	var b bytes.Buffer
	d.writeTo(&b)
	return b.Bytes()
}

func find(items []Item, id string) (int, bool) {
	return slices.BinarySearchFunc(items, id, func(it Item, id string) int { return cmp.Compare(it.ID, id) })
}

func (d *Document) sum() string {
	h := sha256.New()
	d.writeTo(h)
	return hex.EncodeToString(h.Sum(nil))
}

func (d *Document) writeTo(out io.Writer) {
	w := &chunked{w: out}
	for i, t := range AllTables() {
		if t.IsLayer() && len(d.tables[i]) == 0 {
			continue // what isn't a fleet's is as if there were none
		}
		if i == 0 {
			w.buf = append(w.buf, '{')
		} else {
			w.buf = append(w.buf, ',')
		}
		w.key(string(t))
		w.table(d.tables[i])
	}
	w.buf = append(w.buf, '}')
	w.flush()
}

// chunked gathers small writes to a writer that can't fail: a buffer or a hash.
type chunked struct {
	w   io.Writer
	buf []byte
}

func (c *chunked) key(k string) { c.buf = append(appendString(c.buf, k), ':') }

// table writes a table: an object of its items.
func (c *chunked) table(items []Item) {
	c.buf = append(c.buf, '{')
	for i, it := range items {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		c.key(it.ID)
		c.buf = append(c.buf, it.JSON...)
		if len(c.buf) > 32<<10 {
			c.flush()
		}
	}
	c.buf = append(c.buf, '}')
}

func (c *chunked) flush() {
	_, _ = c.w.Write(c.buf) // neither bytes.Buffer nor hash.Hash returns errors
	c.buf = c.buf[:0]
}
