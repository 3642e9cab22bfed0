package center

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// A commit record from the store is parsed or refused; what is parsed can be
// written again, and its delta applied, without a panic.
func FuzzCommit(f *testing.F) {
	doc := docOf(f, 3, "a")
	c := Commit{Format: 1, Release: 7, ID: "x", SHA256: doc.SHA256(), BaseSHA256: doc.SHA256(), Time: time.Unix(1, 0).UTC(),
		Delta: config.NewDelta(doc.Changes(docOf(f, 2, "b")), maxDelta)}
	record, release, err := c.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add(release)
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":1,"release":1,"sha256":"00","delta":{"put":{"nope":{"a":1}},"remove":{"variables":["x","x"]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCommit(b, 5)
		if err != nil {
			return
		}
		if c.Delta != nil {
			if next, err := c.Delta.Apply(doc); err == nil {
				if err := possible(next); err != nil {
					t.Fatalf("a delta made an impossible document: %v", err)
				}
			}
		}
		record, _, err := c.encode()
		if err != nil {
			t.Fatalf("%q is parsed but cannot be written: %v", b, err)
		}
		if _, err := parseCommit(record, 5); err != nil {
			t.Fatalf("%q: %v", record, err)
		}
	})
}

// possible reports what is wrong with a document's items.
func possible(doc *config.Document) error {
	tables := map[config.Table][]config.Item{}
	for _, t := range config.Tables() {
		tables[t] = slices.Clone(doc.Items(t))
	}
	again, err := config.NewDocument(tables)
	if err == nil && again.SHA256() != doc.SHA256() {
		err = errors.New("its items are out of order")
	}
	return err
}

// A stored document is decoded or refused; it never takes more memory than its size
// allows.
func FuzzDocument(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.close)
	for _, doc := range []*config.Document{config.EmptyDocument(), docOf(f, 5, "x")} {
		head, chunks, err := c.encode(doc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(head, bytes.Join(chunks, nil))
	}
	f.Add([]byte(`{"format":1,"size":921600,"chunks":1}`), []byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, head, chunk []byte) {
		var chunks [][]byte
		if len(chunk) > 0 {
			chunks = [][]byte{chunk}
		}
		doc, err := c.decode(head, chunks)
		if err != nil {
			return
		}
		again, chunks, err := c.encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		same, err := c.decode(again, chunks)
		if err != nil || same.SHA256() != doc.SHA256() {
			t.Fatalf("decoded and encoded, a document became another: %v", err)
		}
		_, _ = Version{Doc: doc}.Snapshot(nil) // must not panic
	})
}

// The lines of a stored document.
func FuzzText(f *testing.F) {
	f.Add(textOf(docOf(f, 3, "x")))
	f.Add([]byte("drivers/a {}\nendpoints/b {}\n"))
	f.Add([]byte("endpoints/a {}\nendpoints/a {}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := parseText(text)
		if err != nil {
			return
		}
		if !bytes.Equal(textOf(doc), text) {
			t.Fatalf("%q became %q", text, textOf(doc))
		}
	})
}

// The gateway's cache and the records beside it.
func FuzzRecords(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.close)
	file := cacheFile{path: f.TempDir() + "/cache", codec: c}
	doc := docOf(f, 3, "x")
	if err := file.save(cached{Prefix: "/p", Commit: Commit{Release: 1, SHA256: doc.SHA256(), Rev: 3}, doc: doc}); err != nil {
		f.Fatal(err)
	}
	if got, err := file.load("/p"); err != nil || got.doc.SHA256() != doc.SHA256() || got.Commit.Rev != 3 {
		f.Fatalf("%+v, %v", got, err)
	}
	status, err := json.Marshal(Status{Format: 1, State: Applied})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(status)
	f.Add([]byte("{}\n\xff\xff\xff\xff"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseStatus("gw", b)                           // must not panic
		_, _ = file.read(bufio.NewReader(bytes.NewReader(b))) // likewise
	})
}

// textOf returns all lines.
func textOf(d *config.Document) []byte {
	var out []byte
	lines(d, func(row []byte) { out = append(out, row...) })
	return out
}
