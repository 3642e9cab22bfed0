package opcua

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gopcua/opcua/ua"
)

// The library decodes values within values by calling itself, without a limit: a message
// of a few megabytes can end the process, which no recover holds up. So the messages
// that can hold them are walked through before.

// maxNested is how deep values may stand within values.
const maxNested = 32

// mostDecoded bounds what a message may take once it is decoded, in bytes, about: values
// of one byte take a hundred.
const mostDecoded = 64 << 20

// What is decoded takes about so much more than its bytes.
const (
	costText      = 24 // strings, byte strings
	costName      = 96 // node ids, texts with a language, diagnostics, variants, structures
	costDataValue = 112
	costReference = 200
)

// shallow bounds messages of the other kinds: their depth is at most their length, and
// the stack holds that.
const shallow = 256 << 10

var errNested = errors.New("the server's answer has values within values without an end")

// Binary encodings of the answers that hold values (OPC 10000-6, annex A).
const (
	encReadResponse       = 634
	encPublishResponse    = 829
	encRepublishResponse  = 835
	encDataChange         = 811
	encHistoryResponse    = 667
	encHistoryData        = 658
	encBrowseResponse     = 530
	encBrowseNextResponse = 536
)

// walker goes through an encoded message. Of it, it keeps only where the structures are.
type walker struct {
	b     []byte
	end   int // of b in the message
	err   error
	spots []spot
	outer int // where the length of the body stands that b is of; 0: of none
	room  int // bytes that what follows may still take when it is decoded
}

func newWalker(b []byte) *walker { return &walker{b: b, end: len(b), room: mostDecoded} }

// cost takes what something needs besides its bytes.
func (w *walker) cost(n int) {
	if w.room -= n; w.room < 0 && w.err == nil {
		w.err, w.b = fmt.Errorf("the server's answer would take more than %d MiB of memory", mostDecoded>>20), nil
	}
}

// at is where the walker is in the message.
func (w *walker) at() int { return w.end - len(w.b) }

// check says whether an encoded answer can be given to the library. It returns the
// answer, in which the structures among the values keep their bodies: see [keepBodies].
func check(b []byte) ([]byte, error) {
	w := newWalker(b)
	kind := w.nodeID()
	w.skip(8 + 4 + 4) // timestamp, handle, result
	w.diagnostic(0)
	w.list(func() { w.bytes() }) // strings
	w.extension(0)
	switch kind {
	case encReadResponse:
		w.list(func() { w.dataValue(0) })
		w.list(func() { w.diagnostic(0) })
	case encPublishResponse:
		w.skip(4)
		w.list(func() { w.skip(4) })
		w.skip(1)
		w.notification()
		w.list(func() { w.skip(4) })
		w.list(func() { w.diagnostic(0) })
	case encRepublishResponse:
		w.notification()
	case encHistoryResponse:
		w.list(func() {
			w.skip(4)
			w.bytes()
			w.extension(0)
		})
		w.list(func() { w.diagnostic(0) })
	case encBrowseResponse, encBrowseNextResponse: // long, and values stand in none of them but the diagnostics
		w.list(func() { w.browseResult() })
		w.list(func() { w.diagnostic(0) })
	default:
		if len(b) > shallow {
			return nil, fmt.Errorf("the server's answer has %d bytes; set cfg.max_per_request lower", len(b))
		}
	}
	if w.err != nil {
		return nil, w.err
	}
	return keepBodies(b, w.spots), nil
}

func (w *walker) skip(n int) {
	if w.err != nil {
		return
	}
	if n < 0 || n > len(w.b) {
		w.err, w.b = errors.New("the server's answer is cut off"), nil
		return
	}
	w.b = w.b[n:]
}

func (w *walker) byte() byte {
	if len(w.b) == 0 {
		w.skip(1)
		return 0
	}
	v := w.b[0]
	w.b = w.b[1:]
	return v
}

func (w *walker) uint32() uint32 {
	if len(w.b) < 4 {
		w.skip(4)
		return 0
	}
	v := binary.LittleEndian.Uint32(w.b)
	w.b = w.b[4:]
	return v
}

// bytes passes a string or a byte string.
func (w *walker) bytes() {
	w.cost(costText)
	if n := w.uint32(); n != 0xffffffff {
		w.skip(int(n))
	}
}

// list passes an array.
func (w *walker) list(each func()) {
	n := w.uint32()
	if n == 0xffffffff {
		return
	}
	for range n {
		if w.err != nil {
			return
		}
		if len(w.b) == 0 {
			w.skip(1) // each element has a byte at least
			return
		}
		each()
	}
}

// nodeID passes a node id, of an expanded one too, and returns the number of one in
// namespace 0.
func (w *walker) nodeID() (n uint32) {
	w.cost(costName)
	mask := w.byte()
	switch ua.NodeIDType(mask & 0x3f) {
	case ua.NodeIDTypeTwoByte:
		n = uint32(w.byte())
	case ua.NodeIDTypeFourByte:
		ns := w.byte()
		n = uint32(w.byte())
		n |= uint32(w.byte()) << 8
		if ns != 0 {
			n = 0
		}
	case ua.NodeIDTypeNumeric:
		if w.skip(2); len(w.b) >= 4 {
			n = binary.LittleEndian.Uint32(w.b)
		}
		w.skip(4)
	case ua.NodeIDTypeGUID:
		w.skip(2 + 16)
	default:
		w.skip(2)
		w.bytes()
	}
	if mask&0x80 != 0 {
		w.bytes()
	}
	if mask&0x40 != 0 {
		w.skip(4)
	}
	return n
}

func (w *walker) qualifiedName() {
	w.skip(2)
	w.bytes()
}

func (w *walker) localizedText() {
	w.cost(costName)
	mask := w.byte()
	for bit := byte(1); bit <= 2; bit <<= 1 {
		if mask&bit != 0 {
			w.bytes()
		}
	}
}

// deep refuses what is nested too deep.
func (w *walker) deep(depth int) bool {
	if depth > maxNested && w.err == nil {
		w.err, w.b = errNested, nil
	}
	return w.err != nil
}

func (w *walker) diagnostic(depth int) {
	if w.deep(depth) {
		return
	}
	w.cost(costName)
	mask := w.byte()
	for bit := byte(1); bit <= 8; bit <<= 1 {
		if mask&bit != 0 {
			w.skip(4)
		}
	}
	if mask&0x10 != 0 {
		w.bytes()
	}
	if mask&0x20 != 0 {
		w.skip(4)
	}
	if mask&0x40 != 0 {
		w.diagnostic(depth + 1)
	}
}

// structure passes an extension object that is a value, and notes where it is.
func (w *walker) structure(depth int) {
	if w.deep(depth) {
		return
	}
	w.cost(costName)
	s := spot{from: w.at(), outer: w.outer}
	w.nodeID()
	s.body = w.at()
	kind := w.byte()
	if kind == ua.ExtensionObjectEmpty {
		return
	}
	w.bytes()
	if s.end = w.at(); w.err == nil && s.end > s.body+1+4 && kind == ua.ExtensionObjectBinary {
		w.spots = append(w.spots, s)
	}
}

// extension passes an extension object. The values of a notification and of a history
// are walked through; other bodies must be short, because nobody looks at them before the
// library does.
func (w *walker) extension(depth int) {
	if w.deep(depth) {
		return
	}
	kind := w.nodeID()
	if w.byte() == 0 {
		return
	}
	n := w.uint32()
	if n == 0xffffffff {
		return
	}
	if (kind == encDataChange || kind == encHistoryData) && int(n) <= len(w.b) {
		body := &walker{b: w.b[:n], end: w.at() + int(n), outer: w.at() - 4, spots: w.spots, room: w.room}
		body.list(func() {
			if kind == encDataChange {
				body.skip(4)
			}
			body.dataValue(depth + 1)
		})
		if kind == encDataChange {
			body.list(func() { body.diagnostic(depth + 1) })
		}
		w.spots, w.room = body.spots, body.room
		if w.err = body.err; w.err != nil {
			w.b = nil
		}
	} else if n > shallow && w.err == nil {
		w.err, w.b = fmt.Errorf("the server's answer has a structure of %d bytes", n), nil
	}
	w.skip(int(n))
}

func (w *walker) notification() {
	w.skip(4 + 8)
	w.list(func() { w.extension(0) })
}

func (w *walker) browseResult() {
	w.skip(4)
	w.bytes()
	w.list(func() {
		w.cost(costReference)
		w.nodeID()
		w.skip(1)
		w.nodeID()
		w.qualifiedName()
		w.localizedText()
		w.skip(4)
		w.nodeID()
	})
}

func (w *walker) dataValue(depth int) {
	if w.deep(depth) {
		return
	}
	w.cost(costDataValue)
	mask := w.byte()
	if mask&1 != 0 {
		w.variant(depth + 1)
	}
	for i, n := range [...]int{4, 8, 8, 2, 2} { // status, times
		if mask>>(i+1)&1 != 0 {
			w.skip(n)
		}
	}
}

func (w *walker) variant(depth int) {
	if w.deep(depth) {
		return
	}
	w.cost(costName)
	mask := w.byte()
	if mask&0x3f == 0 {
		return // the library ends here, whatever the other bits say
	}
	if mask&0x80 != 0 {
		w.list(func() { w.scalar(ua.TypeID(mask&0x3f), depth) })
	} else {
		w.scalar(ua.TypeID(mask&0x3f), depth)
	}
	if mask&0x40 != 0 {
		w.list(func() { w.skip(4) })
	}
}

func (w *walker) scalar(t ua.TypeID, depth int) {
	switch t {
	case ua.TypeIDNull:
	case ua.TypeIDBoolean, ua.TypeIDSByte, ua.TypeIDByte:
		w.skip(1)
	case ua.TypeIDInt16, ua.TypeIDUint16:
		w.skip(2)
	case ua.TypeIDInt32, ua.TypeIDUint32, ua.TypeIDFloat, ua.TypeIDStatusCode:
		w.skip(4)
	case ua.TypeIDInt64, ua.TypeIDUint64, ua.TypeIDDouble, ua.TypeIDDateTime:
		w.skip(8)
	case ua.TypeIDGUID:
		w.skip(16)
	case ua.TypeIDString, ua.TypeIDByteString, ua.TypeIDXMLElement:
		w.bytes()
	case ua.TypeIDNodeID, ua.TypeIDExpandedNodeID:
		w.nodeID()
	case ua.TypeIDQualifiedName:
		w.qualifiedName()
	case ua.TypeIDLocalizedText:
		w.localizedText()
	case ua.TypeIDExtensionObject:
		w.structure(depth + 1)
	case ua.TypeIDDataValue:
		w.dataValue(depth + 1)
	case ua.TypeIDVariant:
		w.variant(depth + 1)
	case ua.TypeIDDiagnosticInfo:
		w.diagnostic(depth + 1)
	default:
		if w.err == nil {
			w.err, w.b = fmt.Errorf("the server sends a value of the unknown type %d", t), nil
		}
	}
}
