package s7

import (
	"bytes"
	"errors"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// FuzzAnswer: whatever comes, nothing panics, what is believed has the lengths that were
// asked for, and every byte of it is accounted for.
func FuzzAnswer(f *testing.F) {
	good := appendMessage(nil, pduJob, 1, []byte{fnRead, 2}, []byte{0xFF, dataByte, 0, 16, 1, 2, 0xFF, dataByte, 0, 8, 3})
	good = append(good[:wireHead+jobHead:wireHead+jobHead], append([]byte{0, 0}, good[wireHead+jobHead:]...)...)
	good[3], good[8] = byte(len(good)), pduAckData
	f.Add(good)
	f.Add([]byte{3, 0, 0, 7, 2, 0xF0, 0x80})
	f.Add([]byte{3, 0, 0, 11, 6, 0xD0, 0, 1, 0, 7, 0})
	f.Fuzz(func(t *testing.T, wire []byte) {
		n, err := scanPacket(wire)
		if err != nil || n == 0 {
			return
		}
		if n > len(wire) || n < wireHead {
			t.Fatalf("a packet of %d bytes in %d", n, len(wire))
		}
		tp, err := parseTPDU(wire[:n])
		if err != nil {
			return
		}
		_ = checkConfirm(tp)
		m, err := parseMessage(tp.data)
		if err != nil {
			return
		}
		if _, jobs, err := parseSetup(m, 960, 8); err == nil && (jobs < 1 || jobs > 8) {
			t.Errorf("%d jobs", jobs)
		}
		_ = checkWrite(m)
		if part, _, _, err := userPart(m, groupSZL, szlRead); err == nil && len(part) != len(m.data)-answerBytes {
			t.Errorf("a part of a list has %d bytes of %d", len(part), len(m.data))
		}
		_, _ = parseCounts(m.data)
		_, _ = parseNumbers(m.data, 3)
		_, _ = parseBlock(m.data, BlockName{'A', 1})
		items, err := readAnswer(m, 2)
		if err != nil {
			return
		}
		total := 0
		for _, want := range []int{2, 1} {
			data, code, err := items.next(want)
			if err != nil {
				return
			}
			if code == codeGood && len(data) != want {
				t.Errorf("%d bytes, asked for %d", len(data), want)
			}
			total += answerBytes + len(data)
		}
		if left := len(m.data) - total; left < 0 || left > 2 {
			t.Errorf("%d bytes are left", left)
		}
	})
}

// FuzzRequest: what is asked for is read back from the request as it was meant.
func FuzzRequest(f *testing.F) {
	f.Add(byte(0x84), uint16(1), uint32(4), uint16(4), int8(-1))
	f.Add(byte(0x1D), uint16(0), uint32(5), uint16(2), int8(-1))
	f.Fuzz(func(t *testing.T, area byte, db uint16, start uint32, size uint16, bit int8) {
		p := Place{Area: Area(area), DB: db, Start: start & mostStart, Size: int(size), Bit: bit}
		if p.Bit < 0 || p.Bit > 7 {
			p.Bit = -1
		}
		wire := appendMessage(nil, pduJob, 7, readParams([]Place{p}), nil)
		n, err := scanPacket(wire)
		if err != nil || n != len(wire) {
			t.Fatalf("% X: %d, %v", wire, n, err)
		}
		item := wire[wireHead+jobHead+2:]
		addr := uint32(item[9])<<16 | uint32(item[10])<<8 | uint32(item[11])
		if p.Area.numbered() {
			addr *= 8
		}
		if got := addr / 8; got != p.Start && !p.Area.numbered() || item[8] != area || uint16(item[6])<<8|uint16(item[7]) != db {
			t.Errorf("%+v is asked for as % X", p, item)
		}
		if params, body := writeBody(p, []byte{1}); len(params) != 2+itemBytes || !bytes.HasSuffix(body, []byte{1}) {
			t.Errorf("%+v is written as % X, % X", p, params, body)
		}
	})
}

// FuzzAddress: whatever a person writes, it is an address that is written back as one
// and the same, or an error of a field.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"", "DB1.DBD4", "M0.1", "T5", "DB1.STRING20.32", "%DB1.DBX0.7", "EW4", "DB1.DBD4[10]", "M0.3[20]"} {
		f.Add(s)
	}
	types := []config.DataType{config.TypeBool, config.TypeUint8, config.TypeInt16, config.TypeFloat32, config.TypeString, config.TypeBinary}
	f.Fuzz(func(t *testing.T, text string) {
		for _, dt := range types {
			v := at(text, dt)
			p, _, err := Resolve(&v)
			if err != nil {
				if field, ok := errors.AsType[*config.FieldError](err); !ok || len(field.Path) == 0 {
					t.Errorf("%q: %v has no field", text, err)
				}
				continue
			}
			if p.Size < 1 || p.end()-1 > mostStart {
				t.Errorf("%q is %+v", text, p.Place)
			}
			if _, q := p.decode(make([]byte, p.Size)); q > frame.Bad {
				t.Errorf("%q: quality %v", text, q)
			}
			if dt == config.TypeString || dt == config.TypeBinary {
				continue
			}
			again := at(p.String(), dt)
			if back, _, err := Resolve(&again); err != nil || back.Place != p.Place {
				t.Errorf("%q is %s, which is %+v, %v", text, p, back.Place, err)
			}
		}
	})
}
