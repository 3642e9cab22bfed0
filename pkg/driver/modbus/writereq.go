package modbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// request builds what is sent for op: a function and its data. For a part of a register of a
// device without function 0x16 it reads the register first.
func (op *writeOp) request(l *link) (Func, []byte, error) {
	pt, how := &op.pt, l.settings.WriteFunc
	switch {
	case pt.mask() != 0:
		return op.partRequest(l)
	case pt.Func.bits() && pt.Count == 1 && how != WriteMultiple:
		value := uint16(0)
		if op.want[0] != 0 {
			value = coilOn
		}
		return FuncWriteCoil, words(pt.Addr, value), nil
	case pt.Func.bits():
		return FuncWriteCoils, counted(words(pt.Addr, pt.Count), op.want), nil
	case pt.wide():
		return FuncWriteRegisters, counted(words(pt.Addr, pt.Count), op.want), nil // 0x06 would have to be of four bytes, which few know
	case how == WriteReadWrite && pt.Count <= maxReadWriteWritten && !l.settings.broadcast():
		return FuncReadWriteRegisters, counted(words(pt.Addr, pt.Count, pt.Addr, pt.Count), op.want), nil
	}
	return writeRegisters(how, pt.Addr, op.want)
}

// writeRegisters is the request that writes data from addr on.
func writeRegisters(how WriteFunc, addr uint16, data []byte) (Func, []byte, error) {
	if len(data) == 2 && how != WriteMultiple {
		return FuncWriteRegister, append(words(addr), data...), nil
	}
	return FuncWriteRegisters, counted(words(addr, uint16(len(data)/2)), data), nil
}

// mask is the part of its register that p is, a bit or a half; 0 if it is more.
func (p *Point) mask() uint16 {
	switch {
	case p.Bit >= 0:
		return 1 << p.Bit
	case p.kind != kindUint8 && p.kind != kindInt8:
		return 0
	case p.hi:
		return 0xFF00
	}
	return 0x00FF
}

// partValue is the value of a part of a register.
func (p *Point) partValue(b byte) frame.Value {
	switch p.kind {
	case kindUint8:
		return frame.IntValue(int64(b))
	case kindInt8:
		return frame.IntValue(int64(int8(b)))
	}
	return frame.BoolValue(b != 0)
}

// partRequest changes a part of a register: by mask write, which the device does
// in one step, or by writing the register as it was read, between which the
// device's own program may change the rest.
func (op *writeOp) partRequest(l *link) (Func, []byte, error) {
	mask := op.pt.mask()
	set := uint16(op.want[0]) << bits.TrailingZeros16(mask)
	if op.pt.Order.swapsBytes() {
		mask, set = bits.ReverseBytes16(mask), bits.ReverseBytes16(set)
	}
	how := l.settings.BitWrite
	if how == BitMask || how == BitAuto && !l.noMask {
		return FuncMaskWriteRegister, words(op.pt.Addr, ^mask, set), nil
	}
	data, err := l.read(FuncReadHolding, op.pt.Addr, 1)
	if err != nil {
		return 0, nil, err
	}
	return writeRegisters(l.settings.WriteFunc, op.pt.Addr, words(binary.BigEndian.Uint16(data)&^mask|set))
}

// words returns the values as they go over the line.
func words(values ...uint16) []byte {
	data := make([]byte, 0, 2*len(values)+1+maxPDU)
	for _, v := range values {
		data = binary.BigEndian.AppendUint16(data, v)
	}
	return data
}

// counted appends data and before it its length.
func counted(head, data []byte) []byte { return append(append(head, byte(len(data))), data...) }

// answered judges the answer to a write, which is no exception and belongs to the
// request. A device that answers so has executed it, whatever it repeats of the
// values: that is noted. One that repeats another address may have answered
// something else.
func (op *writeOp) answered(l *link, fn Func, sent, answer []byte) error {
	want := sent
	switch fn {
	case FuncWriteCoils, FuncWriteRegisters:
		want = sent[:4]
	case FuncReadWriteRegisters:
		if len(answer) == 1+len(op.want) && int(answer[0]) == len(op.want) {
			op.got = op.pt.normal(answer[1:])
			return nil
		}
		l.metrics.reject("length")
		op.warn(fmt.Sprintf("the device answered function %s with % X, not with %d bytes", fn, answer, len(op.want)))
		return nil
	}
	switch {
	case bytes.Equal(answer, want):
		return nil
	case len(answer) < 2 || !bytes.Equal(answer[:2], sent[:2]):
		l.metrics.reject("echo")
		return rejectf("echo", "answer to function %s repeats % X, expected % X", fn, answer, want)
	}
	op.warn(fmt.Sprintf("the device's answer repeats % X, expected % X", answer, want))
	return nil
}

// normal brings an answer's data into the form in which p is written: bits beyond
// the last coil cleared, a part of a register alone.
func (p *Point) normal(data []byte) []byte {
	if mask := p.mask(); mask != 0 {
		return []byte{byte(p.Order.uint16(data) & mask >> bits.TrailingZeros16(mask))}
	}
	if last := p.Count & 7; p.Func.bits() && last != 0 {
		data[len(data)-1] &= 1<<last - 1
	}
	return data
}

// verifyPoint is where a write to pt is read back.
func (s *Settings) verifyPoint(v *config.Variable, pt Point) (Point, error) {
	if v.VerifyAddress == nil {
		return pt, nil
	}
	if !v.Access.Writable() {
		return pt, config.FieldErrorf("verify_address", "nothing is written with access %s; remove it", v.Access)
	}
	there := *v
	there.Address, there.Access, there.VerifyAddress = *v.VerifyAddress, config.AccessR, nil
	p, _, err := s.Resolve(&there)
	var field *config.FieldError
	switch {
	case errors.As(err, &field) && len(field.Path) > 0 && strings.HasPrefix(field.Path[0], "address"):
		return p, config.FieldErrorf("verify_"+strings.Join(field.Path, "."), "%s", field.Msg)
	case err != nil:
		return p, config.FieldErrorf("verify_address", "%v", err)
	case p.writtenBytes() != pt.writtenBytes():
		return p, config.FieldErrorf("verify_address", "%s does not hold as much as %s", &p, &pt)
	}
	p.index = pt.index
	return p, nil
}

// writtenBytes is the length of the form that normal returns.
func (p *Point) writtenBytes() int {
	if p.mask() != 0 {
		return 1
	}
	if p.Func.bits() {
		return p.Func.dataBytes(p.Count)
	}
	return p.size()
}

// transactWithin is transact with another timeout.
func (l *link) transactWithin(d time.Duration, f Func, data []byte) ([]byte, error) {
	l.wait = d
	defer func() { l.wait = 0 }()
	return l.transact(f, data)
}

// answerTime is how long the answer to f may take.
func (l *link) answerTime(f Func) time.Duration {
	if l.wait > 0 && !f.reads() {
		return l.wait
	}
	return l.settings.Timeout
}
