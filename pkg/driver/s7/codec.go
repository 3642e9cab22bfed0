package s7

import (
	"encoding/binary"
	"fmt"
)

// A message is an S7 PDU in a data TPDU of COTP (ISO 8073, class 0) in a packet of TPKT
// (RFC 1006). A PDU that is larger than a TPDU comes in several.
const (
	tpktHead = 4 // version 3, reserved, length of the packet
	dataHead = 3 // length of the header, code, end of message
	wireHead = tpktHead + dataHead

	jobHead = 10 // S7: protocol, kind, reserved, reference, length of parameters and of data
	ackHead = 12 // the same, and an error's class and code

	// mostPacket is the largest packet that is taken: no PLC sends more than a PDU.
	mostPacket = 8192
)

// Kinds of TPDUs.
const (
	tpduConnect    = 0xE0
	tpduConfirm    = 0xD0
	tpduDisconnect = 0x80
	tpduData       = 0xF0
	tpduError      = 0x70

	endOfMessage = 0x80
)

// Kinds of PDUs.
const (
	pduProtocol = 0x32

	pduJob      = 1
	pduAck      = 2 // an answer without data
	pduAckData  = 3
	pduUserData = 7
)

// Functions.
const (
	fnSetup = 0xF0
	fnRead  = 0x04
	fnWrite = 0x05
)

// Rejection is the error of an answer that the driver does not believe: it is not what was
// asked for, or it breaks the protocol. The driver closes the connection then, because it
// can't believe the next answer either.
type Rejection struct {
	Reason string // label of the metric: packet, tpdu, header, reference, items, length, data
	Text   string // for people
}

// Error implements error.
func (r *Rejection) Error() string { return "answer not believed: " + r.Text }

func rejectf(reason, format string, args ...any) error {
	return &Rejection{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// scanPacket returns the length of the packet that buf begins with, 0 if it isn't whole
// yet.
func scanPacket(buf []byte) (int, error) {
	if len(buf) < tpktHead {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(buf[2:]))
	switch {
	case buf[0] != 3:
		return 0, rejectf("packet", "a packet begins with % X, expected 03", buf[0])
	case n < wireHead || n > mostPacket:
		return 0, rejectf("packet", "a packet says that it has %d bytes, expected %d to %d", n, wireHead, mostPacket)
	case n > len(buf):
		return 0, nil
	}
	return n, nil
}

// tpdu is a unit of COTP, where it lies.
type tpdu struct {
	code byte
	last bool   // of a data TPDU: the message ends with it
	head []byte // what stands behind the code
	data []byte
}

// parseTPDU reads what is in a packet, which is whole.
func parseTPDU(packet []byte) (t tpdu, err error) {
	body := packet[tpktHead:]
	n := int(body[0]) // of the header, without this byte
	if n < 2 || n > len(body)-1 {
		return t, rejectf("tpdu", "a TPDU's header has %d bytes, the packet %d", n, len(packet))
	}
	t.code, t.head, t.data = body[1]&0xF0, body[2:n+1], body[n+1:]
	if t.code != tpduData {
		return t, nil
	}
	if n != dataHead-1 {
		return t, rejectf("tpdu", "a data TPDU's header has %d bytes, expected %d", n, dataHead-1)
	}
	t.last = t.head[0]&endOfMessage != 0
	return t, nil
}

// message is an S7 PDU that came, where it lies.
type message struct {
	kind        byte
	ref         uint16
	class, code byte // of an error; 0, 0: there is none
	params      []byte
	data        []byte
}

// parseMessage reads a PDU, of which nothing is missing and nothing is left.
func parseMessage(pdu []byte) (m message, err error) {
	if len(pdu) < jobHead || pdu[0] != pduProtocol {
		return m, rejectf("header", "a PDU begins with % X, expected 32 and %d bytes at least", pdu[:min(len(pdu), 4)], jobHead)
	}
	m.kind, m.ref = pdu[1], binary.BigEndian.Uint16(pdu[4:])
	head := jobHead
	switch m.kind {
	case pduAck, pduAckData:
		if head = ackHead; len(pdu) < head {
			return m, rejectf("header", "an answer has %d bytes, expected %d at least", len(pdu), head)
		}
		m.class, m.code = pdu[10], pdu[11]
	case pduUserData:
	default:
		return m, rejectf("header", "a PDU of kind %d came, expected an answer", m.kind)
	}
	params, data := int(binary.BigEndian.Uint16(pdu[6:])), int(binary.BigEndian.Uint16(pdu[8:]))
	if head+params+data != len(pdu) {
		return m, rejectf("length", "an answer has %d bytes and says that it has %d", len(pdu), head+params+data)
	}
	m.params, m.data = pdu[head:head+params], pdu[head+params:]
	return m, nil
}

// appendMessage appends a whole packet with a PDU of that kind.
func appendMessage(b []byte, kind byte, ref uint16, params, data []byte) []byte {
	n := wireHead + jobHead + len(params) + len(data)
	b = append(b, 3, 0, byte(n>>8), byte(n), dataHead-1, tpduData, endOfMessage, pduProtocol, kind, 0, 0, byte(ref>>8), byte(ref),
		byte(len(params)>>8), byte(len(params)), byte(len(data)>>8), byte(len(data)))
	return append(append(b, params...), data...)
}

// refAt is where a packet of ours has its reference.
const refAt = wireHead + 4

// setRef gives a packet another reference.
func setRef(packet []byte, ref uint16) { binary.BigEndian.PutUint16(packet[refAt:], ref) }

// connectRequest asks for a connection of the transport between two TSAPs.
func connectRequest(local, remote TSAP) []byte {
	const tpduSize = 10 // 1,024 bytes, by its power of two
	body := []byte{17, tpduConnect, 0, 0, 0, ourRef, 0,
		0xC0, 1, tpduSize, 0xC1, 2, byte(local >> 8), byte(local), 0xC2, 2, byte(remote >> 8), byte(remote)}
	return append([]byte{3, 0, 0, byte(tpktHead + len(body))}, body...)
}

// ourRef names our end of the transport connection. There is one on each TCP
// connection.
const ourRef = 1

// checkConfirm reads the answer to a connectRequest.
func checkConfirm(t tpdu) error {
	switch {
	case t.code == tpduDisconnect:
		return errRefusedTSAP
	case t.code != tpduConfirm || len(t.head) < 5:
		return rejectf("tpdu", "TPDU %02X came, expected the confirmation of the connection", t.code)
	case binary.BigEndian.Uint16(t.head) != ourRef:
		return rejectf("tpdu", "the connection's confirmation is for %d, expected %d", binary.BigEndian.Uint16(t.head), ourRef)
	}
	return nil
}

// setupParams asks for a size of PDUs and a number of parallel jobs.
func setupParams(pdu, jobs int) []byte {
	return []byte{fnSetup, 0, byte(jobs >> 8), byte(jobs), byte(jobs >> 8), byte(jobs), byte(pdu >> 8), byte(pdu)}
}

// leastPDU is the smallest PDU that is of use.
const leastPDU = 64

// parseSetup reads the answer to setupParams.
func parseSetup(m message, pdu, jobs int) (gotPDU, gotJobs int, err error) {
	if err := m.refusal(); err != nil {
		return 0, 0, err
	}
	if len(m.params) != 8 || m.params[0] != fnSetup || len(m.data) != 0 {
		return 0, 0, rejectf("items", "parameters % X came, expected a size of PDUs", m.params)
	}
	gotJobs, gotPDU = int(binary.BigEndian.Uint16(m.params[2:])), int(binary.BigEndian.Uint16(m.params[6:]))
	if gotPDU < leastPDU {
		return 0, 0, rejectf("items", "the PLC takes PDUs of %d bytes, expected %d at least", gotPDU, leastPDU)
	}
	return min(gotPDU, pdu), max(1, min(gotJobs, jobs)), nil
}

// Sizes of an item in requests and answers.
const (
	itemBytes   = 12 // in a request
	answerBytes = 4  // before the data of an item in an answer
)

// Types of items in a request.
const (
	itemBit     = 0x01
	itemByte    = 0x02
	itemCounter = 0x1C
	itemTimer   = 0x1D
)

// appendItem appends what asks for n bytes of an area from start on; of a bit n is 0.
func appendItem(b []byte, p Place, bit bool) []byte {
	typ, count, addr := byte(itemByte), p.Size, p.Start*8
	switch {
	case bit:
		typ, count, addr = itemBit, 1, p.Start*8+uint32(p.Bit)
	case p.Area.numbered():
		typ, count, addr = byte(p.Area), p.Size/2, p.Start // an area of numbers has its own number as type
	}
	return append(b, 0x12, 10, 0x10, typ, byte(count>>8), byte(count), byte(p.DB>>8), byte(p.DB), byte(p.Area), byte(addr>>16), byte(addr>>8), byte(addr))
}

// readParams asks for places.
func readParams(places []Place) []byte {
	b := append(make([]byte, 0, 2+itemBytes*len(places)), fnRead, byte(len(places)))
	for _, p := range places {
		b = appendItem(b, p, false)
	}
	return b
}

// Codes of an item in an answer.
const codeGood = 0xFF

// Types of data in an answer: how its length is counted.
const (
	dataBit    = 3
	dataByte   = 4
	dataInt    = 5
	dataDint   = 6
	dataReal   = 7
	dataOctets = 9
)

// answerItems walks the items of an answer to a read.
type answerItems struct {
	rest []byte
	left int
}

// readAnswer begins with the items of m, which answers a read of n items.
func readAnswer(m message, n int) (answerItems, error) {
	if len(m.params) != 2 || m.params[0] != fnRead || int(m.params[1]) != n {
		return answerItems{}, rejectf("items", "parameters % X came, expected %d values", m.params[:min(len(m.params), 8)], n)
	}
	return answerItems{m.data, n}, nil
}

// next returns the data of the next item, want bytes, where they lie; or the code with
// which the PLC refuses it.
func (a *answerItems) next(want int) (data []byte, code byte, err error) {
	a.left--
	if len(a.rest) < answerBytes {
		return nil, 0, rejectf("length", "an answer ends within an item")
	}
	code, n := a.rest[0], int(binary.BigEndian.Uint16(a.rest[2:]))
	if code == 0 {
		return nil, 0, rejectf("data", "an item has the code 0, which means nothing")
	}
	if code != codeGood { // whatever it says of a length: there is no data, or something is left at the end
		a.rest = a.rest[answerBytes:]
		return nil, code, a.end()
	}
	switch typ := a.rest[1]; typ {
	case dataBit, dataByte, dataInt: // counted in bits
		if n%8 != 0 && typ != dataBit {
			return nil, 0, rejectf("data", "an item has %d bits, which are no bytes", n)
		}
		n = (n + 7) / 8
	case dataDint, dataReal, dataOctets:
	default:
		return nil, 0, rejectf("data", "an item has data of type %d", typ)
	}
	if n != want || n > len(a.rest)-answerBytes {
		return nil, 0, rejectf("length", "an item has %d bytes, %d came, expected %d", n, len(a.rest)-answerBytes, want)
	}
	data, a.rest = a.rest[answerBytes:answerBytes+n], a.rest[answerBytes+n:]
	if n%2 != 0 && len(a.rest) > 0 {
		a.rest = a.rest[1:] // what fills it up
	}
	return data, codeGood, a.end()
}

// end makes sure that nothing is left behind the last item.
func (a *answerItems) end() error {
	if a.left == 0 && len(a.rest) > 0 {
		return rejectf("length", "%d bytes are left behind the last item", len(a.rest))
	}
	return nil
}

// writeBody asks for data to be written to a place.
func writeBody(p Place, data []byte) (params, body []byte) {
	bit := p.Bit >= 0
	params = appendItem([]byte{fnWrite, 1}, p, bit)
	typ, n := byte(dataByte), 8*len(data)
	switch {
	case bit:
		typ, n = dataBit, 1
	case p.Area.numbered():
		typ, n = dataOctets, len(data)
	}
	return params, append([]byte{0, typ, byte(n >> 8), byte(n)}, data...)
}

// checkWrite reads the answer to a write.
func checkWrite(m message) error {
	if err := m.refusal(); err != nil {
		return err
	}
	if len(m.params) != 2 || m.params[0] != fnWrite || m.params[1] != 1 || len(m.data) != 1 {
		return rejectf("items", "parameters % X and %d bytes came, expected the result of a write", m.params[:min(len(m.params), 8)], len(m.data))
	}
	if m.data[0] != codeGood {
		return &Refusal{Code: m.data[0]}
	}
	return nil
}
