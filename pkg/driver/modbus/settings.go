package modbus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Settings are a driver's cfg with its defaults filled in. The keys and their
// meaning stand in schemas/drivers/modbus.schema.json and docs/modbus.md.
type Settings struct {
	UnitID      uint8         // 0–247, 255
	Polling     time.Duration // of variables without a polling of their own
	MaxRegs     uint16        // registers per request, 1–125
	MaxGap      uint16        // registers that a request may read for nothing between two points
	MaxInflight int           // requests that wait for their answers at the same time, 1–64
	Retry       int           // attempts after the first, 0–10
	Timeout     time.Duration // of one request
	RequestGap  time.Duration // rest of the line after each answer
	BackoffMax  time.Duration // longest wait between two probes of a silent device
	Order       ByteOrder
	Framing     Framing
	Addressing  Addressing
	EnableWrite bool
	VerifyWrite bool // read back what was written
	WriteFunc   WriteFunc

	Serial   bool // the endpoint is a serial line
	datagram bool // the endpoint carries datagrams: one ADU in each
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

// The bounds of the settings.
const (
	defaultMaxRegs    = 120
	defaultRetry      = 3
	defaultTimeout    = time.Second
	defaultBackoffMax = 30 * time.Second
	maxInflightLimit  = 64
	maxRetry          = 10
	minPolling        = time.Millisecond
)

// rawSettings is cfg as it is written.
type rawSettings struct {
	UnitID      *int     `json:"unit_id"`
	Polling     *string  `json:"polling"`
	MaxRegs     *int     `json:"max_regs_per_req"`
	MaxGap      *int     `json:"max_gap"`
	MaxInflight *int     `json:"max_inflight"`
	Retry       *int     `json:"retry"`
	Timeout     *string  `json:"timeout"`
	RequestGap  *string  `json:"request_gap"`
	BackoffMax  *string  `json:"backoff_max"`
	Endian      *string  `json:"endian"`
	ByteOrder   *string  `json:"byte_order"`
	Framing     *string  `json:"framing"`
	Addressing  *string  `json:"addressing"`
	EnableWrite *bool    `json:"enable_write"`
	VerifyWrite *bool    `json:"verify_write"`
	WriteFunc   *string  `json:"write_func"`
	_           struct{} // keyed literals only
}

// ParseSettings reads a driver's cfg. The endpoint, whose timeout and kind of
// line decide some defaults, may be the zero value. All that is wrong is
// reported, each error naming its key.
func ParseSettings(cfg map[string]any, ep config.Endpoint) (*Settings, error) {
	raw, err := decodeSettings(cfg)
	if err != nil {
		return nil, err
	}
	s := &Settings{VerifyWrite: true}
	layers := strings.Split(ep.Scheme, "+")
	s.Serial = slices.Contains(layers, "serial")
	s.datagram = slices.Contains(layers, "udp") || slices.Contains(layers, "dtls")
	var c checker
	if raw.UnitID == nil {
		c.failf("unit_id", "missing; expected 0 to 247, or 255")
	} else {
		s.UnitID = uint8(c.number("unit_id", raw.UnitID, 0, 0, 255))
		if *raw.UnitID > 247 && *raw.UnitID < 255 {
			c.failf("unit_id", "%d is reserved; expected 0 to 247, or 255", *raw.UnitID)
		}
	}
	if raw.Polling == nil {
		c.failf("polling", "missing; expected a duration such as 1s or 500ms")
	} else {
		s.Polling = c.duration("polling", raw.Polling, 0, minPolling)
	}
	s.MaxRegs = uint16(c.number("max_regs_per_req", raw.MaxRegs, defaultMaxRegs, 1, maxReadRegisters))
	s.MaxGap = uint16(c.number("max_gap", raw.MaxGap, 0, 0, maxReadRegisters-2))
	s.MaxInflight = c.number("max_inflight", raw.MaxInflight, 1, 1, maxInflightLimit)
	s.Retry = c.number("retry", raw.Retry, defaultRetry, 0, maxRetry)
	s.Timeout = c.duration("timeout", raw.Timeout, endpointTimeout(ep), time.Millisecond)
	s.RequestGap = c.duration("request_gap", raw.RequestGap, 0, 0)
	s.BackoffMax = c.duration("backoff_max", raw.BackoffMax, defaultBackoffMax, 10*time.Millisecond)
	s.Order = c.order(raw.Endian, raw.ByteOrder)
	s.Addressing = choice(&c, "addressing", raw.Addressing, AddressingModicon, AddressingProtocol)
	s.WriteFunc = choice(&c, "write_func", raw.WriteFunc, WriteAuto, WriteMultiple, WriteReadWrite)
	s.Framing = c.framing(raw.Framing, layers)
	setBool(&s.EnableWrite, raw.EnableWrite)
	setBool(&s.VerifyWrite, raw.VerifyWrite)
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
	if s.Serial && s.UnitID == 255 {
		c.failf("unit_id", "255 on a serial line; expected 0 to 247")
	}
}

// broadcast reports whether the driver speaks to all units at once, which none
// answers.
func (s *Settings) broadcast() bool { return s.Serial && s.UnitID == 0 }

// endpointTimeout returns the timeout of ep, the default without one. A bad one
// is the endpoint's own error.
func endpointTimeout(ep config.Endpoint) time.Duration {
	if d, err := config.ParseDuration(ep.Opts["timeout"]); err == nil && d > 0 {
		return time.Duration(d)
	}
	return defaultTimeout
}

func setBool(dst *bool, v *bool) {
	if v != nil {
		*dst = *v
	}
}

// decodeSettings decodes cfg strictly.
func decodeSettings(cfg map[string]any) (*rawSettings, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("cfg: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	raw := new(rawSettings)
	if err := d.Decode(raw); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, fmt.Errorf("cfg.%s: %s, expected %s", t.Field, t.Value, t.Type)
		}
		return nil, fmt.Errorf("cfg: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return raw, nil
}

// checker collects errors.
type checker struct{ errs []error }

func (c *checker) failf(key, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("cfg."+key+": "+format, args...))
}

func (c *checker) number(key string, v *int, def, lo, hi int) int {
	if v == nil {
		return def
	}
	if *v < lo || *v > hi {
		c.failf(key, "%d, expected %d to %d", *v, lo, hi)
		return def
	}
	return *v
}

func (c *checker) duration(key string, v *string, def, lo time.Duration) time.Duration {
	if v == nil {
		return def
	}
	parsed, err := config.ParseDuration(*v)
	d := time.Duration(parsed)
	if err != nil || d < lo {
		c.failf(key, "%q, expected a duration of at least %v, such as 1s or 500ms", *v, lo)
		return def
	}
	return d
}

func (c *checker) order(endian, order *string) ByteOrder {
	o := ABCD
	if endian != nil {
		switch *endian {
		case "big":
		case "little":
			o = DCBA
		default:
			c.failf("endian", "%q, expected big or little", *endian)
		}
	}
	if order != nil {
		var err error
		if o, err = ParseByteOrder(*order); err != nil {
			c.failf("byte_order", "%v", err)
		}
	}
	return o
}

// framing returns the framing that cfg or the endpoint's scheme (rtu+tcp) names,
// or else what the transport suggests.
func (c *checker) framing(v *string, layers []string) Framing {
	f, named := FramingTCP, false
	if slices.Contains(layers, "serial") {
		f = FramingRTU
	}
	for _, layer := range layers {
		if layer == string(FramingRTU) || layer == string(FramingASCII) {
			f, named = Framing(layer), true
		}
	}
	if v == nil {
		return f
	}
	chosen := choice(c, "framing", v, FramingTCP, FramingRTU, FramingASCII)
	if named && chosen != f {
		c.failf("framing", "%s, but the endpoint's scheme says %s; remove one of them", chosen, f)
	}
	return chosen
}

// choice returns the value among the choices, the first of which is the default.
func choice[T ~string](c *checker, key string, v *string, choices ...T) T {
	if v == nil {
		return choices[0]
	}
	if slices.Contains(choices, T(*v)) {
		return T(*v)
	}
	c.failf(key, "%q, expected one of %v", *v, choices)
	return choices[0]
}
