package center

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

const tableCount = 4

func tableIndex(t config.Table) int { return slices.Index(config.Tables(), t) }

// Item is one row of a table: its id and its canonical JSON, on one line.
type Item struct {
	ID   string
	JSON []byte
}

// Document is the whole configuration as the store keeps it: canonical items,
// sorted by id, without knowledge of what they mean. It is immutable.
type Document struct {
	tables [tableCount][]Item
	sha256 string
}

// NewDocument sorts the items into a document. The slices are taken over.
func NewDocument(tables map[config.Table][]Item) (*Document, error) {
	d := &Document{}
	for t, items := range tables {
		i := tableIndex(t)
		if i < 0 {
			return nil, fmt.Errorf("table %q: expected one of %v", t, config.Tables())
		}
		slices.SortFunc(items, func(a, b Item) int { return cmp.Compare(a.ID, b.ID) })
		d.tables[i] = items
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	d.sha256 = d.sum()
	return d, nil
}

// emptyDocument is what a store holds before the first push.
func emptyDocument() *Document {
	d := &Document{}
	d.sha256 = d.sum()
	return d
}

// check holds the document to what keys and lines can carry.
func (d *Document) check() error {
	for i, t := range config.Tables() {
		last := ""
		for n, it := range d.tables[i] {
			if err := checkItem(it); err != nil {
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

func checkItem(it Item) error {
	if !validID(it.ID) {
		return fmt.Errorf("%.80q cannot be an id", it.ID)
	}
	if bytes.IndexByte(it.JSON, '\n') >= 0 || !json.Valid(it.JSON) {
		return fmt.Errorf("item %q is not JSON on one line", it.ID)
	}
	return nil
}

// validID holds ids to letters and digits of any script, "_", "." and "-": what is
// safe in a key, on a line and in JSON without escapes.
func validID(id string) bool {
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
func (d *Document) Items(t config.Table) []Item {
	if i := tableIndex(t); i >= 0 {
		return d.tables[i]
	}
	return nil
}

// Get returns the JSON of one item.
func (d *Document) Get(t config.Table, id string) ([]byte, bool) {
	items := d.Items(t)
	i, ok := find(items, id)
	if !ok {
		return nil, false
	}
	return items[i].JSON, true
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
func (d *Document) WithTable(t config.Table, other *Document) *Document {
	next := *d
	if i := tableIndex(t); i >= 0 {
		next.tables[i] = other.tables[i]
	}
	next.sha256 = next.sum()
	return &next
}

// TableSHA256 returns the hash of one table's canonical form.
func (d *Document) TableSHA256(t config.Table) string {
	h := sha256.New()
	writeTable(h, d.Items(t))
	return hex.EncodeToString(h.Sum(nil))
}

func find(items []Item, id string) (int, bool) {
	return slices.BinarySearchFunc(items, id, func(it Item, id string) int { return cmp.Compare(it.ID, id) })
}

// sum hashes the canonical form: one JSON object of tables, each an object of its
// items.
func (d *Document) sum() string {
	h := sha256.New()
	for i, t := range config.Tables() {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		h.Write([]byte(sep))
		h.Write(appendKey(nil, string(t)))
		writeTable(h, d.tables[i])
	}
	h.Write([]byte{'}'})
	return hex.EncodeToString(h.Sum(nil))
}

func writeTable(h hash.Hash, items []Item) {
	buf := make([]byte, 0, 64<<10)
	buf = append(buf, '{')
	for i, it := range items {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendKey(buf, it.ID)
		buf = append(buf, it.JSON...)
		if len(buf) > 32<<10 {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	h.Write(append(buf, '}'))
}

// appendKey appends an id as a JSON key. Ids need no escapes.
func appendKey(buf []byte, id string) []byte {
	buf = append(buf, '"')
	buf = append(buf, id...)
	return append(buf, '"', ':')
}
