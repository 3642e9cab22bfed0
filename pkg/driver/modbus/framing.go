package modbus

import (
	"encoding/binary"
	"fmt"

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

// scanTCP finds the first ADU in buf: its length, 0 if it is not complete yet, or a
// [*Rejection] if buf does not begin with one.
func scanTCP(buf []byte) (int, error) {
	if len(buf) < mbapHeader {
		return 0, nil
	}
	if p := binary.BigEndian.Uint16(buf[2:]); p != 0 {
		return 0, astrayf("protocol", "MBAP header has protocol id %d, expected 0; the peer may not speak Modbus TCP", p)
	}
	n := int(binary.BigEndian.Uint16(buf[4:]))
	if n < 2 || n > 1+maxPDU {
		return 0, astrayf("length", "MBAP header has length %d, expected 2 to %d", n, 1+maxPDU)
	}
	if n += mbapHeader - 1; len(buf) >= n {
		return n, nil
	}
	return 0, nil
}

func astrayf(reason, format string, args ...any) error {
	return &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...), astray: true}
}

// rtuLength derives the length of an RTU answer from its function code: on a stream
// there is no silence to tell the end of a frame. It is 0 while buf is too short to
// say; the error is a [*Rejection] of what begins no answer.
func rtuLength(buf []byte) (int, error) {
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
	return n, nil
}

// crc16 is the checksum of RTU (Modbus over Serial Line V1.02, 6.2.2), four bits at
// a time.
func crc16(b []byte) uint16 {
	table := [16]uint16{
		0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
		0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
	}
	sum := uint16(0xFFFF)
	for _, c := range b {
		sum ^= uint16(c)
		sum = sum>>4 ^ table[sum&15]
		sum = sum>>4 ^ table[sum&15]
	}
	return sum
}
