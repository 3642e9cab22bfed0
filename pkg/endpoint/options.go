package endpoint

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// Options are an endpoint's options, with defaults filled in. They are
// documented, with units, ranges and examples, by [KnownOptions].
type Options struct {
	Timeout     time.Duration
	MaxConns    int
	IdleTimeout time.Duration // 0: never
	MaxLifetime time.Duration // 0: never
	Backoff     time.Duration
	BackoffMax  time.Duration
	Backup      string // host:port
	Failback    time.Duration

	Rate       Rate
	Burst      int // packets
	BurstBytes int
	HalfDuplex bool
	Turnaround time.Duration

	KeepAlive time.Duration // 0: off
	NoDelay   bool
	Source    string // address

	CA         string // path
	ClientCert string // path
	ClientKey  string // path
	ServerName string
	MinVersion string // "1.2" or "1.3"
	ALPN       string // "": none with TLS, quicALPN with QUIC

	Baud             int
	DataBits         int
	Parity           string // "N", "E" or "O"
	StopBits         string // "1", "1.5" or "2"
	RS485            bool
	RS485RTSOnSend   bool
	RS485RTSAfter    bool
	RS485RxDuringTx  bool
	RS485DelayBefore time.Duration
	RS485DelayAfter  time.Duration
}

// Rate limits what is sent. Zero means no limit.
type Rate struct {
	Packets float64 // writes per second
	Bytes   float64 // bytes per second
}

// String writes the rate as the option rate takes it.
func (r Rate) String() string {
	var parts []string
	if r.Packets > 0 {
		parts = append(parts, strconv.FormatFloat(r.Packets, 'f', -1, 64)+"pps")
	}
	if r.Bytes > 0 {
		parts = append(parts, strconv.FormatFloat(r.Bytes, 'f', -1, 64)+"Bps")
	}
	return strings.Join(parts, ",")
}

// Option describes one option of an endpoint.
type Option struct {
	Name    string
	Type    string // "duration", "integer", "size", "boolean", "rate", "address", "path", "string", or the values joined by |
	Default string // "" where there is none
	Example string
	For     string // which endpoints take it
	Secret  bool   // may be a reference such as ${file:NAME}; never shown
	Doc     string
}

// KnownOptions lists every option, sorted by name.
func KnownOptions() []Option {
	list := make([]Option, len(options))
	for i := range options {
		list[i] = options[i].Option
	}
	return list
}

// scope says which endpoints take an option.
type scope uint8

const (
	anyEndpoint scope = iota
	networkOnly
	tcpOnly
	secureOnly
	tlsOnly
	tlsOrQUIC
	tcpOrQUIC
	serialOnly
	lineSpeed // serial, or a network with half-duplex
)

var scopeText = [...]string{
	anyEndpoint: "all", networkOnly: "tcp, udp", tcpOnly: "tcp", secureOnly: "tls, dtls, quic",
	tlsOnly: "tls", tlsOrQUIC: "tls, quic", tcpOrQUIC: "tcp, quic", serialOnly: "serial", lineSpeed: "serial; tcp and udp with halfduplex=1",
}

func (s scope) covers(k *stack) bool {
	switch s {
	case networkOnly:
		return k.network()
	case tcpOnly:
		return k.base() == TCP
	case secureOnly:
		return k.has(TLS) || k.has(DTLS) || k.has(QUIC)
	case tlsOnly:
		return k.has(TLS)
	case tlsOrQUIC:
		return k.has(TLS) || k.has(QUIC)
	case tcpOrQUIC:
		return k.stream()
	case serialOnly:
		return k.base() == Serial
	case lineSpeed:
		return k.base() == Serial || k.network()
	}
	return true
}

// option is an Option with the field that it sets.
type option struct {
	Option
	scope    scope
	min, max int64 // of durations (ns), integers and sizes
	zero     bool  // 0 is fine too
	verify   func(string) (string, error)
}

// defaults are what options are before any is set.
func defaults(k *stack) Options {
	o := Options{
		Timeout: time.Second, MaxConns: 1, IdleTimeout: 5 * time.Minute,
		Backoff: 500 * time.Millisecond, BackoffMax: 30 * time.Second, Failback: 30 * time.Second,
		Burst: 1, BurstBytes: 1500, KeepAlive: 15 * time.Second, NoDelay: true, MinVersion: "1.2",
		DataBits: 8, Parity: "N", StopBits: "1", RS485RTSOnSend: true,
	}
	if k.base() == Serial {
		o.Baud, o.HalfDuplex = 9600, true
	}
	return o
}

// OptionsOf returns the options of an item of the endpoints table as its connections
// have them. What [FromTable] would refuse is left at its default: it is the endpoint's
// own error, and whoever wants to know a timeout or a speed need not tell it again.
func OptionsOf(scheme string, opts map[string]string) Options {
	k, err := parseStack(scheme)
	if err != nil {
		k = stack{}
	}
	o := defaults(&k)
	for name, text := range opts {
		p := findOption(name)
		if p == nil || o.field(name) == nil {
			continue
		}
		if was := o; p.set(&o, text) != nil {
			o = was
		}
	}
	return o
}

// findOption returns the option of that name, or nil.
func findOption(name string) *option {
	lo, hi := 0, len(options)
	for lo < hi {
		mid := (lo + hi) / 2
		if options[mid].Name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(options) && options[lo].Name == name {
		return &options[lo]
	}
	return nil
}

func unknownOption(name string) error {
	names := make([]string, len(options))
	for i := range options {
		names[i] = options[i].Name
	}
	msg := "no such option"
	if near := config.Nearest(strings.ToLower(name), names); near != "" {
		msg += fmt.Sprintf(", did you mean %q?", near)
	} else {
		msg += "; known are " + strings.Join(names, ", ")
	}
	return &config.FieldError{Path: []string{"opts", name}, Msg: msg, Err: ErrUnknownOption}
}

// set parses text into the option's field of o.
func (p *option) set(o *Options, text string) error {
	var err error
	switch f := o.field(p.Name).(type) {
	case *time.Duration:
		*f, err = parseDuration(text)
		if err == nil && !p.inRange(int64(*f)) {
			err = fmt.Errorf("must be between %s and %s", time.Duration(p.min), time.Duration(p.max))
		}
	case *int:
		if p.Type == "size" {
			*f, err = parseSize(text)
		} else {
			*f, err = parseInteger(text)
		}
		if err == nil && !p.inRange(int64(*f)) {
			err = fmt.Errorf("must be between %d and %d", p.min, p.max)
		}
	case *bool:
		*f, err = parseBool(text)
	case *Rate:
		*f, err = parseRate(text)
	case *string:
		*f, err = p.verify(text)
	}
	if err != nil {
		return fieldError("opts."+p.Name, "%q %v", text, err)
	}
	return nil
}

func (p *option) inRange(v int64) bool { return v >= p.min && v <= p.max || v == 0 && p.zero }

// canonical is the one spelling of the option's value in o.
func (p *option) canonical(o *Options) string {
	switch f := o.field(p.Name).(type) {
	case *time.Duration:
		return f.String()
	case *int:
		return strconv.Itoa(*f)
	case *bool:
		if *f {
			return "1"
		}
		return "0"
	case *Rate:
		return f.String()
	case *string:
		return *f
	}
	return ""
}

// checkTogether refuses options that contradict each other, or that were given
// without one that they need.
func (o *Options) checkTogether(k *stack, given []Param) error {
	for _, p := range given {
		if missing := o.missing(p.Name); missing != "" {
			return fieldError("opts."+p.Name, "has no effect without %s", missing)
		}
		if p.Name == "baud" && k.network() && !o.HalfDuplex {
			return fieldError("opts.baud", "on a network has no effect without halfduplex=1 (it gives the speed of a line behind a serial server)")
		}
	}
	switch {
	case o.BackoffMax < o.Backoff:
		return fieldError("opts.backoff_max", "%s is less than backoff, %s", o.BackoffMax, o.Backoff)
	case k.base() == Serial && o.MaxConns > 1:
		return fieldError("opts.max_conns", "must be 1: a serial line has one owner")
	case o.StopBits == "1.5" && o.DataBits != 5:
		return fieldError("opts.stop_bits", "1.5 exists with data_bits=5 only")
	}
	return nil
}

// missing names what the option needs and o hasn't, or is "".
func (o *Options) missing(name string) string {
	var other string
	var ok bool
	switch name {
	case "burst":
		other, ok = "rate in pps", o.Rate.Packets > 0
	case "burst_bytes":
		other, ok = "rate in Bps", o.Rate.Bytes > 0
	case "turnaround":
		other, ok = "halfduplex=1", o.HalfDuplex
	case "failback":
		other, ok = "backup", o.Backup != ""
	case "client_cert":
		other, ok = "client_key", o.ClientKey != ""
	case "client_key":
		other, ok = "client_cert", o.ClientCert != ""
	case "rs485_rts_on_send", "rs485_rts_after_send", "rs485_rx_during_tx", "rs485_delay_before", "rs485_delay_after":
		other, ok = "rs485=1", o.RS485
	}
	if ok {
		return ""
	}
	return other
}

func parseBool(text string) (bool, error) {
	switch text {
	case "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("is not a boolean: write 1 or 0")
}

// parseInteger takes a whole number.
func parseInteger(text string) (int, error) {
	n, err := number.Int(text, math.MinInt32, math.MaxInt32) // what an int holds everywhere
	if e, ok := errors.AsType[*number.Error](err); ok && e.Kind == number.Doubtful {
		return 0, fmt.Errorf("is not an integer: %w", err)
	}
	if err != nil {
		return 0, errors.New("is not an integer")
	}
	return int(n), nil
}

// parseDuration takes numbers with their units, and 0.
func parseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	if strings.HasPrefix(text, ".") {
		text = "0" + text
	}
	d, err := number.Duration(text)
	if err == nil {
		return d, nil
	}
	if _, leading := errors.AsType[*number.Error](err); leading {
		return 0, errors.New("has a leading zero: write the duration without it")
	}
	return 0, errors.New("is not a duration: write a number and a unit, such as 250ms, 1s or 5m")
}

// parseSize takes bytes, with K, M or G as binary multiples.
func parseSize(text string) (int, error) {
	n, err := number.Size(text)
	if err != nil || n > math.MaxInt32 { // what an int holds everywhere
		return 0, errors.New("is not a size: write bytes without a leading zero, such as 1500 or 64K")
	}
	return int(n), nil
}

// parseRate takes "200pps", "64kBps", both joined by a comma, or a bare number
// of packets per second.
func parseRate(text string) (r Rate, err error) {
	for rest, more := text, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		field, unit := &r.Packets, 1.0
		if b, ok := strings.CutSuffix(part, "Bps"); ok {
			field, part = &r.Bytes, b
			switch {
			case strings.HasSuffix(part, "k"):
				unit, part = 1e3, part[:len(part)-1]
			case strings.HasSuffix(part, "M"):
				unit, part = 1e6, part[:len(part)-1]
			}
		} else {
			part = strings.TrimSuffix(part, "pps")
		}
		n, err := parseDecimal(part)
		if err != nil || *field != 0 || n*unit < 0.001 || n*unit > 1e9 {
			return Rate{}, fmt.Errorf("is not a rate: write packets or bytes per second, such as 200pps, 64kBps or 200pps,64kBps")
		}
		*field = n * unit
	}
	return r, nil
}

// parseDecimal is ParseFloat without exponents, signs, hex and infinities.
func parseDecimal(text string) (float64, error) {
	for i := 0; i < len(text); i++ {
		if (text[i] < '0' || text[i] > '9') && text[i] != '.' {
			return 0, strconv.ErrSyntax
		}
	}
	return number.Float(text)
}

func oneOf(values ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if i := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, text) }); i >= 0 {
			return values[i], nil
		}
		return "", fmt.Errorf("is none of %s", strings.Join(values, ", "))
	}
}

func notEmpty(text string) (string, error) {
	if text == "" {
		return "", fmt.Errorf("is empty")
	}
	return text, nil
}

func anAddress(text string) (string, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return "", fmt.Errorf("is not an IP address")
	}
	return a.String(), nil
}

func hostPort(text string) (string, error) {
	host, port, err := splitHostPort(text)
	if err == nil && port == 0 {
		err = fmt.Errorf("has no port: write host:port")
	}
	if err != nil {
		return "", err
	}
	return joinHostPort(normalHost(host), port), nil
}
