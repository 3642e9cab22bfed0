package frame

import (
	"fmt"
	"path"
	"slices"
)

// Filter selects frames. A frame passes if it matches one entry of each list that
// is not empty; the zero Filter passes everything.
type Filter struct {
	Tags      []string // globs: * and ? and [a-z], as in path.Match
	Drivers   []string // driver ids, or globs of them
	Kinds     []Kind
	Qualities []Quality
}

// Compile checks f and makes it ready for use.
func (f Filter) Compile() (*Matcher, error) {
	for _, g := range f.Tags {
		if _, err := path.Match(g, ""); err != nil {
			return nil, fmt.Errorf("tag pattern %q: expected a glob such as plant.* or line?.temp", g)
		}
	}
	for _, g := range f.Drivers {
		if _, err := path.Match(g, ""); err != nil {
			return nil, fmt.Errorf("driver pattern %q: expected an id or a glob such as press-*", g)
		}
	}
	return &Matcher{filter: f, tags: map[*TagSet][]bool{}}, nil
}

// Matcher applies a [Filter]. It is for one goroutine.
type Matcher struct {
	filter Filter
	tags   map[*TagSet][]bool // which tags of a set pass; nil: all
}

// maxMatcherSets bounds what a matcher remembers of tag sets.
const maxMatcherSets = 1024

// Split appends to dst the parts of b whose frames pass, in order. A batch that
// passes whole is appended itself; parts share its memory.
func (m *Matcher) Split(dst []*Batch, b *Batch) []*Batch {
	if len(m.filter.Drivers) > 0 && !slices.ContainsFunc(m.filter.Drivers, func(g string) bool { ok, _ := path.Match(g, b.Set.Driver); return ok }) || // Compile has checked g
		len(m.filter.Kinds) > 0 && !slices.Contains(m.filter.Kinds, b.Kind) {
		return dst
	}
	pass := m.set(b.Set)
	for i := 0; i < len(b.Frames); {
		if !m.frame(&b.Frames[i], pass) {
			i++
			continue
		}
		j := i + 1
		for j < len(b.Frames) && m.frame(&b.Frames[j], pass) {
			j++
		}
		dst = append(dst, b.Slice(b.FirstSeq+uint64(i), b.FirstSeq+uint64(j)-1))
		i = j
	}
	return dst
}

func (m *Matcher) frame(f *Frame, pass []bool) bool {
	return (pass == nil || pass[f.Tag]) &&
		(len(m.filter.Qualities) == 0 || slices.Contains(m.filter.Qualities, f.Quality))
}

func (m *Matcher) set(s *TagSet) []bool {
	if len(m.filter.Tags) == 0 {
		return nil
	}
	pass, ok := m.tags[s]
	if ok {
		return pass
	}
	pass = make([]bool, len(s.Tags))
	for i := range s.Tags {
		pass[i] = slices.ContainsFunc(m.filter.Tags, func(g string) bool {
			ok, _ := path.Match(g, s.Tags[i].Name) // Compile has checked g
			return ok
		})
	}
	if len(m.tags) >= maxMatcherSets {
		clear(m.tags)
	}
	m.tags[s] = pass
	return pass
}
