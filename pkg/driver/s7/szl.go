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
	all, err := c.userData(groupSZL, szlRead, []byte{byte(id >> 8), byte(id), byte(index >> 8), byte(index)})
	if err != nil {
		return l, err
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
