package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// diagnosis is a sub-function of 0x08 (V1.01b3, 6.8), or function 0x07.
type diagnosis struct {
	sub    uint16
	name   string
	status bool // function 0x07
}

func diagnoses() []diagnosis {
	return []diagnosis{
		{sub: 0x00, name: "echo"},
		{sub: 0x02, name: "diagnostic register"},
		{sub: 0x0B, name: "messages on the bus"},
		{sub: 0x0C, name: "messages with a wrong checksum"},
		{sub: 0x0D, name: "exceptions answered"},
		{sub: 0x0E, name: "messages to this unit"},
		{sub: 0x0F, name: "messages not answered"},
		{sub: 0x10, name: "negative acknowledges"},
		{sub: 0x11, name: "busy answers"},
		{sub: 0x12, name: "characters overrun"},
	}
}

// echoPattern is what the echo test sends.
const echoPattern = 0xA537

// lostTwice is after how many questions in a row that the device did not answer a
// diagnosis ends.
const lostTwice = 2

// Diagnose implements driver.Diagnoser: it asks the device for its exception
// status (function 0x07) and its diagnostic counters (0x08), which serial devices
// have. It only reads, between polls, and asks nothing twice: a device may hang up
// or be silent where it should refuse, and then that is the fact. The error is for
// a driver that has no connection.
func (d *modbusDriver) Diagnose(ctx context.Context) ([]driver.Fact, error) {
	var found []driver.Fact
	lost := 0
	for _, q := range append([]diagnosis{exceptionStatus()}, diagnoses()...) {
		one, err := d.ask(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("diagnose driver %s: %w", d.id, err)
		}
		found = append(found, one.Fact)
		if lost++; !one.lost {
			lost = 0
		}
		if one.unknown || lost == lostTwice {
			break // the others would be told the same
		}
	}
	return found, nil
}

// ask asks one question, once.
func (d *modbusDriver) ask(ctx context.Context, q diagnosis) (one diagnosed, err error) {
	err = d.jobs.Submit(driver.NewJob(ctx, func(l *link) error {
		var err error
		one, err = q.ask(l)
		if one.lost = !intact(err); one.lost {
			one.Value = refused(err)
		}
		return &driver.Ended{Conn: unlessIntact(err)}
	}), "the device")
	return one, err
}

// refused is the value of what the device does not say.
func refused(err error) string { return "not told: " + err.Error() }

// diagnosed is a fact, and what it means for the questions that are left.
type diagnosed struct {
	driver.Fact
	unknown bool // the device does not know function 0x08 at all
	lost    bool // the device did not answer
}

// exceptionStatus is function 0x07.
func exceptionStatus() diagnosis { return diagnosis{name: "exception status", status: true} }

func (q diagnosis) ask(l *link) (diagnosed, error) {
	d := diagnosed{Fact: driver.Fact{Name: q.name}}
	if q.status {
		data, err := l.transact(FuncReadExceptionStatus, nil)
		switch {
		case !intact(err):
			return d, err
		case err != nil:
			d.Value = refused(err)
		case len(data) != 1:
			return d, rejectf("length", "answer to function %s has %d bytes of data, expected 1", FuncReadExceptionStatus, len(data))
		default:
			d.Value = fmt.Sprintf("%08b", data[0])
		}
		return d, nil
	}
	sent := uint16(0)
	if q.sub == 0 {
		sent = echoPattern
	}
	request := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, q.sub), sent)
	data, err := l.transact(FuncDiagnostics, request)
	switch {
	case !intact(err):
		return d, err
	case err != nil:
		d.Value, d.unknown = refused(err), q.sub == 0 && exceptionCode(err) == IllegalFunction
		return d, nil
	case len(data) != 4 || binary.BigEndian.Uint16(data) != q.sub:
		return d, rejectf("length", "answer to function %s, sub-function %d, is % X", FuncDiagnostics, q.sub, data)
	}
	value := binary.BigEndian.Uint16(data[2:])
	switch {
	case q.sub != 0:
		d.Value = fmt.Sprint(value)
		if strings.HasSuffix(q.name, "register") {
			d.Value = fmt.Sprintf("%016b", value)
		}
	case value == sent:
		d.Value = "ok"
	default:
		d.Value = fmt.Sprintf("wrong: sent %04X, got %04X back", sent, value)
	}
	return d, nil
}
