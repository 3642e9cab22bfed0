package tia

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// mostBytes is the largest block that is laid out: no PLC addresses more.
const mostBytes = 1 << 16

// Options say what the files don't.
type Options struct {
	Numbers map[string]int // of data blocks, by their names; "": of the only one
	Each    bool           // one point for each element of an array
}

// lay lays out the members of a data block.
type lay struct {
	src  *sources
	opts Options
	b    *block
	db   int

	at    int   // the next bit
	lost  *Left // why the offsets of what follows aren't known
	using []string
	steps int
}

// mostName bounds a name, because each value in nested structures has all of theirs.
const mostName = 1000

// mostSteps bounds the work for a block, whose structures may be empty.
const mostSteps = 4 * mostPoints

var errTooMany = fmt.Errorf("more than %d values", mostPoints)

// layout gives the points of all data blocks.
func (s *sources) layout(o Options) error {
	for i := range s.blocks {
		b := &s.blocks[i]
		db := s.number(b, o)
		switch {
		case b.typ.optimized:
			s.found.leave(b.file, b.line, b.name, "it has optimized block access, so its members have no addresses; "+
				"in TIA Portal, in the block's properties under Attributes, clear Optimized block access, compile, load, and export it again")
			continue
		case db == 0 && b.broken == nil:
			s.found.leave(b.file, b.line, b.name, "its number is not in the source; say it with --db %s=NUMBER", quote(b.name))
			continue
		}
		l := &lay{src: s, opts: o, b: b, db: db}
		if err := l.block(); err != nil {
			return err
		}
	}
	return nil
}

// quote writes a name as a shell takes it.
func quote(name string) string {
	if strings.ContainsAny(name, " \t'$") {
		return strconv.Quote(name)
	}
	return name
}

// number returns the number of a block, 0 if it isn't known.
func (s *sources) number(b *block, o Options) int {
	for name, n := range o.Numbers {
		if strings.EqualFold(name, b.name) {
			return n
		}
	}
	if n, ok := o.Numbers[""]; ok && len(s.blocks) == 1 {
		return n
	}
	return b.number
}

// block lays out one block.
func (l *lay) block() error {
	if l.b.typ.udt != "" {
		body, ok := l.src.types[strings.ToUpper(l.b.typ.udt)]
		if !ok {
			l.src.found.leave(l.b.file, l.b.line, l.b.name, "it is a block of %q, which is in none of the files; "+
				"give the source of that type along (of an instance of a function block there is none that is read)", l.b.typ.udt)
			return nil
		}
		l.b.typ.members = body.members
	}
	err := l.members(l.b.name, l.b.typ.members, 0)
	if l.b.broken != nil {
		l.src.found.Left = append(l.src.found.Left, *l.b.broken)
	}
	return err
}

// members lays out what is in a structure, from an even byte on.
func (l *lay) members(prefix string, list []member, depth int) error {
	l.even()
	for i := range list {
		m := &list[i]
		if i > 0 && l.lost == nil {
			l.afterText(m, prefix+"."+part(m.name), &list[i-1].typ)
		}
		if err := l.member(m, prefix+"."+part(m.name), m.typ, depth); err != nil {
			return err
		}
	}
	l.even()
	return nil
}

// afterText says what is not certain: STEP 7's rules speak of where a text begins.
func (l *lay) afterText(m *member, name string, before *typ) {
	e, plain := elementaryOf(m.typ.name)
	if before.name == "STRING" && before.dims == nil && before.text%2 != 0 && plain && !e.wide && m.typ.dims == nil {
		l.src.found.Left = append(l.src.found.Left, Left{File: m.file, Line: m.line, Name: name, Note: true,
			Why: fmt.Sprintf("it follows a STRING[%d] and is taken to begin at the next even byte, %d; compare that with the offset in TIA Portal", before.text, l.at/8)})
	}
}

// part makes a part of a tag of a name: what no tag may have is an underscore.
func part(name string) string {
	return strings.Map(func(c rune) rune {
		if c == '-' || unicode.In(c, unicode.L, unicode.N, unicode.M) {
			return c
		}
		return '_'
	}, name)
}

// even goes on to the next even byte.
func (l *lay) even() { l.at = (l.at + 15) &^ 15 }

// lose notes that nothing behind m has a known offset.
func (l *lay) lose(m *member, name, why string, args ...any) {
	if l.lost == nil {
		l.src.found.leave(m.file, m.line, name, why, args...)
		l.lost = &l.src.found.Left[len(l.src.found.Left)-1]
		l.lost = &Left{File: l.lost.File, Line: l.lost.Line, Name: name}
	}
}

// member lays out one member.
func (l *lay) member(m *member, name string, t typ, depth int) error {
	if l.lost != nil {
		l.src.found.leave(m.file, m.line, name, "its offset is not known, because the size of %s (line %d) before it is not", l.lost.Name, l.lost.Line)
		return nil
	}
	if l.steps++; l.steps > mostSteps {
		return errTooMany
	}
	switch {
	case l.at >= 8*mostBytes:
		l.lose(m, name, "a block has %d bytes at most", mostBytes)
		return nil
	case len(name) > mostName:
		l.lose(m, m.name[:min(len(m.name), 100)], "its name with all that it is in has more than %d bytes", mostName)
		return nil
	case depth > mostDepth:
		l.lose(m, name, "more than %d structures lie in each other", mostDepth)
		return nil
	}
	if t.udt != "" {
		body, ok := l.src.types[strings.ToUpper(t.udt)]
		switch {
		case !ok:
			l.lose(m, name, "type %q is in none of the files; give its source along", t.udt)
			return nil
		case within(l.using, t.udt):
			l.lose(m, name, "type %q is part of itself", t.udt)
			return nil
		case body.udt != "" && len(body.members) == 0:
			body = typ{members: []member{{file: m.file, line: m.line, name: t.udt, typ: typ{udt: body.udt}}}}
		}
		l.using = append(l.using, t.udt)
		defer func() { l.using = l.using[:len(l.using)-1] }()
		t.members = body.members
	}
	if t.dims != nil {
		return l.array(m, name, t, depth)
	}
	e, plain := elementaryOf(t.name)
	if !plain {
		return l.members(name, t.members, depth+1)
	}
	if e.bits == 0 {
		e.bits = 8 * textBytes(t.name, t.text)
	}
	l.align(e)
	if err := l.point(m, name, t, 0); err != nil {
		return err
	}
	l.at += e.bits
	if t.name == "STRING" {
		l.even()
	}
	return nil
}

func within(list []string, name string) bool {
	for _, s := range list {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}

// align goes on to where a value of the type may begin.
func (l *lay) align(e elementary) {
	switch {
	case e.wide:
		l.even()
	case e.bits > 1:
		l.at = (l.at + 7) &^ 7
	}
}

// point adds what is at the next bit.
func (l *lay) point(m *member, name string, t typ, count int) error {
	if len(l.src.found.Points) >= mostPoints {
		return errTooMany
	}
	p := Point{File: m.file, Line: m.line, Name: name, Type: t.name, Len: t.text, Area: "DB", DB: l.db, Byte: l.at / 8, Bit: -1, Count: count}
	if t.name == "BOOL" {
		p.Bit = l.at % 8
	}
	l.src.found.Points = append(l.src.found.Points, p)
	return nil
}

// array lays out an array. A structure or a text is one point for each element, or more;
// other elements are one together.
func (l *lay) array(m *member, name string, t typ, depth int) error {
	n := 1
	for _, d := range t.dims {
		if n *= d.len(); n > 8*mostBytes {
			l.lose(m, name, "an array has more elements than a block has bits")
			return nil
		}
	}
	l.even()
	one := t
	one.dims = nil
	e, plain := elementaryOf(t.name)
	row := t.dims[len(t.dims)-1].len() * e.bits
	if plain && len(t.dims) > 1 && e.bits > 0 && e.bits < 16 && row%16 != 0 {
		l.lose(m, name, "an array of several dimensions whose rows end within a word; how the PLC fills them up is not known")
		return nil
	}
	if whole := plain && e.bits > 0 && !l.opts.Each; whole {
		if err := l.point(m, name, one, n); err != nil {
			return err
		}
		l.at += n * e.bits
		l.even()
		return nil
	}
	index := make([]int, len(t.dims))
	for i := range index {
		index[i] = t.dims[i].lo
	}
	for range n {
		text := name
		for _, k := range index {
			text += "." + strconv.Itoa(k)
		}
		if err := l.element(m, text, one, depth); err != nil || l.lost != nil {
			return err
		}
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] <= t.dims[i].hi {
				break
			}
			index[i] = t.dims[i].lo
		}
	}
	l.even()
	return nil
}

// element lays out one element of an array.
func (l *lay) element(m *member, name string, t typ, depth int) error {
	t.udt = "" // its members are known
	return l.member(m, name, t, depth)
}
