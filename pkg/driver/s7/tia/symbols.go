package tia

import (
	"regexp"
	"strconv"
	"strings"
)

// Row is a row of a list of tags.
type Row struct {
	File  string
	Line  int
	Cells []string
}

// columns is where a list has what.
type columns struct{ name, typ, address int }

// headings are the names of columns, by what they hold. TIA Portal writes the English ones
// in every language; older programs, and people, write the German ones.
func headings() map[string]func(*columns, int) {
	name := func(c *columns, i int) { c.name = i }
	typ := func(c *columns, i int) { c.typ = i }
	address := func(c *columns, i int) { c.address = i }
	return map[string]func(*columns, int){
		"name": name, "symbol": name,
		"data type": typ, "datatype": typ, "datentyp": typ, "type": typ, "typ": typ,
		"logical address": address, "logische adresse": address, "address": address, "adresse": address,
	}
}

// columnsOf reads a row as the head of a list.
func columnsOf(cells []string) (c columns, ok bool) {
	c = columns{-1, -1, -1}
	known := headings()
	for i, cell := range cells {
		if set := known[strings.ToLower(strings.TrimSpace(cell))]; set != nil {
			set(&c, i)
		}
	}
	return c, c.name >= 0 && c.typ >= 0 && c.address >= 0
}

// IsHead reports whether a row is the head of a list of PLC tags, as TIA Portal exports it.
func IsHead(cells []string) bool {
	_, ok := columnsOf(cells)
	return ok
}

// symbolForm is an address in a list: %I0.0, "E       0.0", %MW10, PEW 256, DB 10, %QD4:P.
var symbolForm = regexp.MustCompile(`^%?(P?)(I|E|Q|A|M)(X|B|W|D|L)?(\d{1,8})(?:\.(\d))?(:P)?$|^%?(T|C|Z)(\d{1,5})$|^%?(DB|FB|FC|OB|SFB|SFC|UDT|VAT|SDB)(\d{1,5})$`)

// Symbols reads a list of PLC tags, or of STEP 7's symbols. Without a head the columns are
// name, address and type.
func (f *Found) Symbols(rows []Row) (blocks map[string]int) {
	blocks = map[string]int{}
	at := columns{name: 0, address: 1, typ: 2}
	for _, r := range rows {
		if head, ok := columnsOf(r.Cells); ok {
			at = head
			continue
		}
		cell := func(i int) string {
			if i >= len(r.Cells) {
				return ""
			}
			return strings.TrimSpace(r.Cells[i])
		}
		name, typ, address := cell(at.name), strings.ToUpper(cell(at.typ)), strings.ToUpper(strings.Join(strings.Fields(cell(at.address)), ""))
		if name == "" && address == "" {
			continue
		}
		if p, why := symbol(typ, address, blocks, name); why != "" {
			f.leave(r.File, r.Line, name, "%s", why)
		} else if p != nil {
			p.File, p.Line, p.Name = r.File, r.Line, part(name)
			f.Points = append(f.Points, *p)
		}
	}
	return blocks
}

// symbol reads one tag; nil without a reason is a block, which goes to blocks.
func symbol(typ, address string, blocks map[string]int, name string) (p *Point, why string) {
	m := symbolForm.FindStringSubmatch(address)
	switch {
	case address == "":
		return nil, "it has no address"
	case m == nil:
		return nil, "its address " + strconv.Quote(address) + " is none that is known"
	case m[9] == "DB":
		n, _ := strconv.Atoi(m[10]) // digits
		blocks[strings.ToUpper(name)] = n
		return nil, ""
	case m[9] != "":
		return nil, "it is a block, which has no value"
	case m[1] != "" || m[6] != "":
		return nil, "it is a peripheral address, which is not read over this protocol; the process image has it without P"
	case m[7] != "":
		return numbered(typ, m[7], m[8])
	}
	p = &Point{Type: typ, Area: map[string]string{"E": "I", "A": "Q"}[m[2]], Bit: -1}
	if p.Area == "" {
		p.Area = m[2]
	}
	p.Byte, _ = strconv.Atoi(m[4]) // digits
	e, ok := elementaryOf(typ)
	switch {
	case !ok || e.bits == 0:
		return nil, "its type " + strconv.Quote(typ) + " is none that a tag of one value has"
	case typ == "BOOL" && m[5] == "":
		return nil, "a Bool has a bit behind its byte, such as M0.1"
	case typ == "BOOL":
		p.Bit = int(m[5][0] - '0')
	case m[5] != "" && m[5] != "0":
		return nil, "a " + typ + " begins with a byte, not with a bit"
	case m[3] != "" && e.bits != map[string]int{"X": 1, "B": 8, "W": 16, "D": 32, "L": 64}[m[3]]:
		return nil, "its address " + address + " has another size than a " + typ
	}
	if p.Bit > 7 {
		return nil, "a byte has the bits 0 to 7"
	}
	return p, ""
}

// numbered reads a timer or counter.
func numbered(typ, area, number string) (*Point, string) {
	p := &Point{Type: "S5TIME", Area: "T", Bit: -1}
	if area != "T" {
		p.Type, p.Area = "COUNTER", "C"
	}
	if typ != "TIMER" && typ != "COUNTER" && typ != "S5TIME" && typ != "WORD" && typ != "" {
		return nil, "a " + typ + " is not a value of a timer or counter"
	}
	p.Byte, _ = strconv.Atoi(number) // digits
	return p, ""
}
