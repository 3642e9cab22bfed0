package modbus

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// How long a question may take of a line that drivers use.
const (
	minSharedTimeout = 10 * time.Millisecond
	maxSharedProbe   = 5 * time.Second
	maxSharedScan    = scanPatience
	maxSharedUnits   = 256
)

const (
	defaultProbeTimeout = "2s" // on a connection of the question's own
	defaultScanTimeout  = "200ms"
	defaultRead         = "40001"
	defaultUnits        = "1-247"
)

// questionOptions are those that probe and scan share.
func questionOptions(timeout string, more ...driver.Option) []driver.Option {
	return append(more,
		driver.Option{Name: "framing", Type: "string", Usage: "tcp, rtu or ascii (default: what suits the URL)"},
		driver.Option{Name: "read", Type: "string", Default: defaultRead,
			Usage: "what to read: ADDR, ADDR:LEN, or TYPE:ADDR:LEN with holding, input, coil, discrete"},
		driver.Option{Name: "timeout", Type: "duration", Default: timeout, Usage: "how long to wait for an answer"})
}

// questionOf reads the options that probe and scan share.
func questionOf(a driver.Args, timeout string) (Question, error) {
	q, err := ParseQuestion(a.Get("read", defaultRead))
	if err != nil {
		return q, driver.Argsf("--read %w", err)
	}
	switch f := Framing(a.Get("framing", "")); f {
	case "", FramingTCP, FramingRTU, FramingASCII:
		q.Framing = f
	default:
		return q, driver.Argsf("--framing %s: expected tcp, rtu or ascii", f)
	}
	d, err := config.ParseDuration(a.Get("timeout", timeout))
	if err == nil && d <= 0 {
		err = fmt.Errorf("expected more than zero")
	}
	if err != nil {
		return q, driver.Argsf("--timeout %s: %w", a.Get("timeout", timeout), err)
	}
	q.Timeout = d.Std()
	return q, nil
}

// shared bounds q where drivers wait meanwhile, and has it asked as the driver of that
// unit asks, or else another one of the endpoint.
func (q *Question) shared(to driver.Target, given bool, longest time.Duration) error {
	if given && (q.Timeout < minSharedTimeout || q.Timeout > longest) {
		return driver.Argsf("timeout %v: expected %v to %v, because polls wait meanwhile", q.Timeout, minSharedTimeout, longest)
	}
	for _, d := range to.Drivers {
		if unit, _ := d.Cfg["unit_id"].(int64); q.Cfg == nil || unit == int64(q.Unit) {
			q.Cfg = d.Cfg
		}
	}
	return nil
}

// probing is what probe was asked for.
type probing struct {
	Question
	expect *float64 // what the device displays; nil: nobody said
}

func probingOf(a driver.Args) (p probing, err error) {
	if p.Question, err = questionOf(a, defaultProbeTimeout); err != nil {
		return p, err
	}
	unit, err := number.Int(a.Get("unit", "1"), 0, math.MaxUint8)
	if err != nil {
		return p, driver.Argsf("--unit %s: %w", a.Get("unit", "1"), err)
	}
	p.Unit = uint8(unit)
	if text, given := a.Options["expect"]; given {
		v, err := number.Float(text)
		if err != nil {
			return p, driver.Argsf("--expect %s: %w", text, err)
		}
		p.expect, p.Around = &v, true
	}
	return p, nil
}

// probeAbility asks one device once.
func probeAbility() *driver.Ability {
	return &driver.Ability{
		Help: `Of a Modbus device it shows every way in which the answer can be read. With
--expect, the value on the device's display, it finds the data type, byte order,
scale and address that give it.`,
		Example: `  edge-ctl probe tcp://192.168.10.5:502 --read 40001:2
  edge-ctl probe plc1 --unit 3 --read 40001
  edge-ctl probe tcp://192.168.10.5:502 --unit 3 --read input:0:4
  edge-ctl probe 'serial:///dev/ttyUSB0?baud=19200&parity=E' \
    --read 40011:4 --expect 231.4`,
		Options: questionOptions(defaultProbeTimeout,
			driver.Option{Name: "unit", Type: "uint8", Default: "1", Usage: "unit id (1–247; 0 or 255 for a device that is alone on the network)"},
			driver.Option{Name: "expect", Type: "float", Usage: "the value that the device displays: find out how to read it"}),
		Columns: []driver.Column{{Name: "ADDR", Right: true}, {Name: "TYPE"}, {Name: "ORDER"}, {Name: "VALUE", Right: true}, {Name: "SCALE"}},
		Check: func(a driver.Args) error {
			_, err := probingOf(a)
			return err
		},
		Run: runProbe,
	}
}

func runProbe(ctx context.Context, to driver.Target, a driver.Args, emit func(driver.Event) error) (driver.Report, error) {
	var r driver.Report
	p, err := probingOf(a)
	if err != nil {
		return r, err
	}
	if to.Shared {
		_, given := a.Options["timeout"]
		if err := p.shared(to, given, maxSharedProbe); err != nil {
			return r, err
		}
		if !given {
			p.Timeout = 0 // the driver's: its polls wait meanwhile
		}
	}
	answer, err := Probe(ctx, to.Endpoint, to.Item, p.Question)
	if err != nil {
		return r, err
	}
	if to.Shared {
		r.Steps = append(r.Steps, driver.Step{Name: "gateway", Took: answer.Connect, Text: "waited for its turn on the connection, or for a new one"})
	}
	step := driver.Step{Name: "answer", Took: answer.Took, Text: fmt.Sprintf("% x", answer.Data)}
	found := []reading{}
	if answer.Err != nil {
		step.Error = answer.Err.Error()
		r.Failure = fmt.Sprintf("unit %d: %v", p.Unit, answer.Err)
	} else if found = p.readings(answer); p.expect != nil && len(found) == 0 {
		r.Failure = fmt.Sprintf("no way of reading %d gives %v; try --read with more registers, or another address", answer.Addr, *p.expect)
	}
	r.Steps, r.Hints = append(r.Steps, step), answer.Hints
	for _, w := range found {
		if err := emit(driver.Event{Item: &driver.Item{Cells: []string{fmt.Sprint(w.Addr), w.Type, w.Order, w.text, w.Scale}}}); err != nil {
			return r, err
		}
	}
	r.Document, err = driver.Document(probed{
		Unit: p.Unit, Function: p.Func.String(), Addr: answer.Addr, Count: answer.Count, ConnectMs: driver.Milliseconds(answer.Connect),
		TookMs: driver.Milliseconds(answer.Took), Data: hex.EncodeToString(answer.Data), Error: step.Error, Readings: found,
	})
	return r, err
}

// probed is the document of a probe.
type probed struct {
	Unit      uint8     `json:"unit"`
	Function  string    `json:"function"`
	Addr      uint16    `json:"addr"` // zero-based, of the first item read
	Count     uint16    `json:"count"`
	ConnectMs float64   `json:"connect_ms"`
	TookMs    float64   `json:"took_ms"`
	Data      string    `json:"data,omitempty"` // hex, in the order of the line
	Error     string    `json:"error,omitempty"`
	Readings  []reading `json:"readings"`
}

// reading is one way to read the data.
type reading struct {
	Addr  uint16          `json:"addr"`
	Type  string          `json:"type"`
	Order string          `json:"byte_order"`
	Value json.RawMessage `json:"value"`
	Scale string          `json:"scale,omitempty"`

	text string
}

// mostRanked bounds the ways that are shown of an expected value: those behind are
// guesses.
const mostRanked = 20

// readings are the ways to read an answer; those that give the expected value, if there
// is one.
func (p *probing) readings(a Answer) []reading {
	out := []reading{}
	if p.Func.bits() {
		for i := range int(a.Count) {
			on := fmt.Sprint(a.Data[i/8]>>(i%8)&1 != 0)
			out = append(out, reading{Addr: a.Addr + uint16(i), Type: "bool", Value: json.RawMessage(on), text: on})
		}
		return out
	}
	ways := Interpret(a.Addr, a.Data)
	if p.expect != nil {
		ways = Rank(ways, *p.expect, p.Addr)
		ways = ways[:min(len(ways), mostRanked)]
	}
	for _, w := range ways {
		if !w.Value.IsNone() {
			out = append(out, reading{w.Addr, string(w.Type), w.Order.String(), w.Value.AppendJSON(nil), w.Scale, w.Value.String()})
		}
	}
	return out
}

// scanning is what scan was asked for.
type scanning struct {
	Question
	units []uint8
	lines bool // try the usual settings of a serial line
}

func scanningOf(a driver.Args) (s scanning, err error) {
	if s.Question, err = questionOf(a, defaultScanTimeout); err != nil {
		return s, err
	}
	s.lines = a.Options["line-settings"] == "true"
	s.units, err = parseUnits(a.Get("units", defaultUnits))
	return s, err
}

// parseUnits reads a list of numbers and ranges.
func parseUnits(list string) ([]uint8, error) {
	var ids []uint8
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		lo, err1 := number.Int(from, 0, math.MaxUint8)
		hi, err2 := number.Int(to, 0, math.MaxUint8)
		if err := cmp.Or(err1, err2); err != nil {
			return nil, driver.Argsf("--units %s: expected numbers from 0 to 255 and ranges, such as 1,2,10-20: %w", list, err)
		}
		if lo > hi {
			return nil, driver.Argsf("--units %s: %s ends before it begins", list, part)
		}
		for id := lo; id <= hi; id++ {
			ids = append(ids, uint8(id))
		}
	}
	return ids, nil
}

// scanAbility looks for devices.
func scanAbility() *driver.Ability {
	return &driver.Ability{
		Help: `On a Modbus line, scan asks every unit id in turn and lists those that answer, be
it with an exception. With --line-settings it tries the usual baud rates and
parities of a serial line, until one of them finds devices.`,
		Example: `  edge-ctl scan plc1 --units 1-16
  edge-ctl scan tcp://192.168.10.5:502 --units 1-16
  edge-ctl scan serial:///dev/ttyUSB0 --line-settings
  edge-ctl scan 'serial:///dev/ttyUSB0?baud=9600&parity=E' --timeout 300ms`,
		Options: questionOptions(defaultScanTimeout,
			driver.Option{Name: "units", Type: "string", Default: defaultUnits, Usage: "unit ids: 1-247, or a list such as 1,2,10-20"},
			driver.Option{Name: "line-settings", Type: "bool", Usage: "on a serial line, try the usual baud rates and parities"}),
		Columns: []driver.Column{{Name: "UNIT", Right: true}, {Name: "LINE"}, {Name: "TIME", Right: true}, {Name: "ANSWER", Keep: true}},
		Check: func(a driver.Args) error {
			_, err := scanningOf(a)
			return err
		},
		Alone: func(a driver.Args) string {
			if s, err := scanningOf(a); err != nil || !s.lines {
				return ""
			}
			return "trying other line settings needs the line alone"
		},
		Run: runScan,
	}
}

func runScan(ctx context.Context, to driver.Target, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	s, err := scanningOf(a)
	if err != nil {
		return r, err
	}
	found := 0
	each := func(f Found, line string) error {
		found++
		item, err := foundItem(f, line)
		if err != nil {
			return err
		}
		return emit(driver.Event{Item: &item})
	}
	if to.Shared {
		err = s.shareLine(ctx, to, func(f Found, answered bool) error {
			if answered {
				return each(f, to.ID)
			}
			return emit(driver.Event{Progress: fmt.Sprintf("unit %d, %d found", f.Unit, found)})
		})
	} else {
		err = s.haveLine(ctx, to, each, func(line Line, unit uint8) error {
			return emit(driver.Event{Progress: fmt.Sprintf("%s: unit %d, %d found", line, unit, found)})
		})
	}
	if err == nil && found == 0 {
		r.Failure = "no device answered; try a longer --timeout, another --framing, or --line-settings on a serial line"
	}
	return r, err
}

// foundItem describes a device.
func foundItem(f Found, line string) (driver.Item, error) {
	answer := "value"
	if f.Err != nil {
		answer = f.Err.Error()
	}
	took := driver.Milliseconds(f.Took)
	doc, err := driver.Document(struct {
		Unit   uint8   `json:"unit"`
		Line   string  `json:"line"` // "19200 even", "network", or the gateway's endpoint
		TookMs float64 `json:"took_ms"`
		Answer string  `json:"answer"` // "value", or the exception
	}{f.Unit, line, took, answer})
	return driver.Item{Cells: []string{fmt.Sprint(f.Unit), line, fmt.Sprintf("%.1f ms", took), answer}, Document: doc}, err
}

// shareLine scans a line that drivers use.
func (s *scanning) shareLine(ctx context.Context, to driver.Target, each func(f Found, answered bool) error) error {
	if len(s.units) > maxSharedUnits {
		return driver.Argsf("%d units: expected 1 to %d", len(s.units), maxSharedUnits)
	}
	if err := s.shared(to, true, maxSharedScan); err != nil {
		return err
	}
	return ScanShared(ctx, to.Endpoint, to.Item, s.Question, s.units, each)
}

// haveLine scans a line that nobody else uses.
func (s *scanning) haveLine(ctx context.Context, to driver.Target, each func(Found, string) error, progress func(Line, uint8) error) error {
	u, err := endpoint.FromTable(to.Item.Scheme, to.Item.Host, to.Item.Port, to.Item.Opts)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	until := func(err error) {
		if err != nil {
			cancel(err) // nobody takes what is found any more
		}
	}
	serial := u.Transport() == endpoint.Serial
	scanner := &Scanner{
		Open:     func(ctx context.Context, line Line) (net.Conn, error) { return openLine(ctx, to, line) },
		Endpoint: to.Item, Lines: []Line{{}}, Units: s.units, Question: s.Question,
		Found:    func(f Found) { until(each(f, f.Line.String())) },
		Progress: func(line Line, unit uint8) { until(progress(line, unit)) },
	}
	switch {
	case s.lines && !serial:
		return driver.Argsf("--line-settings is for serial:// only")
	case s.lines:
		scanner.Lines = Lines()
	case serial:
		scanner.Lines = []Line{asGiven(u.Options())}
	}
	err = scanner.Run(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// asGiven is the setting that the options of an endpoint ask for.
func asGiven(o endpoint.Options) Line {
	return Line{Baud: o.Baud, Parity: map[string]string{"N": "none", "E": "even", "O": "odd"}[o.Parity]}
}

// openLine dials to; on a serial line with other settings.
func openLine(ctx context.Context, to driver.Target, line Line) (net.Conn, error) {
	opts := maps.Clone(to.Item.Opts)
	if line.Baud != 0 {
		opts["baud"], opts["parity"] = strconv.Itoa(line.Baud), strings.ToUpper(line.Parity[:1])
	}
	return to.Dial(ctx, opts)
}
