package modbus

import (
	"cmp"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Block is a range that a device answers only as a whole.
type Block struct {
	Type  config.AddressType `json:"type"`
	Start uint32             `json:"start"` // as an address's addr
	Len   uint16             `json:"len"`
}

// block is what a device wants to be asked for, no more and no less. The zero
// value is none.
type block struct{ start, len uint16 }

func (b block) compare(c block) int {
	return cmp.Or(cmp.Compare(b.start, c.start), cmp.Compare(b.len, c.len))
}

// holds reports whether p lies in b.
func (b block) holds(p *Point) bool {
	return p.Addr >= b.start && int(p.Addr)+int(p.Count) <= int(b.start)+int(b.len)
}

// touches reports whether p lies in b, if only in part.
func (b block) touches(p *Point) bool {
	return int(p.Addr) < int(b.start)+int(b.len) && int(p.Addr)+int(p.Count) > int(b.start)
}

// resolveBlock turns a block as a table has it into protocol addresses.
func (s *Settings) resolveBlock(t config.AddressType, start uint32, n uint16) (block, error) {
	at, err := s.protocolAddress(config.Address{Type: t, Addr: start})
	if err != nil {
		return block{}, config.FieldErrorf("start", "%s", config.FieldErrors(err)[0].Msg)
	}
	fn, err := readFunc(t)
	if err != nil {
		return block{}, config.FieldErrorf("type", "%v", err)
	}
	limit := s.readLimit(fn, at)
	switch {
	case n > limit:
		return block{}, config.FieldErrorf("len", "%d, but one request can have %d of %s", n, limit, t)
	case int(at)+int(n) > 1<<16:
		return block{}, config.FieldErrorf("len", "%d from %d on ends beyond 65535", n, at)
	case !s.uniform(fn, at, n):
		return block{}, config.FieldErrorf("len", "%d from %d on crosses the border of a range of wide_registers", n, at)
	}
	return block{at, n}, nil
}

// checkBlocks refuses blocks that make no sense, or that leave open which of them
// a variable is read with.
func (s *Settings) checkBlocks(c *checker) {
	for i, b := range s.Blocks {
		at, err := s.resolveBlock(b.Type, b.Start, b.Len)
		if err != nil {
			c.failf("blocks", "block %d: %v", i+1, err)
			continue
		}
		for j, other := range s.Blocks[:i] {
			o, err := s.resolveBlock(other.Type, other.Start, other.Len)
			if err == nil && other.Type == b.Type && int(at.start) < int(o.start)+int(o.len) && int(o.start) < int(at.start)+int(at.len) {
				c.failf("blocks", "block %d overlaps block %d; a variable in both could be read with either. "+
					"Name the block at the variables instead", i+1, j+1)
			}
		}
	}
}

// UnusedBlocks returns the places in s.Blocks of those with which none of points is
// read.
func (s *Settings) UnusedBlocks(points []Point) (unused []int) {
	for i, candidate := range s.Blocks {
		b, err := s.resolveBlock(candidate.Type, candidate.Start, candidate.Len)
		used := func(p Point) bool { return p.block == b && addressType(p.Func) == candidate.Type }
		if err == nil && !slices.ContainsFunc(points, used) {
			unused = append(unused, i)
		}
	}
	return unused
}

// place says with what p is read: a block of the variable's or of the driver's, or
// alone.
func (s *Settings) place(v *config.Variable, p *Point) error {
	p.lone = v.Merge == config.No || v.Merge == config.Open && s.Merge != nil && !*s.Merge
	if v.Block.Len > 0 {
		b, err := s.resolveBlock(v.Address.Type, v.Block.Start, v.Block.Len)
		switch {
		case err != nil:
			e := config.FieldErrors(err)[0]
			return config.FieldErrorf("block."+e.Path[0], "%s", e.Msg)
		case v.Merge == config.No:
			return config.FieldErrorf("merge", "contradicts block; remove one of them")
		case !b.holds(p):
			return config.FieldErrorf("block", "%d–%d does not hold %s", b.start, int(b.start)+int(b.len)-1, p)
		}
		p.block, p.lone = b, false
		return nil
	}
	for _, candidate := range s.Blocks {
		b, err := s.resolveBlock(candidate.Type, candidate.Start, candidate.Len)
		if err != nil || candidate.Type != v.Address.Type || v.Merge == config.No || !b.touches(p) {
			continue
		}
		if !b.holds(p) {
			return config.FieldErrorf("address.addr", "%s lies half in the block %d–%d of cfg.blocks, which is read as a whole; "+
				"correct one of them, or set merge: false to read it alone", p, b.start, int(b.start)+int(b.len)-1)
		}
		p.block, p.lone = b, false
	}
	return nil
}
