package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestDocumentsThatAreTooLarge: many items, or few with much in them, are refused before
// they take the memory.
func TestDocumentsThatAreTooLarge(t *testing.T) {
	many := func(n int, text string) *Document {
		items := make([]Item, n)
		for i := range items {
			items[i] = Item{ID: fmt.Sprintf("t%07d", i), JSON: []byte(text)}
		}
		d, err := NewDocument(map[Table][]Item{Variables: items})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for name, x := range map[string]struct {
		d  *Document
		ok bool
	}{
		"none":            {EmptyDocument(), true},
		"5,000":           {many(5_000, `{"a":"a usual item is about as long as this one, with all that is in it"}`), true},
		"20,000":          {many(20_000, `{}`), false},
		"few, very large": {many(10, `"`+strings.Repeat("x", 1<<20)+`"`), false},
	} {
		if err := x.d.Fits(32 * MiB); (err == nil) != x.ok {
			t.Errorf("%s: %s, %v", name, x.d.Memory(), err)
		}
	}
}
