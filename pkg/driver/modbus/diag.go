package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// diagnosis is a sub-function of 0x08 (V1.01b3, 6.8).
type diagnosis struct {
	sub  uint16
	name string
}

func diagnoses() []diagnosis {
	return []diagnosis{
		{0x00, "echo"},
		{0x02, "diagnostic register"},
		{0x0B, "messages on the bus"},
		{0x0C, "messages with a wrong checksum"},
		{0x0D, "exceptions answered"},
		{0x0E, "messages to this unit"},
		{0x0F, "messages not answered"},
		{0x10, "negative acknowledges"},
		{0x11, "busy answers"},
		{0x12, "characters overrun"},
	}
}

// echoPattern is what the echo test sends.
const echoPattern = 0xA537

// Diagnose implements driver.Diagnoser: it asks the device for its exception
// status (function 0x07) and its diagnostic counters (0x08), which serial devices
// have. It only reads. What the device refuses to say is a fact, too; the error is
// for a device that does not answer at all.
func (d *modbusDriver) Diagnose(ctx context.Context) ([]driver.Fact, error) {
	var found []driver.Fact
	err := d.submit(ctx, func(l *link) error {
		var err error
		found, err = diagnose(l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("diagnose driver %s: %w", d.id, err)
	}
	return found, nil
}

// diagnose asks everything. What the device refuses is a result, a lost
// connection an error.
func diagnose(l *link) ([]driver.Fact, error) {
	status := driver.Fact{Name: "exception status"}
	data, err := l.transact(FuncReadExceptionStatus, nil)
	switch {
	case !intact(err):
		return nil, err
	case err != nil:
		status.Value = refused(err)
	case len(data) != 1:
		return nil, rejectf("length", "answer to function %s has %d bytes of data, expected 1", FuncReadExceptionStatus, len(data))
	default:
		status.Value = fmt.Sprintf("%08b", data[0])
	}
	found := []driver.Fact{status}
	for _, q := range diagnoses() {
		one, err := q.ask(l)
		if err != nil {
			return nil, err
		}
		found = append(found, one.Fact)
		if one.unknown {
			break // it does not know the function; the others would be told the same
		}
	}
	return found, nil
}

// refused is the value of what the device does not say.
func refused(err error) string { return "not told: " + err.Error() }

// diagnosed is a fact, or that the device does not know function 0x08 at all.
type diagnosed struct {
	driver.Fact
	unknown bool
}

func (q diagnosis) ask(l *link) (diagnosed, error) {
	d := diagnosed{Fact: driver.Fact{Name: q.name}}
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
