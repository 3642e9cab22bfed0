package modbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Line is how a serial line is set. On a network it is the zero value.
type Line struct {
	Baud   int
	Parity string // none, even, odd
}

// String returns the line's settings, such as "19200 even".
func (l Line) String() string {
	if l.Baud == 0 {
		return "network"
	}
	return fmt.Sprintf("%d %s", l.Baud, l.Parity)
}

// Lines returns the settings that devices are found with, the commonest first.
func Lines() []Line {
	var lines []Line
	for _, baud := range []int{9600, 19200, 38400, 115200, 57600, 4800, 2400, 1200} {
		for _, parity := range []string{"even", "none", "odd"} {
			lines = append(lines, Line{baud, parity})
		}
	}
	return lines
}

// Scanner looks for devices. It only reads.
type Scanner struct {
	// Open opens the line with the given settings. The scan closes it.
	Open func(ctx context.Context, line Line) (net.Conn, error)
	// Endpoint is the line's item, for what depends on its scheme.
	Endpoint config.Endpoint
	Lines    []Line  // to be tried, in order; on a network one zero Line
	Units    []uint8 // to be asked, in order
	// Question is asked of each unit; any answer, an exception too, is a device.
	// Its Unit does not count, its Timeout should be short.
	Question Question
	// Found is called for each device.
	Found func(Found)
	// Progress, if set, is called before each question.
	Progress func(line Line, unit uint8)
}

// Found is a device that answered.
type Found struct {
	Line Line
	Unit uint8
	Took time.Duration
	Err  error // the *[Exception] that it answered, nil if it gave a value
}

// Run asks every unit with each setting of the line, until one setting has found
// devices: the others cannot be right then. The error is the line's or ctx's.
func (s *Scanner) Run(ctx context.Context) error {
	for _, line := range s.Lines {
		n, err := s.try(ctx, line)
		if err != nil {
			return fmt.Errorf("scan %s: %w", line, err)
		}
		if n > 0 {
			return nil
		}
	}
	return nil
}

// try asks every unit with one setting and returns how many answered.
func (s *Scanner) try(ctx context.Context, line Line) (found int, err error) {
	conn, err := s.Open(ctx, line)
	if err != nil {
		return 0, err
	}
	known := newLine()
	defer func() {
		if conn != nil {
			_ = conn.Close() // nothing was written that could be lost
		}
	}()
	for _, unit := range s.Units {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		if s.Progress != nil {
			s.Progress(line, unit)
		}
		q := s.Question
		q.Unit = unit
		l, err := questionLink(s.Endpoint, q)
		if err != nil {
			return found, err
		}
		l.line = known
		l.attach(ctx, conn)
		var a Answer
		ask(l, q, &a)
		_ = l.detach() // noise: this setting is wrong, or the next question waits for silence
		switch code := exceptionCode(a.Err); {
		case code == GatewayPath || code == GatewayTarget: // says a Modbus gateway of a unit that is not there
		case intact(a.Err):
			found++
			s.Found(Found{Line: line, Unit: unit, Took: a.Took, Err: a.Err})
		case isTimeout(a.Err):
		case rejected(a.Err):
		default:
			// A network peer may close the connection on a wrong unit id.
			_ = conn.Close()
			if conn, err = s.Open(ctx, line); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// scanPatience is how long a scan waits for a unit at most, while polls wait.
const scanPatience = time.Second

// ScanShared looks for devices over an endpoint that others use at the same time: each
// unit is asked over a lease of its own, and afterwards the line is theirs for as long as
// the question took. each is called after every question, with whether a device answered;
// its error ends the scan. A device that closes the connection twice in a row is left
// alone, because they would lose theirs each time. Without a timeout of q's, a unit has
// as long as a driver gives it, a second at most.
func ScanShared(ctx context.Context, ep endpoint.Acquirer, item config.Endpoint, q Question, units []uint8, each func(f Found, answered bool) error) error {
	if q.Timeout == 0 {
		s, err := ParseSettings(q.settings(), item)
		if err != nil {
			return fmt.Errorf("%s %w: %w", q, ErrQuestion, err)
		}
		q.Timeout = min(s.Timeout, scanPatience)
	}
	lost := 0
	for _, unit := range units {
		q.Unit = unit
		began := time.Now()
		a, err := probe(ctx, ep, item, q, false)
		if err != nil {
			return fmt.Errorf("scan, unit %d: %w", unit, err)
		}
		code := exceptionCode(a.Err)
		answered := intact(a.Err) && code != GatewayPath && code != GatewayTarget
		if err := each(Found{Unit: unit, Took: a.Took, Err: a.Err}, answered); err != nil {
			return err
		}
		if lost++; intact(a.Err) || isTimeout(a.Err) || rejected(a.Err) {
			lost = 0
		}
		if lost == 2 {
			return fmt.Errorf("the scan stopped at unit %d: the device closes the connection when it is asked for a unit that it does not have, "+
				"which disturbs polling: %w", unit, a.Err)
		}
		sleep(ctx, time.Since(began))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func rejected(err error) bool {
	_, ok := errors.AsType[*Rejection](err)
	return ok
}
