package modbus

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// Settings are a driver's cfg with its defaults filled in. Their types, defaults,
// bounds and meanings stand in schemas/drivers/modbus.schema.json.
type Settings struct {
	UnitID      uint8           `json:"unit_id"`
	Polling     time.Duration   `json:"polling"` // of variables without a polling of their own
	MaxRegs     uint16          `json:"max_regs_per_req"`
	MaxGap      uint16          `json:"max_gap"`
	Merge       *bool           `json:"merge"` // nil: true
	Blocks      []Block         `json:"blocks"`
	MaxInflight int             `json:"max_inflight"`
	Retry       int             `json:"retry"`   // attempts after the first
	Timeout     time.Duration   `json:"timeout"` // of one request
	RequestGap  time.Duration   `json:"request_gap"`
	BackoffMax  time.Duration   `json:"backoff_max"`
	Wide        []WideRegisters `json:"wide_registers"`
	BitBytes    BitBytes        `json:"bit_bytes"` // of coils and discrete inputs in an answer
	Framing     Framing         `json:"framing"`
	Addressing  Addressing      `json:"addressing"`
	EnableWrite bool            `json:"enable_write"`
	VerifyWrite bool            `json:"verify_write"`
	WriteFunc   WriteFunc       `json:"write_func"`

	ConnectDelay      time.Duration     `json:"connect_delay"`
	CloseAfter        CloseAfter        `json:"close_after"`
	OnTimeout         OnTimeout         `json:"on_timeout"`
	AnswerUnit        AnswerUnit        `json:"answer_unit"`
	AcceptTransaction AcceptTransaction `json:"accept_transaction"`
	Echo              Echo              `json:"echo"`

	WriteRetry   int           `json:"write_retry"`   // times that a write may be sent again whose outcome is not known
	WriteTimeout time.Duration `json:"write_timeout"` // of the answer to a write
	VerifyDelay  time.Duration `json:"verify_delay"`  // before a write is read back
	BitWrite     BitWrite      `json:"bit_write"`

	Order    ByteOrder `json:"-"` // of endian and byte_order
	Serial   bool      `json:"-"` // the endpoint is a serial line
	zones    []zone    // of Wide
	held     bool      // the endpoint may hold a request back, for its turnaround or rate
	datagram bool      // the endpoint carries datagrams: one ADU in each
}

// Addressing says how numbers above 10000 in a variable's address are read.
type Addressing string

// The ways.
const (
	AddressingModicon  Addressing = "modicon"  // 40001 is holding register 0
	AddressingProtocol Addressing = "protocol" // every address is zero-based
)

// WriteFunc says with which functions the driver writes.
type WriteFunc string

// The ways.
const (
	WriteAuto      WriteFunc = "auto"       // one item: 0x05, 0x06; several: 0x0F, 0x10
	WriteMultiple  WriteFunc = "multiple"   // always 0x0F, 0x10
	WriteReadWrite WriteFunc = "read_write" // registers: 0x17, which reads back in the same request
)

// CloseAfter says when the driver closes its connection.
type CloseAfter string

// The ways.
const (
	CloseNever    CloseAfter = "never"
	CloseExchange CloseAfter = "exchange" // after each answer
)

// OnTimeout says what becomes of the connection when an answer does not come.
type OnTimeout string

// The ways.
const (
	TimeoutAuto      OnTimeout = "auto"      // it is kept until it has been silent several times
	TimeoutKeep      OnTimeout = "keep"      // it is kept
	TimeoutReconnect OnTimeout = "reconnect" // a new one
)

// AnswerUnit is the unit id with which the device answers: a number, or one of
// these.
type AnswerUnit string

// The words.
const (
	AnswerOwn AnswerUnit = "own" // the one that was asked
	AnswerAny AnswerUnit = "any"
)

// alias returns the unit id besides the own one that is accepted, -1 for none.
func (a AnswerUnit) alias() int {
	switch n, err := strconv.ParseUint(string(a), 10, 8); {
	case a == AnswerAny:
		return anyUnit
	case err != nil:
		return -1
	default:
		return int(n)
	}
}

// UnmarshalText reads what the schema accepts.
func (a *AnswerUnit) UnmarshalText(text []byte) error {
	*a = AnswerUnit(text)
	return nil
}

// AcceptTransaction says which transaction ids an answer may have.
type AcceptTransaction string

// The ways.
const (
	TransactionOwn AcceptTransaction = "own"
	TransactionAny AcceptTransaction = "any"
)

// Echo says whether the line repeats each request to its sender.
type Echo string

// The ways.
const (
	EchoAuto Echo = "auto" // reads show it
	EchoDrop Echo = "drop"
	EchoNone Echo = "none"
)

// BitWrite says how one bit of a register is written.
type BitWrite string

// The ways.
const (
	BitAuto            BitWrite = "auto" // mask; rmw once the device has shown that it does not know that
	BitMask            BitWrite = "mask" // function 0x16
	BitReadModifyWrite BitWrite = "rmw"  // the register is read and written
)

const (
	minWriteTimeout = 2 * time.Second // where cfg has none: EEPROMs are slow
)

// ParseSettings reads a driver's cfg. The endpoint, whose timeout and kind of
// line decide some defaults, may be the zero value. All that is wrong is
// reported; each error is a [config.FieldError].
func ParseSettings(cfg map[string]any, ep config.Endpoint) (*Settings, error) {
	raw, err := config.Decode[struct {
		Settings
		Endian    ByteOrder  `json:"endian"`
		ByteOrder *ByteOrder `json:"byte_order"`
	}]("drivers/modbus", cfg, "cfg")
	s := &raw.Settings
	if s.Order = raw.Endian; raw.ByteOrder != nil {
		s.Order = *raw.ByteOrder
	}
	layers := strings.Split(ep.Scheme, "+")
	s.Serial = slices.Contains(layers, "serial")
	s.datagram = endpoint.Datagrams(ep.Scheme)
	opts := endpoint.OptionsOf(ep.Scheme, ep.Opts)
	s.held = opts.Turnaround > 0 || opts.Rate != endpoint.Rate{}
	if s.Timeout == 0 {
		s.Timeout = opts.Timeout
	}
	if s.WriteTimeout == 0 {
		s.WriteTimeout = max(s.Timeout, minWriteTimeout)
	}
	if err != nil {
		return s, err
	}
	var c checker
	s.Framing = c.framing(s.Framing, layers)
	s.checkTogether(&c)
	return s, errors.Join(c.errs...)
}

// checkTogether refuses settings that contradict each other.
func (s *Settings) checkTogether(c *checker) {
	if s.MaxInflight > 1 && s.Framing != FramingTCP {
		c.failf("max_inflight", "%d, but framing %s has no transaction ids to tell answers apart; expected 1", s.MaxInflight, s.Framing)
	}
	if s.MaxInflight > 1 && s.RequestGap > 0 {
		c.failf("request_gap", "contradicts max_inflight %d; remove one of them", s.MaxInflight)
	}
	if s.Serial && s.Framing == FramingTCP {
		c.failf("framing", "tcp on a serial line; expected rtu or ascii")
	}
	s.resolveWide(c)
	s.checkBlocks(c)
	if s.Serial && s.UnitID == 255 {
		c.failf("unit_id", "255 on a serial line; expected 0 to 247")
	}
	if s.AcceptTransaction == TransactionAny && s.Framing != FramingTCP {
		c.failf("accept_transaction", "any, but framing %s has no transaction ids; remove it", s.Framing)
	}
	if s.AcceptTransaction == TransactionAny && s.MaxInflight > 1 {
		c.failf("accept_transaction", "any contradicts max_inflight %d: nothing would tell the answers apart; remove one of them", s.MaxInflight)
	}
	if s.CloseAfter == CloseExchange && s.MaxInflight > 1 {
		c.failf("close_after", "exchange contradicts max_inflight %d; remove one of them", s.MaxInflight)
	}
}

// broadcast reports whether the driver speaks to all units at once, which none
// answers.
func (s *Settings) broadcast() bool { return s.Serial && s.UnitID == 0 }

// Ordered reports whether nothing but their looks and their order tells answers
// apart.
func (s *Settings) Ordered() bool {
	return s.Framing != FramingTCP || s.AcceptTransaction == TransactionAny
}

// checker collects errors.
type checker struct{ errs []error }

func (c *checker) failf(key, format string, args ...any) {
	c.errs = append(c.errs, config.FieldErrorf("cfg."+key, format, args...))
}

// framing returns the framing that cfg or the endpoint's scheme (rtu+tcp) names,
// or else what the transport suggests.
func (c *checker) framing(chosen Framing, layers []string) Framing {
	f, named := FramingTCP, false
	if slices.Contains(layers, "serial") {
		f = FramingRTU
	}
	for _, layer := range layers {
		if layer == string(FramingRTU) || layer == string(FramingASCII) {
			f, named = Framing(layer), true
		}
	}
	if chosen == "" {
		return f
	}
	if named && chosen != f {
		c.failf("framing", "%s, but the endpoint's scheme says %s; remove one of them", chosen, f)
	}
	return chosen
}
