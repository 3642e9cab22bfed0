package modbus

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	gomodbus "github.com/goburrow/modbus"
)

// turnaround is how long a broadcast gives the units to do what they were told
// (Modbus over Serial Line V1.02, 2.4.1: 100 to 200 ms).
const turnaround = 150 * time.Millisecond

// client returns goburrow's client over l: for everything that is asked rarely.
// Nothing may be in flight. Its errors are [*Exception], [*Rejection], the
// connection's, or goburrow's own where an echo differs from what was written.
func (l *link) client() gomodbus.Client { return gomodbus.NewClient2(l.packager, l) }

// Send implements gomodbus.Transporter: one request, one answer, whose length,
// unit, checksum and function have been checked.
func (l *link) Send(request []byte) ([]byte, error) {
	if l.settings.Framing == FramingTCP {
		l.tx++
		binary.BigEndian.PutUint16(request, l.tx) // goburrow verifies against this same slice
	}
	sent, err := l.packager.Decode(request)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	answer, err := l.exchange(request, Func(sent.FunctionCode))
	l.metrics.answered(Func(sent.FunctionCode), err)
	if err == nil && l.settings.broadcast() {
		time.Sleep(time.Until(start.Add(turnaround)))
		return l.packager.Encode(&gomodbus.ProtocolDataUnit{FunctionCode: sent.FunctionCode, Data: echo(sent)})
	}
	return answer, err
}

func (l *link) exchange(request []byte, f Func) ([]byte, error) {
	if err := l.settle(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(l.settings.Timeout)
	if err := l.setDeadline(deadline); err != nil {
		return nil, err
	}
	if err := l.write(request); err != nil || l.settings.broadcast() {
		return nil, err
	}
	for {
		adu, err := l.receive(deadline)
		if err != nil {
			return nil, err
		}
		if l.settings.Framing == FramingTCP && binary.BigEndian.Uint16(adu) != l.tx {
			l.metrics.reject("transaction")
			continue
		}
		pdu, err := l.unpack(adu)
		if err == nil {
			err = checkFunc(pdu, f)
		}
		if err != nil {
			return nil, err
		}
		return slices.Clone(adu), nil
	}
}

// echo is what a unit would answer to a write, had it been addressed alone.
func echo(pdu *gomodbus.ProtocolDataUnit) []byte {
	switch Func(pdu.FunctionCode) {
	case FuncWriteCoils, FuncWriteRegisters:
		return pdu.Data[:4]
	}
	return pdu.Data
}

// transact sends a PDU that goburrow's client has no method for (0x07, 0x08) and
// returns the data of the answer.
func (l *link) transact(f Func, data []byte) ([]byte, error) {
	request, err := l.packager.Encode(&gomodbus.ProtocolDataUnit{FunctionCode: byte(f), Data: data})
	if err != nil {
		return nil, err
	}
	adu, err := l.Send(request)
	if err != nil {
		return nil, err
	}
	answer, err := l.packager.Decode(adu)
	if err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// read reads count items and makes sure that as many came.
func (l *link) read(f Func, addr, count uint16) ([]byte, error) {
	var data []byte
	var err error
	switch c := l.client(); f {
	case FuncReadCoils:
		data, err = c.ReadCoils(addr, count)
	case FuncReadDiscrete:
		data, err = c.ReadDiscreteInputs(addr, count)
	case FuncReadInput:
		data, err = c.ReadInputRegisters(addr, count)
	default:
		data, err = c.ReadHoldingRegisters(addr, count)
	}
	if err != nil {
		return nil, err
	}
	if want := f.dataBytes(count); len(data) != want {
		l.metrics.reject("length")
		return nil, rejectf("length", "answer to function %s has %d bytes of data, expected %d", f, len(data), want)
	}
	return data, nil
}

// intact reports whether the connection can be used on after err: the device
// answered, if only with a refusal.
func intact(err error) bool {
	_, refused := errors.AsType[*Exception](err)
	return err == nil || refused
}

func decodeHex(dst, src []byte) error {
	_, err := hex.Decode(dst, src)
	return err
}
