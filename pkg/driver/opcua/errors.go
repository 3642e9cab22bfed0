package opcua

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gopcua/opcua/ua"
)

// serviceError is a request that the server answered with a status that is bad.
// The connection is in order.
type serviceError struct {
	service string
	code    ua.StatusCode
}

func (e *serviceError) Error() string { return e.service + ": " + describeStatus(e.code) }

// Unwrap makes the status comparable.
func (e *serviceError) Unwrap() error { return e.code }

// linkError is a connection that cannot be used any more.
type linkError struct {
	op  string
	err error
}

func (e *linkError) Error() string { return e.op + ": " + e.err.Error() }

func (e *linkError) Unwrap() error { return e.err }

// errSilent is why a connection is given up whose server says nothing.
var errSilent = errors.New("the server is silent")

// errNoAnswer is a request that was not answered in time.
var errNoAnswer = errors.New("no answer in time")

// isLink reports whether err is a connection's rather than an answer's.
func isLink(err error) bool {
	_, ok := errors.AsType[*linkError](err)
	return ok
}

// reached reports whether there was a connection before err.
func reached(err error) bool {
	e, ok := errors.AsType[*linkError](err)
	return !ok || e.op != opConnect
}

// opConnect is the operation of a linkError before there is a connection.
const opConnect = "connect"

// statusOf returns the status that err carries, 0 if none.
func statusOf(err error) ua.StatusCode {
	code, _ := errors.AsType[ua.StatusCode](err)
	return code
}

// standardName makes a status's name of the library one of the standard.
func standardName(name string) string {
	return strings.NewReplacer("ID", "Id", "URI", "Uri", "URL", "Url", "TCP", "Tcp").Replace(strings.TrimPrefix(name, "Status"))
}

// StatusText returns the number of a status code and its name in the standard, such as
// "0x80340000 BadNodeIdUnknown".
func StatusText(code ua.StatusCode) string {
	name := "unknown"
	if d, ok := ua.StatusCodes[code&0xFFFF0000]; ok {
		name = standardName(d.Name)
	} else if code&0xC0000000 == 0 {
		name = "Good"
	}
	return fmt.Sprintf("0x%08X %s", uint32(code), name)
}

// describeStatus names a status and says what it means.
func describeStatus(code ua.StatusCode) string {
	if d, ok := ua.StatusCodes[code&0xFFFF0000]; ok && d.Text != "" {
		return StatusText(code) + ": " + strings.TrimSuffix(d.Text, ".")
	}
	return StatusText(code)
}

// isBad and isUncertain read the severity of a status (OPC 10000-4, 7.39).
func isBad(code ua.StatusCode) bool { return code&0x80000000 != 0 }

func isUncertain(code ua.StatusCode) bool { return code&0xC0000000 == 0x40000000 }

// overflowed reports whether the server threw values away between this one and the
// one before.
func overflowed(code ua.StatusCode) bool { return code&0xC00 == 0x400 && code&0x80 != 0 }
