package s7

import (
	"encoding/binary"
	"fmt"
)

// System status lists (SZL) are what a PLC tells of itself: lists of records, by a
// number and an index. They are read with messages of their own, in parts.

// Lists.
const (
	szlModule     = 0x0011 // identification of the module
	szlNames      = 0x001C // names of the PLC and the module
	szlMemory     = 0x0131 // what communication there is
	szlProtection = 0x0232
	szlState      = 0x0424 // operating state of the CPU
	szlBuffer     = 0x00A0 // diagnostics buffer
)

// mostList is the largest list that is taken.
const (
	mostList  = 64 << 10
	mostParts = 1000
)

// list is a system status list.
type list struct {
	size int // of each record
	data []byte
}

// records calls f with each record.
func (l list) records(f func(record []byte)) {
	for at := 0; at+l.size <= len(l.data); at += l.size {
		f(l.data[at : at+l.size])
	}
}

// readList reads a system status list.
func (c *session) readList(id, index uint16) (l list, err error) {
	params := []byte{0, 1, 0x12, 4, 0x11, 0x44, 1, 0}
	data := []byte{codeGood, dataOctets, 0, 4, byte(id >> 8), byte(id), byte(index >> 8), byte(index)}
	var all []byte
	for parts := 1; ; parts++ {
		m, err := c.ask(pduUserData, params, data)
		if err != nil {
			return l, err
		}
		part, seq, last, err := listPart(m)
		if err != nil {
			return l, c.rejected(err)
		}
		if all = append(all, part...); len(all) > mostList {
			return l, c.rejected(rejectf("length", "list %04X has more than %d bytes", id, mostList))
		}
		if last {
			break
		}
		if parts == mostParts {
			return l, c.rejected(rejectf("length", "list %04X has no end after %d parts", id, parts))
		}
		params = []byte{0, 1, 0x12, 8, 0x12, 0x44, 1, seq, 0, 0, 0, 0}
		data = []byte{0x0A, 0, 0, 0}
	}
	if len(all) < 8 || binary.BigEndian.Uint16(all) != id {
		return l, c.rejected(rejectf("items", "% X came, expected list %04X", all[:min(len(all), 8)], id))
	}
	l = list{int(binary.BigEndian.Uint16(all[4:])), all[8:]}
	if n := int(binary.BigEndian.Uint16(all[6:])); l.size == 0 || l.size*n > len(l.data) {
		return l, c.rejected(rejectf("length", "list %04X has %d bytes and says that it has %d records of %d", id, len(l.data), n, l.size))
	}
	return l, nil
}

// listPart reads one part of a list.
func listPart(m message) (part []byte, seq byte, last bool, err error) {
	p := m.params
	if len(p) != 12 || p[3] != 8 || p[4] != 0x12 || p[5] != 0x84 || p[6] != 1 {
		return nil, 0, false, rejectf("items", "parameters % X came, expected a part of a list", p[:min(len(p), 12)])
	}
	if p[10]|p[11] != 0 {
		return nil, 0, false, &Refusal{Class: p[10], Code: p[11]}
	}
	if len(m.data) < answerBytes {
		return nil, 0, false, rejectf("length", "a part of a list has no data")
	}
	if m.data[0] != codeGood {
		return nil, 0, false, &Refusal{Code: m.data[0]}
	}
	if n := int(binary.BigEndian.Uint16(m.data[2:])); n != len(m.data)-answerBytes {
		return nil, 0, false, rejectf("length", "a part of a list has %d bytes and says that it has %d", len(m.data)-answerBytes, n)
	}
	return m.data[answerBytes:], p[7], p[9] == 0, nil
}

// event says what an entry of the diagnostics buffer is, by the number that its manual
// explains.
func event(record []byte) (text string, ok bool) {
	if len(record) < 20 {
		return "", false
	}
	id := binary.BigEndian.Uint16(record)
	when := "at an unknown time"
	if at, ok := fromDateTime(record[12:20]); ok {
		when = at.Format(formatTime)
	}
	return fmt.Sprintf("%s event 16#%04X%s", when, id, eventWords(id)), id != 0
}

// eventWords explains the events that are looked for most.
func eventWords(id uint16) string {
	words := map[uint16]string{
		0x4301: "mode transition from STOP to STARTUP", 0x4302: "mode transition from STARTUP to RUN", 0x4303: "STOP by the stop switch",
		0x4304: "STOP by a programming device or SFB 20", 0x4305: "HOLD at a breakpoint", 0x4306: "HOLD left", 0x4307: "memory reset by a programming device",
		0x4308: "memory reset by the switch", 0x4309: "memory reset at power on", 0x430D: "STOP by another CPU", 0x430F: "STOP by SFC 46",
		0x2521: "BCD conversion error", 0x2522: "area length error when reading", 0x2523: "area length error when writing", 0x2524: "area error when reading",
		0x253A: "a data block is not loaded", 0x253C: "a function is not loaded", 0x253E: "a function block is not loaded", 0x3501: "cycle time exceeded",
		0x3842: "module in order", 0x3942: "module fault", 0x2942: "I/O access error when reading", 0x2943: "I/O access error when writing", 0x39B1: "I/O access error when the inputs are updated", 0x39B2: "I/O access error when the outputs are updated",
		0x4562: "STOP by a programming error, the OB is not loaded", 0x4568: "STOP by a cycle time error", 0x494D: "STOP by an I/O error",
	}
	if w, ok := words[id]; ok {
		return " " + w
	}
	return ""
}
