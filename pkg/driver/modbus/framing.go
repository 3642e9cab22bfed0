package modbus

import (
	"bytes"
	"encoding/binary"

	gomodbus "github.com/goburrow/modbus"
)

// Framing is how a PDU is packed for the line.
type Framing string

// The framings.
const (
	FramingTCP   Framing = "tcp"   // MBAP header, no checksum
	FramingRTU   Framing = "rtu"   // binary, CRC-16; on serial lines, and as such over TCP, TLS or UDP
	FramingASCII Framing = "ascii" // hexadecimal, LRC
)

const (
	mbapHeader  = 7 // transaction, protocol, length, unit
	maxTCPADU   = mbapHeader + maxPDU
	maxRTUADU   = 1 + maxPDU + 2
	maxASCIIADU = 513
)

// packager returns goburrow's packing and checking of ADUs for unit.
func (f Framing) packager(unit uint8) gomodbus.Packager {
	switch f {
	case FramingRTU:
		h := gomodbus.NewRTUClientHandler("")
		h.SlaveId = unit
		return h
	case FramingASCII:
		h := gomodbus.NewASCIIClientHandler("")
		h.SlaveId = unit
		return h
	}
	h := gomodbus.NewTCPClientHandler("")
	h.SlaveId = unit
	return h
}

// scan finds the first ADU in buf: its length, 0 if it is not complete yet, or a
// [*Rejection] if buf does not begin with one. It is all that stands between the
// line and goburrow's packagers, which index without looking.
func (f Framing) scan(buf []byte) (int, error) {
	switch f {
	case FramingRTU:
		return scanRTU(buf)
	case FramingASCII:
		return scanASCII(buf)
	}
	return scanTCP(buf)
}

func scanTCP(buf []byte) (int, error) {
	if len(buf) < mbapHeader {
		return 0, nil
	}
	if p := binary.BigEndian.Uint16(buf[2:]); p != 0 {
		return 0, rejectf("protocol", "MBAP header has protocol id %d, expected 0; the peer may not speak Modbus TCP", p)
	}
	n := int(binary.BigEndian.Uint16(buf[4:]))
	if n < 2 || n > 1+maxPDU {
		return 0, rejectf("length", "MBAP header has length %d, expected 2 to %d", n, 1+maxPDU)
	}
	if n += mbapHeader - 1; len(buf) >= n {
		return n, nil
	}
	return 0, nil
}

// scanRTU derives the length from the function code: on a stream there is no
// silence to tell the end of a frame.
func scanRTU(buf []byte) (int, error) {
	if len(buf) < 3 {
		return 0, nil
	}
	n := 0
	switch f := Func(buf[1]); {
	case f&exceptionFlag != 0, f == FuncReadExceptionStatus:
		n = 5
	case f.bits(), f == FuncReadHolding, f == FuncReadInput, f == FuncReadWriteRegisters:
		n = 3 + int(buf[2]) + 2
	case f == FuncWriteCoil, f == FuncWriteRegister, f == FuncWriteCoils, f == FuncWriteRegisters, f == FuncDiagnostics:
		n = 8
	case f == FuncMaskWriteRegister:
		n = 10
	default:
		return 0, rejectf("function", "RTU answer has function %s, which was never asked for", f)
	}
	if n > maxRTUADU {
		return 0, rejectf("length", "RTU answer has byte count %d, expected at most %d", buf[2], maxPDU-2)
	}
	if len(buf) >= n {
		return n, nil
	}
	return 0, nil
}

func scanASCII(buf []byte) (int, error) {
	if len(buf) > 0 && buf[0] != ':' {
		return 0, rejectf("protocol", "ASCII answer begins with byte 0x%02X, expected ':'", buf[0])
	}
	end := bytes.Index(buf, []byte("\r\n"))
	switch {
	case end >= 0 && end < 7:
		return 0, rejectf("length", "ASCII answer has %d characters, expected at least 9", end+2)
	case end >= 0 && end+2 <= maxASCIIADU:
		return end + 2, nil
	case end >= 0 || len(buf) > maxASCIIADU:
		return 0, rejectf("length", "ASCII answer is longer than %d characters", maxASCIIADU)
	}
	return 0, nil
}
