package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// ErrVerify means that the device took a write and holds another value.
var ErrVerify = errors.New("the device holds another value than was written")

// Write implements driver.Driver.
func (d *modbusDriver) Write(ctx context.Context, w driver.Write) (driver.WriteResult, error) {
	op, err := d.newWrite(w)
	if err != nil {
		return driver.WriteResult{}, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	if err := d.submit(ctx, op.do); err != nil {
		return driver.WriteResult{}, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	return op.result(), nil
}

// writeOp writes one point.
type writeOp struct {
	d     *modbusDriver
	table *point.Table
	pt    Point
	want  []byte // registers, or packed bits; of a bit of a register: one byte, 0 or 1

	sent bool   // at least once, with unknown outcome
	got  []byte // what the device holds afterwards; nil if not read back
	at   time.Time
}

// newWrite checks all that can be checked without the device.
func (d *modbusDriver) newWrite(w driver.Write) (*writeOp, error) {
	if !d.settings.EnableWrite {
		return nil, fmt.Errorf("%w: driver %s has writing switched off (cfg.enable_write)", driver.ErrAccess, d.id)
	}
	p := d.newest()
	i, ok := p.table.Index(w.Tag)
	if !ok {
		return nil, driver.ErrUnknownTag
	}
	if v := p.table.Variable(i); !v.Access.Writable() {
		return nil, fmt.Errorf("%w: the variable has access %s", driver.ErrAccess, v.Access)
	}
	raw, err := p.table.Invert(i, w.Value)
	if err != nil {
		return nil, err
	}
	op := &writeOp{d: d, table: p.table, pt: p.points[i]}
	if op.pt.Bit >= 0 {
		bit, err := op.pt.encodeNumber(raw)
		op.want = []byte{byte(bit)}
		return op, err
	}
	op.want, err = op.pt.encode(raw)
	return op, err
}

// do implements the job. It is called again when a connection was lost, and then
// looks first whether the write has happened.
func (op *writeOp) do(l *link) error {
	if op.sent && !l.settings.broadcast() {
		switch done, err := op.landed(l); {
		case err != nil && !intact(err):
			return err
		case err != nil:
			return fmt.Errorf("the answer was lost, and the device does not let the value be read back; "+
				"whether it was written is not known: %w", err)
		case done:
			return nil
		}
	}
	op.sent, op.got = true, nil
	if err := op.send(l); err != nil {
		return err
	}
	op.at = time.Now()
	if !l.settings.VerifyWrite || l.settings.broadcast() {
		return nil
	}
	return op.verify(l)
}

// landed reports whether the device holds the value.
func (op *writeOp) landed(l *link) (bool, error) {
	if err := op.readBack(l); err != nil {
		return false, err
	}
	op.at = time.Now()
	return bytes.Equal(op.got, op.want), nil
}

// verify compares what the device holds with what was written.
func (op *writeOp) verify(l *link) error {
	if op.got == nil {
		err := op.readBack(l)
		if _, refused := errors.AsType[*Exception](err); refused && !op.table.Variable(op.pt.index).Access.Readable() {
			return nil // write-only, as the table says
		}
		if err != nil {
			return fmt.Errorf("read back: %w", err)
		}
	}
	if bytes.Equal(op.got, op.want) {
		return nil
	}
	return fmt.Errorf("%w: wrote %s, read back %s (bytes % X and % X)",
		ErrVerify, op.engineering(op.want), op.engineering(op.got), op.want, op.got)
}

// readBack reads what the device holds into op.got, in the form of op.want.
func (op *writeOp) readBack(l *link) error {
	data, err := l.read(op.pt.Func, op.pt.Addr, op.pt.Count)
	if err != nil {
		return err
	}
	op.got = op.normal(data)
	return nil
}

// normal brings an answer's data into the form of op.want: bits beyond the last
// coil cleared, one bit of a register alone.
func (op *writeOp) normal(data []byte) []byte {
	if op.pt.Bit >= 0 {
		word := op.pt.Order.uint16(data)
		return []byte{byte(word >> op.pt.Bit & 1)}
	}
	if last := op.pt.Count & 7; op.pt.Func.bits() && last != 0 {
		data[len(data)-1] &= 1<<last - 1
	}
	return data
}

// send writes with the function that suits the point and the settings.
func (op *writeOp) send(l *link) error {
	c, pt, how := l.client(), &op.pt, l.settings.WriteFunc
	var err error
	switch {
	case pt.Bit >= 0:
		return op.sendBit(l)
	case pt.Func.bits() && pt.Count == 1 && how != WriteMultiple:
		value := uint16(0)
		if op.want[0] != 0 {
			value = coilOn
		}
		_, err = c.WriteSingleCoil(pt.Addr, value)
	case pt.Func.bits():
		_, err = c.WriteMultipleCoils(pt.Addr, pt.Count, op.want)
	case how == WriteReadWrite && pt.Count <= maxReadWriteWritten && !l.settings.broadcast():
		var data []byte
		data, err = c.ReadWriteMultipleRegisters(pt.Addr, pt.Count, pt.Addr, pt.Count, op.want)
		if err == nil && len(data) != len(op.want) {
			return rejectf("length", "answer to function %s has %d bytes of data, expected %d",
				FuncReadWriteRegisters, len(data), len(op.want))
		}
		op.got = data
	case pt.Count == 1 && how != WriteMultiple:
		_, err = c.WriteSingleRegister(pt.Addr, binary.BigEndian.Uint16(op.want))
	default:
		_, err = c.WriteMultipleRegisters(pt.Addr, pt.Count, op.want)
	}
	return err
}

// sendBit changes one bit of a register: by mask write, which the device does in
// one step; where it does not know that, by reading and writing the register,
// between which the device's own program may change another bit.
func (op *writeOp) sendBit(l *link) error {
	c, mask := l.client(), uint16(1)<<op.pt.Bit
	if op.pt.Order.swapsBytes() {
		mask = mask<<8 | mask>>8
	}
	var set uint16
	if op.want[0] != 0 {
		set = mask
	}
	if !l.noMask {
		_, err := c.MaskWriteRegister(op.pt.Addr, ^mask, set)
		if exceptionCode(err) != IllegalFunction {
			return err
		}
		l.noMask = true
	}
	data, err := l.read(FuncReadHolding, op.pt.Addr, 1)
	if err != nil {
		return err
	}
	_, err = c.WriteSingleRegister(op.pt.Addr, binary.BigEndian.Uint16(data)&^mask|set)
	return err
}

// engineering returns bytes of the form of op.want in engineering units, none if
// they mean nothing.
func (op *writeOp) engineering(data []byte) frame.Value {
	raw := frame.BoolValue(len(data) > 0 && data[0] != 0)
	if op.pt.Bit < 0 {
		raw, _ = op.pt.decode(data)
	}
	v, _ := op.table.Scale(op.pt.index, raw)
	return v
}

func (op *writeOp) result() driver.WriteResult {
	r := driver.WriteResult{TS: op.at.UnixNano()}
	if op.got != nil {
		r.ReadBack = op.engineering(op.got)
	}
	return r
}

// Read implements driver.Driver. Raw is the data of the answer: registers in the
// order of the line, or packed bits.
func (d *modbusDriver) Read(ctx context.Context, tag string) (driver.Reading, error) {
	p := d.newest()
	i, ok := p.table.Index(tag)
	if !ok {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, driver.ErrUnknownTag)
	}
	if v := p.table.Variable(i); !v.Access.Readable() {
		return driver.Reading{}, fmt.Errorf("read %s: %w: the variable has access %s", tag, driver.ErrAccess, v.Access)
	}
	pt := p.points[i]
	var r driver.Reading
	err := d.submit(ctx, func(l *link) error {
		data, err := l.read(pt.Func, pt.Addr, pt.Count)
		if err != nil {
			return err
		}
		raw, quality := pt.decode(data)
		r = driver.Reading{Raw: data, TS: time.Now().UnixNano()}
		if r.Value, r.Quality = p.table.Scale(i, raw); quality > r.Quality {
			r.Quality = quality
		}
		return nil
	})
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	return r, nil
}
