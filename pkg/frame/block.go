package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
)

// A block is a batch as the log stores it: encoded once, by the goroutine that
// publishes it, column by column. The tags are indexes into a TagSet that the
// block does not hold; neither does it hold its sequence numbers, which are its
// key in the log.
//
//	byte     version, 1 or 2
//	byte     kind
//	uvarint  count of frames, 1–MaxBlockFrames
//	uvarint  configuration revision
//	varint   smallest source time, Unix ns
//	uvarint  largest minus smallest
//	column   tag indexes    0 first | 1 first, differences
//	column   source times   0 (all the same) | 1 differences from the one before
//	column   qualities      runs of (quality, length)
//	column   value kinds    runs of (kind, length)
//	column   statuses       version 2 only: uvarint count of texts, the texts (uvarint
//	                        length and the bytes), runs of (uvarint status, length)
//	column   values         by kind, see block_values.go
//	uint32   CRC-32C of everything before, little endian
//
// Version 2 knows statuses and arrays. It is written only where a batch has them, so
// that other blocks stay what they were. Version 1 holds no statuses, and an array
// there has the kind of an object: its text begins with a bracket.
const (
	oldBlock    = 1
	NewestBlock = 2 // the version that this release reads and writes at most
)

// MaxBlockFrames is the largest number of frames in one block. It bounds what
// decoding a block can allocate.
const MaxBlockFrames = 1 << 14

// ErrBadBlock is wrapped by every error about bytes that are no block (or no tag
// set): damaged, cut short, or of another format.
var ErrBadBlock = errors.New("damaged block")

// BlockHeader is what can be known of a block without decoding it.
type BlockHeader struct {
	Kind         Kind
	Count        int
	ConfigRev    uint64
	MinTS, MaxTS int64 // source times, Unix ns
}

const (
	columnConst = 0
	columnDelta = 1
)

// AppendBlock appends the encoding of b to dst. The batch must have 1 to
// MaxBlockFrames frames whose tags are in its set.
func AppendBlock(dst []byte, b *Batch) ([]byte, error) {
	return AppendBlockOf(dst, b, NewestBlock)
}

// AppendBlockOf is [AppendBlock] for a reader that knows versions up to the given one:
// 1 leaves out the statuses.
func AppendBlockOf(dst []byte, b *Batch, newest int) ([]byte, error) {
	n := len(b.Frames)
	if n == 0 || n > MaxBlockFrames {
		return dst, fmt.Errorf("encode block: %d frames, expected 1 to %d", n, MaxBlockFrames)
	}
	if b.Set == nil {
		return dst, errors.New("encode block: batch without a tag set")
	}
	start := len(dst)
	minTS, maxTS := b.Frames[0].TS, b.Frames[0].TS
	inOrder, version := true, byte(oldBlock)
	if newest > oldBlock && len(b.Statuses) > 0 {
		version = NewestBlock
	}
	first, tags := b.Frames[0].Tag, uint32(len(b.Set.Tags))
	for i := range b.Frames {
		f := &b.Frames[i]
		if f.Tag >= tags {
			return dst, fmt.Errorf("encode block: frame %d names tag %d of %d", i, f.Tag, tags)
		}
		inOrder = inOrder && f.Tag == first+uint32(i)
		minTS, maxTS = min(minTS, f.TS), max(maxTS, f.TS)
		if f.Value.kind == KindArray && newest > oldBlock {
			version = NewestBlock
		}
	}
	dst = append(dst, version, byte(b.Kind))
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = binary.AppendUvarint(dst, b.ConfigRev)
	dst = binary.AppendVarint(dst, minTS)
	dst = binary.AppendUvarint(dst, uint64(maxTS)-uint64(minTS))
	dst = appendTags(dst, b.Frames, inOrder)
	dst = appendTimes(dst, b.Frames, minTS, maxTS)
	dst = appendRuns(dst, b.Frames, func(f *Frame) byte { return byte(f.Quality) })
	if version == oldBlock {
		dst = appendRuns(dst, b.Frames, func(f *Frame) byte { return byte(min(f.Value.kind, KindObject)) })
	} else {
		dst = appendRuns(dst, b.Frames, func(f *Frame) byte { return byte(f.Value.kind) })
		dst = appendStatuses(dst, b)
	}
	dst = appendValues(dst, b.Frames)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli())), nil
}

// castagnoli returns the CRC-32C table; MakeTable gives the same one each time.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendTags(dst []byte, frames []Frame, inOrder bool) []byte {
	if inOrder {
		return binary.AppendUvarint(append(dst, columnConst), uint64(frames[0].Tag))
	}
	dst = append(dst, columnDelta)
	prev := int64(0)
	for i := range frames {
		tag := int64(frames[i].Tag)
		dst = binary.AppendVarint(dst, tag-prev)
		prev = tag
	}
	return dst
}

func appendTimes(dst []byte, frames []Frame, minTS, maxTS int64) []byte {
	if minTS == maxTS {
		return append(dst, columnConst)
	}
	dst = append(dst, columnDelta)
	prev := minTS
	for i := range frames {
		dst = binary.AppendVarint(dst, frames[i].TS-prev)
		prev = frames[i].TS
	}
	return dst
}

func appendRuns(dst []byte, frames []Frame, of func(*Frame) byte) []byte {
	for i := 0; i < len(frames); {
		v, j := of(&frames[i]), i+1
		for j < len(frames) && of(&frames[j]) == v {
			j++
		}
		dst = binary.AppendUvarint(append(dst, v), uint64(j-i))
		i = j
	}
	return dst
}

func appendStatuses(dst []byte, b *Batch) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.Statuses)))
	if len(b.Statuses) == 0 {
		return dst
	}
	for _, text := range b.Statuses {
		dst = appendText(dst, text)
	}
	for i := 0; i < len(b.Frames); {
		s, j := b.Frames[i].Status, i+1
		for j < len(b.Frames) && b.Frames[j].Status == s {
			j++
		}
		if int(s) > len(b.Statuses) { // nobody knows what it means
			s = 0
		}
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(s)), uint64(j-i))
		i = j
	}
	return dst
}

// ParseBlockHeader reads a block's header. It does not check the block's sum.
func ParseBlockHeader(p []byte) (BlockHeader, error) {
	d := decoder{p: p}
	h, _ := d.header()
	return h, d.err
}

// DecodeBlock decodes a block whose tags are in set. The batch has no sequence
// number yet. Strings in it share one copy of p; p itself is not kept.
func DecodeBlock(p []byte, set *TagSet) (*Batch, error) {
	if len(p) < 4 {
		return nil, fmt.Errorf("%w: %d bytes", ErrBadBlock, len(p))
	}
	body := p[:len(p)-4]
	if sum := binary.LittleEndian.Uint32(p[len(body):]); sum != crc32.Checksum(body, castagnoli()) {
		return nil, fmt.Errorf("%w: checksum differs", ErrBadBlock)
	}
	d := decoder{p: body}
	h, version := d.header()
	if d.err != nil {
		return nil, d.err
	}
	b := &Batch{ConfigRev: h.ConfigRev, Kind: h.Kind, Set: set}
	frames := make([]Frame, h.Count)
	d.tags(frames, uint32(len(set.Tags)))
	d.times(frames, h.MinTS)
	d.runs(frames, byte(Bad), func(f *Frame, v byte) { f.Quality = Quality(v) })
	largest := KindObject
	if version > oldBlock {
		largest = KindArray
	}
	d.runs(frames, byte(largest), func(f *Frame, v byte) { f.Value.kind = ValueKind(v) })
	if b.Frames = frames; version > oldBlock {
		d.statuses(b)
	}
	d.values(frames)
	if version == oldBlock {
		findArrays(frames)
	}
	if d.err == nil && len(d.p) != 0 {
		d.fail("%d bytes too many", len(d.p))
	}
	if d.err != nil {
		return nil, d.err
	}
	return b, nil
}

// findArrays tells arrays from objects where the block does not.
func findArrays(frames []Frame) {
	for i := range frames {
		if v := &frames[i].Value; v.kind == KindObject && strings.HasPrefix(v.str, "[") {
			v.kind = KindArray
		}
	}
}

// decoder reads from p; after the first error it reads zeros.
type decoder struct {
	p   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrBadBlock}, args...)...)
	}
	d.p = nil
}

func (d *decoder) byte() byte {
	if len(d.p) == 0 {
		d.fail("cut short")
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	if len(d.p) > 0 && d.p[0] < 0x80 {
		v := uint64(d.p[0])
		d.p = d.p[1:]
		return v
	}
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.p)) {
		d.fail("%d bytes wanted, %d there", n, len(d.p))
		return nil
	}
	b := d.p[:n]
	d.p = d.p[n:]
	return b
}

func (d *decoder) header() (h BlockHeader, version byte) {
	if version = d.byte(); d.err == nil && (version < oldBlock || version > NewestBlock) {
		d.fail("version %d, this release knows %d to %d", version, oldBlock, NewestBlock)
	}
	h.Kind = Kind(d.byte())
	count := d.uvarint()
	if d.err == nil && (count == 0 || count > MaxBlockFrames) {
		d.fail("%d frames", count)
	}
	h.Count = int(min(count, MaxBlockFrames))
	h.ConfigRev = d.uvarint()
	h.MinTS = d.varint()
	span := d.uvarint()
	if span > math.MaxInt64 && h.MinTS >= 0 {
		d.fail("time range %d", span)
	}
	h.MaxTS = int64(uint64(h.MinTS) + span)
	return h, version
}

func (d *decoder) statuses(b *Batch) {
	n := d.uvarint()
	if n > maxStatuses {
		d.fail("%d statuses", n)
	}
	if n == 0 || d.err != nil {
		return
	}
	for range n {
		b.Statuses = append(b.Statuses, d.text())
	}
	for i := 0; i < len(b.Frames) && d.err == nil; {
		s, count := d.uvarint(), d.uvarint()
		if s > n || count == 0 || count > uint64(len(b.Frames)-i) {
			d.fail("run of %d × status %d", count, s)
			return
		}
		for end := i + int(count); i < end; i++ {
			b.Frames[i].Status = uint16(s)
		}
	}
}

func (d *decoder) tags(frames []Frame, tags uint32) {
	switch mode := d.byte(); mode {
	case columnConst:
		first := d.uvarint()
		if first >= uint64(tags) || first+uint64(len(frames)) > uint64(tags) {
			d.fail("tags %d to %d of %d", first, first+uint64(len(frames))-1, tags)
			return
		}
		for i := range frames {
			frames[i].Tag = uint32(first) + uint32(i)
		}
	case columnDelta:
		tag := int64(0)
		for i := range frames {
			tag += d.varint()
			if tag < 0 || tag >= int64(tags) {
				d.fail("tag %d of %d", tag, tags)
				return
			}
			frames[i].Tag = uint32(tag)
		}
	default:
		d.fail("tag column %d", mode)
	}
}

func (d *decoder) times(frames []Frame, minTS int64) {
	switch mode := d.byte(); mode {
	case columnConst:
		for i := range frames {
			frames[i].TS = minTS
		}
	case columnDelta:
		ts := minTS
		for i := range frames {
			ts += d.varint()
			frames[i].TS = ts
		}
	default:
		d.fail("time column %d", mode)
	}
}

func (d *decoder) runs(frames []Frame, largest byte, set func(*Frame, byte)) {
	for i := 0; i < len(frames) && d.err == nil; {
		v, n := d.byte(), d.uvarint()
		if v > largest || n == 0 || n > uint64(len(frames)-i) {
			d.fail("run of %d × %d", n, v)
			return
		}
		for end := i + int(n); i < end; i++ {
			set(&frames[i], v)
		}
	}
}
