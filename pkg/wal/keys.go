package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Keys of the frames database: a sequence number, big-endian, and a byte.
//
//	0 'e'              format version and epoch
//	segment 0 id       tag set id (4 bytes) of the segment that begins at that seq
//	seq 1              the block whose first frame has that seq
const (
	setKind   = 0
	blockKind = 1
)

func appendSeq(dst []byte, seq uint64) []byte { return binary.BigEndian.AppendUint64(dst, seq) }

func epochKey() []byte              { return append(appendSeq(nil, 0), 'e') }
func setsKey(segment uint64) []byte { return append(appendSeq(nil, segment), setKind) }
func blockKey(seq uint64) []byte    { return append(appendSeq(nil, seq), blockKind) }

func setKey(segment uint64, id uint32) []byte {
	return binary.BigEndian.AppendUint32(setsKey(segment), id)
}

// endKey is behind every block and set.
func endKey() []byte { return []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// isBlockKey returns the first seq of the block at key.
func isBlockKey(key []byte) (uint64, bool) {
	if len(key) != 9 || key[8] != blockKind {
		return 0, false
	}
	return binary.BigEndian.Uint64(key), true
}

// envelope is what the log puts before a block: where it stands.
//
//	byte     version (1)
//	uvarint  count of frames
//	uvarint  first seq minus the segment's
//	uvarint  id of the tag set in the segment, plus 1; 0: the set follows
//	[uvarint length, tag set]
//	uvarint  bytes of the log before this block
//	uvarint  when it was logged, Unix ms, never less than the block before
//	uint32   CRC-32C of the key and everything before, little endian
type envelope struct {
	count   int
	segment uint64
	setID   uint32
	inline  []byte // the encoded set, if it is not in the segment's table
	pos     uint64
	logged  int64
}

const envelopeVersion = 1

func appendEnvelope(dst, key []byte, first uint64, e envelope) []byte {
	start := len(dst)
	dst = append(dst, envelopeVersion)
	dst = binary.AppendUvarint(dst, uint64(e.count))
	dst = binary.AppendUvarint(dst, first-e.segment)
	if e.inline != nil {
		dst = binary.AppendUvarint(append(dst, 0), uint64(len(e.inline)))
		dst = append(dst, e.inline...)
	} else {
		dst = binary.AppendUvarint(dst, uint64(e.setID)+1)
	}
	dst = binary.AppendUvarint(dst, e.pos)
	dst = binary.AppendUvarint(dst, uint64(e.logged))
	return binary.LittleEndian.AppendUint32(dst, envelopeSum(key, dst[start:]))
}

func envelopeSum(key, p []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, table), table, p)
}

// parseEnvelope returns the envelope of the block with the given first seq, and
// the block behind it.
func parseEnvelope(key []byte, first uint64, p []byte) (e envelope, block []byte, err error) {
	bad := func(what string) (envelope, []byte, error) {
		return envelope{}, nil, fmt.Errorf("block %d: %w: %s", first, frame.ErrBadBlock, what)
	}
	if len(p) == 0 {
		return bad("empty")
	}
	if p[0] != envelopeVersion { // what a newer release writes, the log's own version tells
		return bad("unknown version")
	}
	at, ok := 1, true
	next := func() uint64 {
		v, n := binary.Uvarint(p[at:])
		if n <= 0 {
			ok = false
			return 0
		}
		at += n
		return v
	}
	count, back, id := next(), next(), next()
	if id == 0 {
		n := next()
		if !ok || n > uint64(len(p)-at) {
			return bad("cut short")
		}
		e.inline = p[at : at+int(n) : at+int(n)]
		at += int(n)
	}
	e.pos = next()
	e.logged = int64(next())
	if !ok || len(p)-at < 4 {
		return bad("cut short")
	}
	if binary.LittleEndian.Uint32(p[at:]) != envelopeSum(key, p[:at]) {
		return bad("checksum differs")
	}
	if count == 0 || count > frame.MaxBlockFrames || back > first || id > 1<<32 {
		return bad("impossible numbers")
	}
	e.count, e.segment, e.setID = int(count), first-back, uint32(id-1)
	return e, p[at+4:], nil
}
