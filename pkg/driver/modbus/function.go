package modbus

import (
	"errors"
	"fmt"
)

// Func is a Modbus function code (Modbus Application Protocol V1.1b3, chapter 6).
type Func uint8

// The function codes that the driver uses.
const (
	FuncReadCoils           Func   = 0x01
	FuncReadDiscrete        Func   = 0x02
	FuncReadHolding         Func   = 0x03
	FuncReadInput           Func   = 0x04
	FuncWriteCoil           Func   = 0x05
	FuncWriteRegister       Func   = 0x06
	FuncReadExceptionStatus Func   = 0x07 // serial lines only
	FuncDiagnostics         Func   = 0x08 // serial lines only
	FuncWriteCoils          Func   = 0x0F
	FuncWriteRegisters      Func   = 0x10
	FuncMaskWriteRegister   Func   = 0x16
	FuncReadWriteRegisters  Func   = 0x17
	exceptionFlag           Func   = 0x80
	maxReadRegisters               = 125
	maxWriteRegisters              = 123
	maxReadWriteWritten            = 121
	maxReadBits                    = 2000
	maxWriteBits                   = 1968
	maxPDU                         = 253
	coilOn                  uint16 = 0xFF00
)

// String returns the code as the standard writes it, such as "0x03"; metrics use
// it as the label func.
func (f Func) String() string { return fmt.Sprintf("0x%02X", uint8(f)) }

// bits reports whether f reads coils or discrete inputs.
func (f Func) bits() bool { return f == FuncReadCoils || f == FuncReadDiscrete }

// dataBytes returns the length of the data that a read of qty items answers by the
// standard. What a device answers is [Settings.answerBytes].
func (f Func) dataBytes(qty uint16) int {
	if f.bits() {
		return (int(qty) + 7) / 8
	}
	return registerBytes * int(qty)
}

// ExceptionCode is the reason that a device gives for refusing a request.
type ExceptionCode uint8

// The exception codes (V1.1b3, chapter 7).
const (
	IllegalFunction     ExceptionCode = 0x01
	IllegalDataAddress  ExceptionCode = 0x02
	IllegalDataValue    ExceptionCode = 0x03
	ServerDeviceFailure ExceptionCode = 0x04
	Acknowledge         ExceptionCode = 0x05
	ServerDeviceBusy    ExceptionCode = 0x06
	MemoryParityError   ExceptionCode = 0x08
	GatewayPath         ExceptionCode = 0x0A // the Modbus gateway has no way to the unit
	GatewayTarget       ExceptionCode = 0x0B // the unit behind the Modbus gateway is silent
)

// label is the code in metrics.
func (c ExceptionCode) label() string { return fmt.Sprintf("0x%02X", uint8(c)) }

// String returns the code and its name, such as "0x02 illegal data address".
func (c ExceptionCode) String() string {
	name := "unknown exception"
	switch c {
	case IllegalFunction:
		name = "illegal function"
	case IllegalDataAddress:
		name = "illegal data address"
	case IllegalDataValue:
		name = "illegal data value"
	case ServerDeviceFailure:
		name = "server device failure"
	case Acknowledge:
		name = "acknowledge"
	case ServerDeviceBusy:
		name = "server device busy"
	case MemoryParityError:
		name = "memory parity error"
	case GatewayPath:
		name = "gateway path unavailable"
	case GatewayTarget:
		name = "gateway target device failed to respond"
	}
	return fmt.Sprintf("0x%02X %s", uint8(c), name)
}

// Exception is a device's refusal of a request. The device is alive and the
// connection is in order.
type Exception struct {
	Func Func // as requested
	Code ExceptionCode
}

// Error implements error.
func (e *Exception) Error() string {
	return fmt.Sprintf("device answered exception %s to function %s", e.Code, e.Func)
}

// exceptionCode returns the code of the [Exception] in err, 0 if there is none.
func exceptionCode(err error) ExceptionCode {
	if e, ok := errors.AsType[*Exception](err); ok {
		return e.Code
	}
	return 0
}

// Rejection is an answer that must not be believed: it is another request's, or
// is not what was asked for. Its values are never used.
type Rejection struct {
	Reason string // label of modbus_rejected_total: see docs/modbus.md
	Detail string
	Err    error // the timeout in which the right answer did not come, nil if it wasn't waited for

	counted bool // in modbus_rejected_total
	astray  bool // where the next answer begins is not known
}

// Error implements error.
func (r *Rejection) Error() string { return "answer rejected: " + r.Detail }

// Unwrap returns Err.
func (r *Rejection) Unwrap() error { return r.Err }

func rejectf(reason, format string, args ...any) error {
	return &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// readData checks that pdu answers a read by f with want bytes and returns its
// data, which shares pdu's memory. The error is an [*Exception] or a
// [*Rejection].
func readData(pdu []byte, f Func, want int) ([]byte, error) {
	if err := checkFunc(pdu, f); err != nil {
		return nil, err
	}
	if len(pdu) < 2 || int(pdu[1]) != want || len(pdu) != 2+want {
		return nil, lengthError(pdu, f, want)
	}
	return pdu[2:], nil
}

func lengthError(pdu []byte, f Func, want int) error {
	if len(pdu) < 2 {
		return rejectf("length", "answer to function %s has no byte count", f)
	}
	return rejectf("length", "answer to function %s has byte count %d and %d bytes of data, expected %d%s",
		f, pdu[1], len(pdu)-2, want, lengthHint(f, int(pdu[1]), len(pdu)-2, want))
}

// lengthHint names the setting for a device that always answers so.
func lengthHint(f Func, count, got, want int) string {
	switch {
	case count != got:
	case f.bits() && got == BitsEven.of(want):
		return "; if the device always fills up to an even number, set bit_bytes: even"
	case f.bits() && got > want:
		return fmt.Sprintf("; if the device always answers at least so many, set bit_bytes: %d", got)
	case (f == FuncReadHolding || f == FuncReadInput) && got == 2*want:
		return "; if the device has registers of 32 bits there, set wide_registers"
	}
	return ""
}

// checkFunc checks that pdu answers f and is no exception.
func checkFunc(pdu []byte, f Func) error {
	if len(pdu) == 0 {
		return rejectf("length", "answer to function %s is empty", f)
	}
	switch Func(pdu[0]) {
	case f:
		return nil
	case f | exceptionFlag:
		if len(pdu) != 2 {
			return rejectf("length", "exception to function %s has %d bytes, expected 2", f, len(pdu))
		}
		return &Exception{Func: f, Code: ExceptionCode(pdu[1])}
	}
	return rejectf("function", "answer has function 0x%02X, expected %s", pdu[0], f)
}
