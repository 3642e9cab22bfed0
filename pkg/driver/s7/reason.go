package s7

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Refusal is the error by which a PLC refuses a whole request, or one item of it.
type Refusal struct {
	Class byte // error class of a request; 0: one item is refused
	Code  byte // error code of the request, or return code of the item
}

// refusal returns the error that the header of an answer has.
func (m message) refusal() error {
	if m.class == 0 && m.code == 0 {
		return nil
	}
	return &Refusal{Class: m.class, Code: m.code}
}

// number is the refusal as documents have it.
func (r *Refusal) number() string {
	if r.Class == 0 {
		return fmt.Sprintf("0x%02X", r.Code)
	}
	return fmt.Sprintf("0x%02X%02X", r.Class, r.Code)
}

// permission reports whether the PLC refuses the gateway, and not what it asked for.
func (r *Refusal) permission() bool {
	switch uint16(r.Class)<<8 | uint16(r.Code) {
	case 0x8104, 0xD241, 0xD202, 0x8304, 0x8305:
		return true
	}
	return false
}

// settings in TIA Portal that change what a PLC refuses.
const (
	hintPutGet = "in TIA Portal, in the CPU's properties under Protection & Security, Connection mechanisms: " +
		"tick Permit access with PUT/GET communication from remote partner, and load the hardware configuration"
	hintOptimized = "in TIA Portal, in the block's properties under Attributes: clear Optimized block access, compile and load the block"
)

// words says what a refusal means, and what may change it.
func (r *Refusal) words() (text, hint string) {
	if r.Class != 0 {
		switch uint16(r.Class)<<8 | uint16(r.Code) {
		case 0x8104:
			return "PUT/GET access is not enabled, or the CPU does not know the function", hintPutGet
		case 0xD241, 0xD202:
			return "the CPU's protection level does not allow it", "in TIA Portal, in the CPU's properties under Protection & Security, " +
				"Access level: choose one that allows it, or, in STEP 7, Protection; and load the hardware configuration"
		case 0xD209, 0xD20E:
			return "there is no such block in the PLC", "edge-ctl browse lists the blocks that there are"
		case 0xD401, 0xD402, 0xD403:
			return "the PLC does not tell that", ""
		case 0x8500:
			return "the PLC says that the message is too long", "set cfg.pdu to 240"
		}
		switch r.Class {
		case 0x83:
			return "the PLC has no resources left for it", "close other connections to the PLC, or set cfg.max_jobs: 1"
		case 0x84:
			return "the PLC can't do it in its present state", "look at the PLC's own diagnostics: edge-ctl drivers diag"
		case 0x87:
			return "the PLC denies access", hintPutGet
		}
		return "the PLC refuses the request", "the PLC's manual says what the code means"
	}
	switch r.Code {
	case 0x01:
		return "hardware fault in the PLC", "look at the PLC's diagnostics buffer: edge-ctl drivers diag"
	case 0x03:
		return "access to it is not allowed: PUT/GET access is not enabled, or the object is protected", hintPutGet
	case 0x05:
		return "address out of range: the block or area is shorter, or it has optimized block access and can't be read by address",
			"check the address and the block's length; if the block is optimized, " + hintOptimized
	case 0x06, 0x07:
		return "the PLC does not know the data type at that address", "check the address: counters and timers are read as C and T"
	case 0x0A:
		return "there is no such block in the PLC, or it has optimized block access and can't be read by address",
			"load the block into the PLC, or check its number; if the block is optimized, " + hintOptimized
	}
	return "the PLC refuses it", "the PLC's manual says what the code means"
}

// Error implements error: it says what the code means, and names it.
func (r *Refusal) Error() string {
	text, _ := r.words()
	return fmt.Sprintf("%s (%s)", text, r.number())
}

// explain says to people what the PLC said when it was asked for a tag, and what may mend
// it. The text names no address: tags that are bad for one reason are one problem.
func explain(err error) driver.Reason {
	r := driver.Reason{Text: err.Error()}
	refused, ok := errors.AsType[*Refusal](err)
	if !ok {
		return r
	}
	r.Text = "refused: " + refused.Error()
	_, r.Hint = refused.words()
	return r
}

// Errors of a connection.
var (
	errRefusedTSAP = errors.New("the PLC refuses the connection: it has no CPU at that rack and slot, or no connection left")
	errHungUp      = errors.New("the PLC has closed the connection")
	errNoAnswer    = errors.New("no answer in time")
)

// awayReason says why no tag can be read, and what may mend it.
func awayReason(err error) driver.Reason {
	r := driver.Reason{Text: err.Error()}
	refused, _ := errors.AsType[*Refusal](err)
	switch {
	case errors.Is(err, errRefusedTSAP):
		r.Hint = "check cfg.rack and cfg.slot (1200, 1500: slot 1; 300: slot 2), of a LOGO! or S7-200 cfg.remote_tsap; another cfg.connection may have connections left"
	case refused != nil:
		_, r.Hint = refused.words()
	case errors.Is(err, errNoAnswer):
		r.Hint = "the PLC is reached and does not answer: raise cfg.timeout, or look at the PLC"
	case errors.Is(err, errHungUp):
		r.Hint = "the PLC may have no connection left, or no CPU at cfg.rack and cfg.slot (1200, 1500: slot 1; 300: slot 2)"
	case errors.Is(err, endpoint.ErrDown):
		r.Hint = "check host and port (102), the cable, and whether a firewall lets it through"
	default:
		r.Hint = "edge-ctl trace ENDPOINT shows what is said"
	}
	return r
}

// isTimeout reports whether err is the end of a wait.
func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// hungUp reports whether the peer has closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
