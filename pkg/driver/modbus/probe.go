package modbus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// Question is what [Probe] and [Scan] ask a device: one read.
type Question struct {
	Unit  uint8
	Func  Func   // 0x01 to 0x04
	Addr  uint16 // zero-based
	Count uint16
	// Framing of the question; "" for what the endpoint suggests.
	Framing Framing
	// Timeout of the answer; 0 for the endpoint's.
	Timeout time.Duration
	// Cfg is that of a driver of the endpoint, whose ways with the line the question
	// follows as far as it does not say otherwise; nil for none.
	Cfg map[string]any
	// Around also asks for the registers just before and behind, if the device
	// has them: manuals count from 0 or from 1.
	Around bool
}

// String describes what is asked, such as "0x03 0+2".
func (q Question) String() string { return fmt.Sprintf("%s %d+%d", q.Func, q.Addr, q.Count) }

// ErrQuestion is wrapped by errors about questions that cannot be asked.
var ErrQuestion = errkind.New(errkind.Invalid, "cannot be asked")

// check refuses what no device could answer, or what would be more than a read.
func (q Question) check() error {
	limit := 0
	switch q.Func {
	case FuncReadCoils, FuncReadDiscrete:
		limit = maxReadBits
	case FuncReadHolding, FuncReadInput:
		limit = maxReadRegisters
	default:
		return fmt.Errorf("function %s %w: expected a read, 0x01 to 0x04", q.Func, ErrQuestion)
	}
	switch {
	case q.Count < 1 || int(q.Count) > limit:
		return fmt.Errorf("length %d %w: expected 1 to %d", q.Count, ErrQuestion, limit)
	case int(q.Addr)+int(q.Count) > 1<<16:
		return fmt.Errorf("%s %w: it ends beyond address 65535", q, ErrQuestion)
	}
	return nil
}

// ParseQuestion reads ADDR, ADDR:LEN or TYPE:ADDR:LEN, where ADDR is in Modicon
// notation or zero-based (a holding register without TYPE), such as 40001:2 or
// coil:0:8.
func ParseQuestion(s string) (Question, error) {
	q := Question{Func: FuncReadHolding, Count: 1, Unit: 1}
	fail := func() (Question, error) {
		return q, fmt.Errorf("%q: expected ADDR:LEN such as 40001:2, or TYPE:ADDR:LEN with type holding, input, coil or discrete", s)
	}
	parts := strings.Split(s, ":")
	a := config.Address{Type: config.AddrHolding}
	typed := false
	if _, err := readFunc(config.AddressType(parts[0])); err == nil {
		a.Type, parts, typed = config.AddressType(parts[0]), parts[1:], true
	}
	if len(parts) == 0 || len(parts) > 2 {
		return fail()
	}
	n, err := number.Int(parts[0], 0, math.MaxUint32)
	if e, ok := errors.AsType[*number.Error](err); ok && e.Kind == number.NoNumber {
		return fail()
	}
	if err != nil {
		return q, fmt.Errorf("%q: %w", s, err)
	}
	a.Addr = uint32(n)
	if m, ok := modiconOf(a.Addr); ok && !typed {
		a.Type = m.table
	}
	if q.Addr, err = (&Settings{Addressing: AddressingModicon}).protocolAddress(a); err != nil {
		return q, err
	}
	if q.Func, err = readFunc(a.Type); err != nil {
		return q, err
	}
	if len(parts) == 2 {
		limit := int64(maxReadRegisters)
		if q.Func.bits() {
			limit = maxReadBits
		}
		if n, err = number.Int(parts[1], 1, limit); err != nil {
			return q, fmt.Errorf("%q: length %s, expected 1 to %d: %w", s, parts[1], limit, err)
		}
		q.Count = uint16(n)
	}
	if int(q.Addr)+int(q.Count) > 1<<16 {
		return q, fmt.Errorf("%q: ends beyond address 65535", s)
	}
	return q, nil
}

// Answer is what a device answered to a [Question].
type Answer struct {
	Connect time.Duration // to get a connection: a new one, or the gateway's own
	Took    time.Duration // from the request to the answer
	Addr    uint16        // of the first item; one less than asked for with Around
	Count   uint16
	Data    []byte   // registers in the order of the line, or packed bits; nil if refused
	Err     error    // nil, an *[Exception], or why there is no answer
	Hints   []string // settings that would suit the device
}

// Probe asks one question over ep. The error is for a question that cannot be
// asked or an endpoint without a connection; a device that refuses or is silent
// is an Answer with Err.
func Probe(ctx context.Context, ep endpoint.Acquirer, item config.Endpoint, q Question) (Answer, error) {
	return probe(ctx, ep, item, q, true)
}

// probe is [Probe]; again tells to ask once more over a connection that has never
// answered.
func probe(ctx context.Context, ep endpoint.Acquirer, item config.Endpoint, q Question, again bool) (Answer, error) {
	l, err := questionLink(item, q)
	if err != nil {
		return Answer{}, err
	}
	start := time.Now()
	lease, err := ep.Acquire(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("connect: %w", err)
	}
	a := Answer{Connect: time.Since(start)}
	l.attach(ctx, lease)
	ask(l, q, &a)
	if again && isTimeout(a.Err) && !l.settings.Serial && !l.state.spoke.Load() && ctx.Err() == nil {
		askAgain(l, q, &a)
	}
	if l.hears.echoed {
		a.Hints = append(a.Hints, "the line repeats each request to its sender; the driver finds that out by itself, and echo: drop says it")
	}
	if a.Err == nil && q.Around {
		around(l, q, &a)
	}
	lease.Release(l.leave(a.Err))
	return a, nil
}

func ask(l *link, q Question, a *Answer) {
	start := time.Now()
	a.Data, a.Err = l.read(q.Func, q.Addr, q.Count)
	a.Took, a.Addr, a.Count = time.Since(start), q.Addr, q.Count
	if isTimeout(a.Err) {
		a.Err = &silence{l.settings.Timeout, a.Err}
	}
}

// askAgain asks once more over the same connection: some devices swallow what comes
// right after the connect. If that is answered, it takes the place of a.
func askAgain(l *link, q Question, a *Answer) {
	since := time.Since(l.state.born)
	second := Answer{Connect: a.Connect}
	if ask(l, q, &second); !intact(second.Err) {
		return
	}
	*a = second
	delay := since.Truncate(500*time.Millisecond) + 500*time.Millisecond
	a.Hints = append(a.Hints, fmt.Sprintf("what was asked right after the connect was not answered, the same question %v later was; connect_delay: %v waits so long, "+
		"or less if that is enough", since.Round(time.Millisecond), delay))
}

// silence is a timeout in words for the person who asked.
type silence struct {
	after time.Duration
	err   error
}

// Error implements error.
func (s *silence) Error() string {
	if r, ok := errors.AsType[*Rejection](s.err); ok {
		return r.Detail
	}
	return fmt.Sprintf("no answer within %v: nobody has this unit id, or the framing or the line's settings differ", s.after)
}

// Unwrap returns the timeout.
func (s *silence) Unwrap() error { return s.err }

// around asks for one item more on each side. If the device refuses, or is
// silent, what is known stays.
func around(l *link, q Question, a *Answer) {
	limit := maxReadRegisters
	if q.Func.bits() {
		limit = maxReadBits
	}
	if q.Addr > 0 {
		q.Addr, q.Count = q.Addr-1, q.Count+1
	}
	if int(q.Addr)+int(q.Count) < 1<<16 {
		q.Count++
	}
	if int(q.Count) > limit {
		return
	}
	wider := Answer{Connect: a.Connect}
	if ask(l, q, &wider); wider.Err == nil {
		wider.Hints = a.Hints
		*a = wider
	} else if !intact(wider.Err) {
		a.Err = fmt.Errorf("asked once more for the registers around: %w", wider.Err)
	}
}

// questionLink returns a link that is nobody's metrics.
func questionLink(item config.Endpoint, q Question) (*link, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	s, err := ParseSettings(q.settings(), item)
	if err != nil {
		return nil, fmt.Errorf("%s %w: %w", q, ErrQuestion, err)
	}
	if s.broadcast() {
		return nil, fmt.Errorf("unit 0 %w on a serial line: it is a broadcast, which nobody answers; expected 1 to 247", ErrQuestion)
	}
	m, err := newMetrics(prometheus.NewRegistry(), 0)
	if err != nil {
		return nil, err
	}
	return newLink(s, m.driver("")), nil
}

// settings are those that q is asked with.
func (q Question) settings() map[string]any {
	cfg := map[string]any{"unit_id": q.Unit, "polling": "1s"}
	keys := []string{"framing", "timeout", "connect_delay", "request_gap", "close_after", "on_timeout", "echo", "accept_transaction"}
	if n, ok := q.Cfg["unit_id"].(int64); ok && n == int64(q.Unit) {
		keys = append(keys, "answer_unit", "wide_registers", "bit_bytes")
	}
	for _, key := range keys {
		if v, ok := q.Cfg[key]; ok {
			cfg[key] = v
		}
	}
	if q.Framing != "" {
		cfg["framing"] = string(q.Framing)
		if q.Framing != FramingTCP {
			delete(cfg, "accept_transaction")
		}
	}
	if q.Timeout > 0 {
		cfg["timeout"] = q.Timeout.String()
	}
	return cfg
}
