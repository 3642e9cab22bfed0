package frame

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A tag set as the log stores it:
//
//	byte     version (1)
//	text     driver id
//	uvarint  count of tags
//	tags     uvarint length of the prefix shared with the name before,
//	         text rest of the name, unit: 0 (the same as before) or
//	         uvarint length + 1 and the bytes
//	uint32   CRC-32C of everything before, little endian
//
// where text is a uvarint length and the bytes. Names are sorted in practice, so
// that sharing prefixes takes most of their size away.
const tagSetVersion = 1

// AppendTagSet appends the encoding of s to dst.
func AppendTagSet(dst []byte, s *TagSet) []byte {
	start := len(dst)
	dst = appendText(append(dst, tagSetVersion), s.Driver)
	dst = binary.AppendUvarint(dst, uint64(len(s.Tags)))
	prev := Tag{}
	for _, t := range s.Tags {
		shared := 0
		for shared < min(len(prev.Name), len(t.Name)) && prev.Name[shared] == t.Name[shared] {
			shared++
		}
		dst = appendText(binary.AppendUvarint(dst, uint64(shared)), t.Name[shared:])
		if t.Unit == prev.Unit {
			dst = append(dst, 0)
		} else {
			dst = append(binary.AppendUvarint(dst, uint64(len(t.Unit))+1), t.Unit...)
		}
		prev = t
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli()))
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// DecodeTagSet decodes a tag set. Its allocations are bounded by a multiple of len(p).
func DecodeTagSet(p []byte) (*TagSet, error) {
	if len(p) < 4 {
		return nil, fmt.Errorf("tag set: %w: %d bytes", ErrBadBlock, len(p))
	}
	body := p[:len(p)-4]
	if sum := binary.LittleEndian.Uint32(p[len(body):]); sum != crc32.Checksum(body, castagnoli()) {
		return nil, fmt.Errorf("tag set: %w: checksum differs", ErrBadBlock)
	}
	d := decoder{p: body}
	if v := d.byte(); v != tagSetVersion {
		d.fail("version %d", v)
	}
	s := &TagSet{Driver: d.text()}
	n := d.uvarint()
	if n > uint64(len(d.p))/3 || n > maxSet/32 { // a tag takes three bytes at least
		d.fail("%d tags", n)
	}
	if d.err == nil {
		s.Tags = make([]Tag, 0, n)
	}
	prev, total := Tag{}, 0
	for range n {
		shared := d.uvarint()
		if total += int(min(shared, 1<<20)); shared > uint64(len(prev.Name)) || total > min(maxSharing*len(p), maxSet) {
			d.fail("shared prefix of %d", shared)
		}
		if d.err != nil {
			return nil, fmt.Errorf("tag set: %w", d.err)
		}
		t := Tag{Name: prev.Name[:shared] + d.text(), Unit: prev.Unit}
		if n := d.uvarint(); n > 0 {
			t.Unit = string(d.bytes(n - 1))
		}
		s.Tags = append(s.Tags, t)
		prev = t
	}
	if d.err == nil && len(d.p) != 0 {
		d.fail("%d bytes too many", len(d.p))
	}
	if d.err != nil {
		return nil, fmt.Errorf("tag set: %w", d.err)
	}
	return s, nil
}

// Size is about how many bytes s takes in memory.
func (s *TagSet) Size() int {
	n := 64 + len(s.Driver)
	for i := range s.Tags {
		n += 32 + len(s.Tags[i].Name) + len(s.Tags[i].Unit)
	}
	return n
}

// maxSharing bounds what shared prefixes may add, per encoded byte: a tag of 128
// four-byte letters that differs from the one before in its last byte stays below.
const maxSharing = 256

// maxSet bounds what names and tags of one set take, in bytes, each.
const maxSet = 256 << 20

func (d *decoder) text() string { return string(d.bytes(d.uvarint())) }
