package s7

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// blockKind is a kind of blocks, by its letter in the protocol.
type blockKind byte

// blockKinds are the kinds in the order in which they are listed. Those of the CPU itself
// come last.
func blockKinds() []blockKind { return []blockKind("8ECABFD") }

func (k blockKind) String() string {
	switch k {
	case '8':
		return "OB"
	case 'A':
		return "DB"
	case 'B':
		return "SDB"
	case 'C':
		return "FC"
	case 'D':
		return "SFC"
	case 'E':
		return "FB"
	case 'F':
		return "SFB"
	}
	return fmt.Sprintf("block kind 0x%02X", byte(k))
}

// ofCPU reports whether blocks of the kind are the CPU's, and not of its program.
func (k blockKind) ofCPU() bool { return k == 'B' || k == 'D' || k == 'F' }

// BlockName names a block of a PLC by its kind and number.
type BlockName struct {
	kind   blockKind
	number uint16
}

// String returns the name as engineers write it, such as DB10 or FC3.
func (n BlockName) String() string { return fmt.Sprintf("%s%d", n.kind, n.number) }

// block is what a PLC tells of one.
type block struct {
	size     int // bytes of its data or code, which addresses count
	load     int // bytes of memory that it takes when loaded
	language string
	name     string // in its header, as are the family and the author
	family   string
	author   string
	version  string
	changed  time.Time
}

// selection is which blocks are to be listed.
type selection struct {
	kinds  []blockKind
	number int // of one; -1: all of kinds
}

var blockForm = regexp.MustCompile(`^(OB|DB|SDB|FC|SFC|FB|SFB)([0-9]{1,5})?$`)

// selectBlocks reads what a person wants to see: "" is the program's blocks, "all" those
// of the CPU as well, "DB" is a kind and "DB7" one block.
func selectBlocks(text string) (s selection, err error) {
	s.number = -1
	given := strings.ToUpper(strings.TrimSpace(text))
	if given == "ALL" || given == "" {
		s.kinds = slices.DeleteFunc(blockKinds(), func(k blockKind) bool { return given == "" && k.ofCPU() })
		return s, nil
	}
	m := blockForm.FindStringSubmatch(given)
	if m == nil {
		return s, fmt.Errorf("%q: expected a kind of blocks (OB, FB, FC, DB; of the CPU itself SDB, SFB, SFC), one block such as DB7, or all", text)
	}
	s.kinds = slices.DeleteFunc(blockKinds(), func(k blockKind) bool { return k.String() != m[1] })
	if m[2] != "" {
		if s.number, _ = strconv.Atoi(m[2]); s.number > 0xFFFF { // digits
			return s, fmt.Errorf("%q: blocks have the numbers 0 to 65535", text)
		}
	}
	return s, nil
}

// blockHead begins each entry that names a kind.
const blockHead = '0'

// countBlocks asks how many blocks there are of each kind.
func (c *session) countBlocks() (map[blockKind]int, error) {
	data, err := c.userData(groupBlocks, blocksCount, nil)
	if err != nil {
		return nil, err
	}
	counts, err := parseCounts(data)
	return counts, c.rejected(err)
}

func parseCounts(data []byte) (map[blockKind]int, error) {
	if len(data)%4 != 0 {
		return nil, rejectf("length", "the list of kinds of blocks has %d bytes, expected four for each", len(data))
	}
	counts := map[blockKind]int{}
	for ; len(data) > 0; data = data[4:] {
		if _, twice := counts[blockKind(data[1])]; data[0] != blockHead || twice {
			return nil, rejectf("items", "% X came, expected a kind of blocks and their number", data[:4])
		}
		counts[blockKind(data[1])] = int(binary.BigEndian.Uint16(data[2:]))
	}
	return counts, nil
}

// blockNumbers asks for the numbers of the blocks of a kind, of which there are most at
// most.
func (c *session) blockNumbers(k blockKind, most int) ([]uint16, error) {
	data, err := c.userData(groupBlocks, blocksOfKind, []byte{blockHead, byte(k)})
	if err != nil {
		return nil, err
	}
	numbers, err := parseNumbers(data, most)
	return numbers, c.rejected(err)
}

// parseNumbers reads a list of blocks. Some may have been loaded since they were counted.
func parseNumbers(data []byte, counted int) ([]uint16, error) {
	if len(data)%4 != 0 || len(data)/4 > 2*counted+16 {
		return nil, rejectf("length", "the list of blocks has %d bytes, expected four for each of %d", len(data), counted)
	}
	numbers := make([]uint16, 0, len(data)/4)
	for ; len(data) > 0; data = data[4:] {
		numbers = append(numbers, binary.BigEndian.Uint16(data))
	}
	slices.Sort(numbers)
	if n := len(numbers); len(slices.Compact(numbers)) != n {
		return nil, rejectf("items", "the list of blocks has one twice")
	}
	return numbers, nil
}

// blockInfo asks for what the PLC knows of a block that it runs.
func (c *session) blockInfo(n BlockName) (block, error) {
	const active = 'A' // and not only in the load memory
	data, err := c.userData(groupBlocks, blocksInfo, append([]byte{blockHead, byte(n.kind)}, fmt.Sprintf("%05d%c", n.number, active)...))
	if err != nil {
		return block{}, err
	}
	b, err := parseBlock(data, n)
	return b, c.rejected(err)
}

// parseBlock reads the description of a block.
func parseBlock(d []byte, n BlockName) (b block, err error) {
	const size = 78
	if len(d) < size {
		return b, rejectf("length", "what is told of a block has %d bytes, expected %d", len(d), size)
	}
	if got := binary.BigEndian.Uint16(d[12:]); got != n.number {
		return b, rejectf("items", "block %d is told of, expected %s", got, n)
	}
	b = block{
		size: int(binary.BigEndian.Uint16(d[40:])), load: int(binary.BigEndian.Uint32(d[14:])), language: languageOf(d[10]),
		author: text(d[42:50]), family: text(d[50:58]), name: text(d[58:66]), version: fmt.Sprintf("%d.%d", d[66]>>4, d[66]&0xF),
	}
	day, ms := int(binary.BigEndian.Uint16(d[26:])), binary.BigEndian.Uint32(d[22:])
	if day > 0 && ms < dayMS {
		b.changed = time.Date(1984, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, day).Add(time.Duration(ms) * time.Millisecond)
	}
	return b, nil
}

// languageOf names what a block was written in.
func languageOf(code byte) string {
	names := map[byte]string{1: "STL", 2: "LAD", 3: "FBD", 4: "SCL", 5: "DB", 6: "GRAPH", 7: "SDB", 8: "CPU-DB"}
	if name, ok := names[code]; ok {
		return name
	}
	return fmt.Sprintf("0x%02X", code)
}
