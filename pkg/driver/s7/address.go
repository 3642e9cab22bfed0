package s7

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Area is a memory area of a PLC. Its value is the area's number in the protocol.
type Area byte

// The areas. Counters and timers are numbered words; the others consist of bytes.
const (
	AreaInput   Area = 0x81 // I, E
	AreaOutput  Area = 0x82 // Q, A
	AreaFlag    Area = 0x83 // M
	AreaDB      Area = 0x84 // data blocks
	AreaCounter Area = 0x1C // C, Z
	AreaTimer   Area = 0x1D // T
)

// areaOf returns the area of that name, international or German; V is the variable
// memory of LOGO! and S7-200, which is DB 1.
func areaOf(name string) (a Area, db uint16, ok bool) {
	switch strings.ToUpper(name) {
	case "", "DB":
		return AreaDB, 0, true
	case "V":
		return AreaDB, 1, true
	case "I", "E":
		return AreaInput, 0, true
	case "Q", "A":
		return AreaOutput, 0, true
	case "M":
		return AreaFlag, 0, true
	case "C", "Z":
		return AreaCounter, 0, true
	case "T":
		return AreaTimer, 0, true
	}
	return 0, 0, false
}

// String returns the international mnemonic of the area: I, Q, M, DB, C or T.
func (a Area) String() string {
	switch a {
	case AreaInput:
		return "I"
	case AreaOutput:
		return "Q"
	case AreaFlag:
		return "M"
	case AreaDB:
		return "DB"
	case AreaCounter:
		return "C"
	case AreaTimer:
		return "T"
	}
	return fmt.Sprintf("area 0x%02X", byte(a))
}

// numbered reports whether the area is a list of words that are counted, and not of
// bytes.
func (a Area) numbered() bool { return a == AreaCounter || a == AreaTimer }

// mostStart is the largest byte that an address has room for; lastByte the last that an
// area or a block with standard access has in any PLC of Siemens.
const (
	mostStart = 1<<21 - 1
	lastByte  = math.MaxUint16
)

// Place says where a value is in the memory of a PLC.
type Place struct {
	Area  Area
	DB    uint16 // number of the block; 0 in other areas
	Start uint32 // first byte, or the number of a counter or timer
	Size  int    // bytes
	Bit   int8   // bit of the first byte, 0 to 7; -1: the value is not a bit
}

// end is behind the last byte. A counter or timer has two.
func (p Place) end() uint32 {
	if p.Area.numbered() {
		return p.Start + uint32(p.Size)/2
	}
	return p.Start + uint32(p.Size)
}

// String writes the place as engineers do, with the international mnemonics: DB1.DBD4,
// M10.2, IW256.
func (p Place) String() string {
	at := strconv.FormatUint(uint64(p.Start), 10)
	head := p.Area.String()
	switch {
	case p.Area.numbered():
		return head + at
	case p.Area == AreaDB:
		head = "DB" + strconv.Itoa(int(p.DB)) + ".DB"
	}
	if p.Bit >= 0 {
		if p.Area == AreaDB {
			head += "X"
		}
		return fmt.Sprintf("%s%s.%d", head, at, p.Bit)
	}
	switch p.Size {
	case 1:
		return head + "B" + at
	case 2:
		return head + "W" + at
	case 4:
		return head + "D" + at
	}
	if p.Size == 8 {
		return head + "L" + at
	}
	return fmt.Sprintf("%sB%s (%d bytes)", head, at, p.Size)
}

// written is an address as engineers write it, taken apart.
type written struct {
	place  Place  // without Size
	letter string // what stands before the byte: X, B, W, D, L, STRING …; "" for a counter or timer
	length int    // behind STRING; 0: none
	count  int    // of elements; 0: it is no array
}

var (
	dbForm    = regexp.MustCompile(`^%?DB([0-9]+)\.(?:DB)?(X|B|W|D|L|STRING|WSTRING|CHAR|BYTE)([0-9]+)(?:\.([0-9]+))?$`)
	arrayForm = regexp.MustCompile(`^(.*)\[([0-9]{1,5})\]$`)
	areaForm  = regexp.MustCompile(`^%?([IEQAMV])(X|B|W|D|L)?([0-9]+)(?:\.([0-9]+))?$`)
	countForm = regexp.MustCompile(`^%?([TCZ])([0-9]+)$`)
	ioForm    = regexp.MustCompile(`^%?(?:P([IEQA][BWD][0-9]+)|([IEQA][XBWD]?[0-9]+(?:\.[0-9])?):P)$`)
)

const forms = "expected one such as DB1.DBD4, DB1.DBX2.3, DB1.STRING20.32, MW4, I0.1, T5 or C3"

// parse reads an address as engineers write it.
func parse(text string) (w written, err error) {
	given := strings.ToUpper(strings.TrimSpace(text))
	bad := func(format string, args ...any) (written, error) {
		return w, fmt.Errorf("%q: "+format, append([]any{text}, args...)...)
	}
	w.place.Bit = -1
	if m := arrayForm.FindStringSubmatch(given); m != nil {
		given = m[1]
		if w.count, _ = strconv.Atoi(m[2]); w.count < 1 { // digits
			return bad("an array has one element at least")
		}
	}
	var start, last string
	if m := countForm.FindStringSubmatch(given); m != nil {
		w.place.Area, _, _ = areaOf(m[1])
		start = m[2]
	} else if m := areaForm.FindStringSubmatch(given); m != nil {
		w.place.Area, w.place.DB, _ = areaOf(m[1])
		w.letter, start, last = m[2], m[3], m[4]
		if w.letter == "" {
			w.letter = "X"
		}
	} else if m := dbForm.FindStringSubmatch(given); m != nil {
		db, err := strconv.ParseUint(m[1], 10, 16)
		if err != nil || db == 0 {
			return bad("DB%s: expected DB1 to DB65535", m[1])
		}
		w.place.Area, w.place.DB, w.letter, start, last = AreaDB, uint16(db), m[2], m[3], m[4]
	} else if m := ioForm.FindStringSubmatch(given); m != nil {
		image := m[1] + m[2]
		return bad("the modules themselves can't be read; expected %s, the process image, or a place to which the program copies the value", image)
	} else {
		return bad(forms)
	}
	n, err := strconv.ParseUint(start, 10, 32)
	if err != nil || n > mostStart {
		return bad("byte %s: expected 0 to %d", start, mostStart)
	}
	w.place.Start = uint32(n)
	return w, w.setLast(text, last)
}

// setLast sets what stands behind the last point: a bit, or the length of a text.
func (w *written) setLast(text, last string) error {
	n := -1
	if last != "" {
		n, _ = strconv.Atoi(last) // digits; too many of them are out of every range
		if len(last) > 5 {
			n = math.MaxInt32
		}
	}
	switch w.letter {
	case "X":
		if n < 0 || n > 7 {
			return fmt.Errorf("%q: expected a bit, .0 to .7, behind the byte", text)
		}
		w.place.Bit = int8(n)
	case "STRING", "WSTRING", "CHAR", "BYTE":
		most := map[string]int{"STRING": 254, "WSTRING": 16382}[w.letter]
		if most == 0 {
			most = math.MaxUint16
		}
		if n < 1 || n > most {
			return fmt.Errorf("%q: expected a length, .1 to .%d, behind the byte", text, most)
		}
		w.length = n
	default:
		if n >= 0 {
			return fmt.Errorf("%q: .%s has no meaning behind %s; a bit is written with X, as in DB1.DBX0.%s", text, last, w.letter, last)
		}
	}
	return nil
}

// Point is a variable of the tables as the driver reads it: where it is, and what its
// bytes mean.
type Point struct {
	Place
	Type  config.DataType // of the variable; of an array, that of its elements
	kind  kind
	count int        // elements of an array; 0: it is none
	codec *textCodec // of texts
	index int        // in the table
	at    int        // of its first byte in the data of an item
}

// Resolve returns the point of a variable. It returns a note if the address is allowed and
// odd, and nil otherwise. The errors are [config.FieldError]s.
func Resolve(v *config.Variable) (p Point, note *config.FieldError, err error) {
	if v.Address.Type != config.AddrS7DB {
		return p, nil, config.FieldErrorf("address.type", "%s: an S7 variable has the address {s7: \"DB1.DBD4\"} or {db: 1, start: 4}", v.Address.Type)
	}
	k, size, known := kindOf(v.Datatype)
	if !known {
		return p, nil, config.FieldErrorf("datatype", "%s: an S7 PLC has no such values", v.Datatype)
	}
	p = Point{Type: v.Datatype, kind: k}
	if p.codec, err = textCodecOf(v); err != nil {
		return p, nil, err
	}
	if v.Address.S7 != "" {
		err = p.fromText(&v.Address, size)
	} else {
		note, err = p.fromFields(&v.Address, size)
	}
	if err != nil {
		return p, nil, err
	}
	if note == nil && p.end()-1 > lastByte {
		note = config.FieldErrorf("address", "%s ends behind byte %d, the last that a block or an area has in a PLC of Siemens", p.Place, lastByte)
	}
	return p, note, p.check()
}

// fromText resolves an address as engineers write it. need is what the datatype needs,
// 0 if the address says it.
func (p *Point) fromText(a *config.Address, need int) error {
	bad := func(format string, args ...any) error {
		return config.FieldErrorf("address.s7", format, args...)
	}
	w, err := parse(a.S7)
	if err != nil {
		return bad("%v", err)
	}
	p.Place = w.place
	has := map[string]int{"W": 2, "D": 4, "L": 8}[w.letter]
	switch w.letter {
	case "X":
		if p.kind != kindBool {
			return bad("%q is a bit, which is a bool and no %s", a.S7, p.Type)
		}
		need = 1
	case "STRING", "WSTRING":
		if want := (map[string]kind{"STRING": kindString, "WSTRING": kindWString})[w.letter]; p.kind != want {
			return bad("%q is a %s; expected datatype %s, not %s", a.S7, w.letter, strings.ToLower(w.letter), p.Type)
		}
		need = 2 + w.length
		if w.letter == "WSTRING" {
			need = 4 + 2*w.length
		}
	case "CHAR", "BYTE":
		if need != 0 || p.kind == kindString || p.kind == kindWString {
			return bad("%q has a length; expected datatype char or binary, not %s", a.S7, p.Type)
		}
		need = w.length
	}
	if p.kind == kindBool && p.Bit < 0 {
		return bad("%q is no bit, as a bool is; expected one such as DB1.DBX0.0 or M0.0", a.S7)
	}
	switch {
	case need == 0 && a.Size == 0:
		return config.FieldErrorf("address.size", "missing: nothing else says how many bytes a %s at %s has", p.Type, a.S7)
	case need == 0:
		need = int(a.Size)
	case a.Size != 0 && int(a.Size) != need:
		return config.FieldErrorf("address.size", "%d, but %s has %d bytes; remove it", a.Size, a.S7, need)
	}
	if has > 0 && has != need {
		return bad("%q has %d bytes, a %s has %d", a.S7, has, p.Type, need)
	}
	if w.letter == "B" && (need == 2 || need == 4) && p.Type != config.TypeBinary && p.Type != config.TypeChar {
		return bad("%q has one byte, a %s has %d; write it with %s", a.S7, p.Type, need, map[int]string{2: "W", 4: "D"}[need])
	}
	p.Size, p.count = need, w.count
	return p.spread(a.S7)
}

// spread makes room for the elements of an array.
func (p *Point) spread(text string) error {
	size := p.Size * p.count
	switch {
	case p.count == 0:
		return nil
	case p.codec != nil || p.kind == kindBinary || p.Area.numbered():
		return config.FieldErrorf("address.s7", "%q: there are no arrays of %s; take one variable for each element, or binary", text, p.Type)
	case p.kind == kindBool:
		size = (int(p.Bit) + p.count + 7) / 8
	}
	if size > math.MaxUint16 {
		return config.FieldErrorf("address.s7", "%q has %d bytes, more than any block", text, size)
	}
	p.Size = size
	return nil
}

// String writes the place as engineers do, and an array with its length: DB1.DBW0[4].
func (p Point) String() string {
	if p.count == 0 {
		return p.Place.String()
	}
	_, p.Place.Size, _ = kindOf(p.Type)
	return fmt.Sprintf("%s[%d]", p.Place, p.count)
}

// fromFields resolves an address of area, db, start and size.
func (p *Point) fromFields(a *config.Address, need int) (note *config.FieldError, err error) {
	area, db, ok := areaOf(a.Area)
	if !ok {
		return nil, config.FieldErrorf("address.area", "%q: expected DB, I, Q, M, C or T (E, A, Z in German), or V", a.Area)
	}
	if a.DB != 0 {
		db = a.DB
	}
	p.Place = Place{Area: area, DB: db, Start: a.Start, Size: need, Bit: -1}
	switch {
	case p.kind == kindBool && a.Bit == nil:
		return nil, config.FieldErrorf("address.bit", "missing: a bool is one bit of a byte; expected 0 to 7")
	case p.kind != kindBool && a.Bit != nil:
		return nil, config.FieldErrorf("address.bit", "%d: a %s is no bit; remove it", *a.Bit, p.Type)
	case a.Bit != nil && *a.Bit > 7:
		return nil, config.FieldErrorf("address.bit", "%d: expected 0 to 7; bit 8 is bit 0 of the next byte", *a.Bit)
	case a.Bit != nil:
		p.Bit = int8(*a.Bit)
	}
	size := int(a.Size)
	switch {
	case need == 0 && size == 0:
		return nil, config.FieldErrorf("address.size", "missing: a %s has the bytes that the address says", p.Type)
	case need == 0:
		p.Size = size
	case size != 0 && size < need:
		return nil, config.FieldErrorf("address.size", "%d, but a %s needs %d bytes", size, p.Type, need)
	case size > need:
		note = config.FieldErrorf("address.size", "%d, but a %s has %d bytes; the first are read", size, p.Type, need)
	}
	return note, nil
}

// check finds what no form of an address may be.
func (p *Point) check() error {
	field := "address"
	switch {
	case p.Area == AreaDB && p.DB == 0:
		return config.FieldErrorf("address.db", "missing: expected 1 to 65535")
	case p.Area.numbered() && p.Size != 2:
		return config.FieldErrorf(field, "%s has 2 bytes; expected a datatype such as s5time of a timer or bcd16 of a counter, not %s", p.Area, p.Type)
	case p.Area.numbered() && p.Start > math.MaxUint16:
		return config.FieldErrorf(field, "%s%d: expected 0 to 65535", p.Area, p.Start)
	case p.Start > mostStart || p.end()-1 > mostStart:
		return config.FieldErrorf(field, "%s ends behind byte %d, the last that can be addressed", p.Place, mostStart)
	case p.kind == kindString && (p.Size < 3 || p.Size > 256):
		return config.FieldErrorf("address.size", "%d: a string has 3 to 256 bytes, two of them before the text", p.Size)
	case p.kind == kindWString && (p.Size < 6 || p.Size%2 != 0):
		return config.FieldErrorf("address.size", "%d: a wstring has 6 bytes at least, four of them before the text, and an even number", p.Size)
	}
	return nil
}
