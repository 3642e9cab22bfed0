package s7

import "encoding/binary"

// Questions about the PLC itself, rather than its memory, are messages of a kind of their
// own, user data: a group, a function in it, and data. The answer may come in parts, each
// of which is asked for.
const (
	groupBlocks = 3
	groupSZL    = 4

	szlRead      = 1
	blocksCount  = 1 // how many there are of each kind
	blocksOfKind = 2
	blocksInfo   = 3

	// mostUserData is the longest answer that is taken, in so many parts.
	mostUserData  = 256 << 10
	mostUserParts = 1000
)

// userData asks one question and returns all of its answer. data may be empty.
func (c *session) userData(group, function byte, data []byte) (all []byte, err error) {
	request := group | 4<<4
	params := []byte{0, 1, 0x12, 4, 0x11, request, function, 0}
	body := []byte{0x0A, 0, 0, 0} // no data
	if len(data) > 0 {
		body = append([]byte{codeGood, dataOctets, byte(len(data) >> 8), byte(len(data))}, data...)
	}
	for parts := 1; ; parts++ {
		m, err := c.ask(pduUserData, params, body)
		if err != nil {
			return nil, err
		}
		part, seq, last, err := userPart(m, group, function)
		if err != nil {
			return nil, c.rejected(err)
		}
		if all = append(all, part...); len(all) > mostUserData {
			return nil, c.rejected(rejectf("length", "an answer of the PLC about itself has more than %d bytes", mostUserData))
		}
		if last {
			return all, nil
		}
		if parts == mostUserParts {
			return nil, c.rejected(rejectf("length", "an answer of the PLC about itself has no end after %d parts", parts))
		}
		params = []byte{0, 1, 0x12, 8, 0x12, request, function, seq, 0, 0, 0, 0}
		body = []byte{0x0A, 0, 0, 0}
	}
}

// userPart reads one part of an answer.
func userPart(m message, group, function byte) (part []byte, seq byte, last bool, err error) {
	p := m.params
	if len(p) != 12 || p[3] != 8 || p[4] != 0x12 || p[5] != group|8<<4 || p[6] != function {
		return nil, 0, false, rejectf("items", "parameters % X came, expected an answer of group %d, function %d", p[:min(len(p), 12)], group, function)
	}
	if p[10]|p[11] != 0 {
		return nil, 0, false, &Refusal{Class: p[10], Code: p[11]}
	}
	if len(m.data) < answerBytes {
		return nil, 0, false, rejectf("length", "an answer of the PLC about itself has no data")
	}
	if m.data[0] != codeGood {
		return nil, 0, false, &Refusal{Code: m.data[0]}
	}
	if n := int(binary.BigEndian.Uint16(m.data[2:])); n != len(m.data)-answerBytes {
		return nil, 0, false, rejectf("length", "an answer of the PLC about itself has %d bytes and says that it has %d", len(m.data)-answerBytes, n)
	}
	return m.data[answerBytes:], p[7], p[9] == 0, nil
}
