package tia

import (
	"fmt"
	"strconv"
	"strings"
)

// mostDepth is how deep structures may lie in each other.
const mostDepth = 32

// sources are the blocks and types of all files.
type sources struct {
	blocks []block
	types  map[string]typ // by their names, in capitals
	found  *Found
}

// parser reads one source.
type parser struct {
	*lexer
	file string
	tok  token // the next one
	into *sources
}

// syntax is what is wrong with a source at a line.
type syntax struct {
	line int
	text string
}

func (e *syntax) Error() string { return e.text }

func (p *parser) wrong(format string, args ...any) error {
	return &syntax{p.tok.line, fmt.Sprintf(format, args...)}
}

// said is the next token for a message.
func (p *parser) said() string {
	if p.tok.end {
		return "the end of the file"
	}
	return strconv.Quote(p.tok.text)
}

// take returns the next token and goes on.
func (p *parser) take() token {
	t := p.tok
	p.tok = p.next()
	return t
}

// accept goes on if the next token is that word.
func (p *parser) accept(word string) bool {
	ok := p.tok.is(word)
	if ok {
		p.take()
	}
	return ok
}

// expect goes on behind a word that must be there.
func (p *parser) expect(word string) error {
	if !p.accept(word) {
		return p.wrong("expected %s, found %s", word, p.said())
	}
	return nil
}

// parse reads the blocks and types of a source. What is wrong with one of them is no fault
// of the others.
func (s *sources) parse(file, text string) {
	p := &parser{lexer: newLexer(text), file: file, into: s}
	p.take()
	for !p.tok.end {
		line := p.tok.line
		switch t := p.take(); {
		case t.is("DATA_BLOCK"):
			p.block(line)
		case t.is("TYPE"):
			p.namedType(line)
		case t.is("FUNCTION_BLOCK"), t.is("FUNCTION"), t.is("ORGANIZATION_BLOCK"):
			name := p.take()
			if !name.quoted && len(name.text) < 4 && !p.tok.end { // FB 7
				name.text += p.tok.text
			}
			s.found.leave(file, line, name.text, "it is a %s; data blocks and types are read", strings.ToLower(strings.ReplaceAll(t.text, "_", " ")))
			p.skipTo("END_" + t.text)
		default:
			s.found.leave(file, line, "", "expected DATA_BLOCK or TYPE, found %q; what stands here up to the next is not read", t.text)
			for !p.tok.end && !p.tok.is("DATA_BLOCK") && !p.tok.is("TYPE") {
				p.take()
			}
		}
	}
}

// skipTo goes on behind a word, or to the end.
func (p *parser) skipTo(word string) {
	for !p.tok.end && !p.accept(word) {
		p.take()
	}
}

// block reads a data block behind its first word.
func (p *parser) block(line int) {
	b := block{file: p.file, line: line}
	err := p.blockHead(&b)
	if err == nil {
		b.typ, err = p.body()
	}
	if err != nil {
		b.broken = p.failure(b.name, err)
	}
	p.skipTo("END_DATA_BLOCK")
	p.into.blocks = append(p.into.blocks, b)
}

// failure is what is told of a block or type that can't be read.
func (p *parser) failure(name string, err error) *Left {
	l := &Left{File: p.file, Line: p.tok.line, Name: name, Why: err.Error()}
	if s, ok := err.(*syntax); ok { //nolint:errorlint // it is made here and not wrapped
		l.Line = s.line
	}
	return l
}

// blockHead reads the name of a data block: "Press", DB 10 or DB10.
func (p *parser) blockHead(b *block) error {
	t := p.take()
	b.name = t.text
	if t.quoted {
		return nil
	}
	digits, ok := strings.CutPrefix(strings.ToUpper(t.text), "DB")
	if ok && digits == "" {
		digits = p.take().text
	}
	b.name = "DB" + digits
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > 0xFFFF {
		return &syntax{t.line, fmt.Sprintf("expected the name of a data block, such as \"Press\" or DB 10, found %q", t.text)}
	}
	b.number = n
	return nil
}

// namedType reads a type behind its first word.
func (p *parser) namedType(line int) {
	t := p.take()
	name := t.text
	if t.is("UDT") {
		name = "UDT" + p.take().text
	}
	body, err := p.body()
	if _, twice := p.into.types[strings.ToUpper(name)]; twice && err == nil {
		err = &syntax{line, "there are two types of this name; the first is taken"}
	}
	if err != nil {
		p.into.found.Left = append(p.into.found.Left, *p.failure(name, err))
	} else {
		p.into.types[strings.ToUpper(name)] = body
	}
	p.skipTo("END_TYPE")
}

// body reads what stands before a block's or type's values: its properties, then its
// structure, or the type that it has.
func (p *parser) body() (typ, error) {
	var all typ
	for {
		switch {
		case p.tok.end:
			return all, p.wrong("the file ends within it")
		case p.tok.is("{"):
			on, err := p.attributes()
			if err != nil {
				return all, err
			}
			all.optimized = all.optimized || on
		case p.tok.is("TITLE"):
			p.skipLine()
			p.tok = p.next()
		case p.tok.is("VERSION"), p.tok.is("AUTHOR"), p.tok.is("FAMILY"), p.tok.is("NAME"):
			p.skipLine()
			p.tok = p.next()
		case p.tok.is("STRUCT"):
			p.take()
			members, err := p.members("END_STRUCT", 0)
			all.members = append(all.members, members...)
			return all, err
		case p.tok.is("VAR"):
			p.take()
			members, err := p.members("END_VAR", 0)
			if all.members = append(all.members, members...); err != nil {
				return all, err
			}
		case p.tok.is("BEGIN"), p.tok.is("END_DATA_BLOCK"), p.tok.is("END_TYPE"):
			return all, nil
		case p.tok.quoted && len(all.members) == 0:
			all.udt = p.take().text
		case p.numbered() && len(all.members) == 0:
			word := p.take().text
			all.udt = word + p.take().text
		default:
			p.take() // a property such as NON_RETAIN, UNLINKED, READ_ONLY
		}
	}
}

// numbered reports whether a type by its number stands here: UDT 5, FB 10.
func (p *parser) numbered() bool { return p.tok.is("UDT") || p.tok.is("FB") || p.tok.is("SFB") }

// attributes reads what stands in braces, and whether it makes a block optimized.
func (p *parser) attributes() (optimized bool, err error) {
	p.take()
	for !p.accept("}") {
		if p.tok.end {
			return false, p.wrong("the file ends within { }")
		}
		if t := p.take(); t.is("S7_Optimized_Access") && p.accept(":=") {
			optimized = strings.EqualFold(strings.Trim(p.take().text, "'"), "TRUE")
		}
	}
	return optimized, nil
}

// members reads the members of a structure up to the word that ends it.
func (p *parser) members(end string, depth int) (list []member, err error) {
	if depth > mostDepth {
		return nil, p.wrong("more than %d structures lie in each other", mostDepth)
	}
	for !p.accept(end) {
		if p.tok.end {
			return list, p.wrong("the file ends before %s", end)
		}
		if !p.tok.quoted && (p.tok.is("RETAIN") || p.tok.is("NON_RETAIN") || p.tok.is("CONSTANT")) {
			p.take()
			continue
		}
		some, err := p.member(depth)
		if list = append(list, some...); err != nil {
			return list, err
		}
	}
	p.accept(";")
	return list, nil
}

// member reads one declaration, of one name or several.
func (p *parser) member(depth int) (list []member, err error) {
	for {
		if !p.tok.quoted && !isName(p.tok.text) {
			return nil, p.wrong("expected the name of a member, found %s", p.said())
		}
		t := p.take()
		list = append(list, member{file: p.file, line: t.line, name: t.text})
		if p.tok.is("{") {
			if _, err := p.attributes(); err != nil {
				return nil, err
			}
		}
		if !p.accept(",") {
			break
		}
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	ty, err := p.typ(depth)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].typ = ty
	}
	if p.accept(":=") || p.accept("=") {
		for !p.tok.is(";") {
			if p.tok.end {
				return list, p.wrong("the file ends within a value")
			}
			p.take()
		}
	}
	if len(ty.members) > 0 && ty.name == "" && !p.tok.is(";") {
		return list, nil // END_STRUCT without one
	}
	return list, p.expect(";")
}

func isName(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		return r < 0x80 && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}) < 0
}

// typ reads the type of a member.
func (p *parser) typ(depth int) (t typ, err error) {
	if p.tok.quoted {
		return typ{udt: p.take().text}, nil
	}
	if p.accept("ARRAY") {
		return p.array(depth)
	}
	if p.accept("STRUCT") {
		t.members, err = p.members("END_STRUCT", depth+1)
		if err == nil && len(t.members) == 0 {
			err = p.wrong("a structure has no members")
		}
		return t, err
	}
	if p.numbered() {
		word := p.take().text
		return typ{udt: word + p.take().text}, nil
	}
	if !isName(p.tok.text) {
		return t, p.wrong("expected a type, found %s", p.said())
	}
	t.name = strings.ToUpper(p.take().text)
	if _, ok := elementaryOf(t.name); !ok {
		return typ{udt: t.name}, nil
	}
	if t.name != "STRING" && t.name != "WSTRING" {
		return t, nil
	}
	if t.text = 254; !p.accept("[") {
		return t, nil
	}
	if t.text, err = p.number(); err != nil {
		return t, err
	}
	if most := map[string]int{"STRING": 254, "WSTRING": 16382}[t.name]; t.text < 0 || t.text > most {
		return t, p.wrong("%s[%d]: expected 0 to %d characters", t.name, t.text, most)
	}
	return t, p.expect("]")
}

// array reads an array behind its first word.
func (p *parser) array(depth int) (t typ, err error) {
	if err := p.expect("["); err != nil {
		return t, err
	}
	var dims []dim
	for {
		var d dim
		if d.lo, err = p.number(); err != nil {
			return t, err
		}
		if err := p.expect(".."); err != nil {
			return t, err
		}
		if d.hi, err = p.number(); err != nil {
			return t, err
		}
		if d.hi < d.lo {
			return t, p.wrong("an array from %d to %d has no elements", d.lo, d.hi)
		}
		if dims = append(dims, d); len(dims) > 6 {
			return t, p.wrong("an array has six dimensions at most")
		}
		if !p.accept(",") {
			break
		}
	}
	if err := p.expect("]"); err != nil {
		return t, err
	}
	if err := p.expect("OF"); err != nil {
		return t, err
	}
	if p.tok.is("ARRAY") {
		return t, p.wrong("an array of arrays; expected its dimensions in one pair of brackets")
	}
	if t, err = p.typ(depth); err == nil {
		t.dims = dims
	}
	return t, err
}

// number reads a whole number. A constant has a name, and its value is not in the source.
func (p *parser) number() (int, error) {
	sign := 1
	if p.accept("-") {
		sign = -1
	}
	n, err := strconv.ParseInt(p.tok.text, 10, 32)
	if err != nil || p.tok.quoted {
		return 0, p.wrong("expected a number, found %s; the value of a constant is not in the source", p.said())
	}
	p.take()
	return sign * int(n), nil
}
