package modbus

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
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
	sent, err := l.packager.Decode(request)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	pdu, err := l.exchange(request, append([]byte{sent.FunctionCode}, sent.Data...))
	l.metrics.answered(Func(sent.FunctionCode), err)
	l.rest()
	switch {
	case err != nil:
		return nil, err
	case l.settings.broadcast():
		time.Sleep(time.Until(start.Add(turnaround)))
		return l.packager.Encode(&gomodbus.ProtocolDataUnit{FunctionCode: sent.FunctionCode, Data: echo(sent)})
	}
	answer, err := l.packager.Encode(&gomodbus.ProtocolDataUnit{FunctionCode: pdu[0], Data: pdu[1:]})
	if err == nil && l.settings.Framing == FramingTCP {
		copy(answer, request[:2]) // goburrow compares them
	}
	return answer, err
}

// exchange sends one request and returns the PDU of its answer, which is no
// exception.
func (l *link) exchange(request, sent []byte) (pdu []byte, err error) {
	if l.ordered() {
		pdu, err = l.exchangeOrdered(request, sent)
	} else {
		pdu, err = l.exchangeTCP(request, Func(sent[0]))
	}
	if err == nil && !l.settings.broadcast() {
		err = checkFunc(pdu, Func(sent[0]))
	}
	return pdu, err
}

// exchangeTCP is exchange by transaction id.
func (l *link) exchangeTCP(request []byte, sent Func) ([]byte, error) {
	if err := l.pace(); err != nil {
		return nil, err
	}
	l.tx++
	binary.BigEndian.PutUint16(request, l.tx)
	now := time.Now()
	l.timed(l.tx, now)
	deadline, err := l.mayWrite(now, l.answerTime(sent))
	if err != nil {
		return nil, err
	}
	l.quiet = true
	if err := l.write(request); err != nil || l.settings.broadcast() {
		return nil, err
	}
	if l.settings.held {
		deadline = time.Now().Add(l.answerTime(sent))
	}
	for {
		adu, err := l.receive(deadline)
		if err != nil {
			if isTimeout(err) {
				l.timedOut()
			}
			return nil, l.withStrays(err)
		}
		if binary.BigEndian.Uint16(adu) == l.tx {
			return l.unpack(adu)
		}
		l.stray(binary.BigEndian.Uint16(adu))
	}
}

// exchangeOrdered is exchange where the line's ledger tells whose the answer is.
// An error that wraps errNotSent is from before the request was sent.
func (l *link) exchangeOrdered(request, sent []byte) ([]byte, error) {
	s, at := l.settings.expected(sent)
	if !l.settings.broadcast() {
		if err := l.prove(s, at); err != nil {
			return nil, err
		}
	}
	t, deadline, err := l.send(request, s, at)
	if err != nil || l.settings.broadcast() {
		return nil, err
	}
	return l.answerTo(&t, request, deadline)
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
	if want := l.settings.answerBytes(f, addr, count); len(data) != want {
		l.metrics.reject("length")
		return nil, rejectf("length", "answer to function %s has %d bytes of data, expected %d%s", f, len(data), want, lengthHint(f, len(data), len(data), want))
	}
	if f.bits() {
		data = data[:f.dataBytes(count)] // without what fills it up
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
