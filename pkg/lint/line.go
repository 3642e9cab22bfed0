package lint

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
)

// line is a serial line's settings, as far as its speed depends on them.
type line struct {
	baud, dataBits int
	parity         string
	stopBits       string
	turnaround     time.Duration
}

func readLine(e *config.Endpoint) line {
	l := line{baud: 9600, dataBits: 8, parity: "N", stopBits: "1"}
	if n, err := strconv.Atoi(e.Opts["baud"]); err == nil && n > 0 {
		l.baud = n
	}
	if n, err := strconv.Atoi(e.Opts["data_bits"]); err == nil && n >= 5 && n <= 8 {
		l.dataBits = n
	}
	if p := e.Opts["parity"]; p != "" {
		l.parity = p
	}
	if s := e.Opts["stop_bits"]; s != "" {
		l.stopBits = s
	}
	if d, err := config.ParseDuration(e.Opts["turnaround"]); err == nil {
		l.turnaround = d.Std()
	}
	return l
}

// String is the usual short form: "9600 baud, 8N1".
func (l line) String() string {
	return fmt.Sprintf("%d baud, %d%s%s", l.baud, l.dataBits, l.parity, l.stopBits)
}

// char is the time that one character takes.
func (l line) char() time.Duration {
	stop, err := strconv.ParseFloat(l.stopBits, 64)
	if err != nil {
		stop = 1
	}
	bits := 1 + float64(l.dataBits) + stop
	if l.parity != "N" {
		bits++
	}
	return time.Duration(bits / float64(l.baud) * float64(time.Second))
}

// silence is the pause that separates two RTU frames: 3.5 characters, 1.75 ms
// above 19200 baud (Modbus over Serial Line V1.02, section 2.5.1.1).
func (l line) silence() time.Duration {
	if l.baud > 19200 {
		return max(1750*time.Microsecond, l.turnaround)
	}
	return max(l.char()*7/2, l.turnaround)
}

// request is the least time that reading a range takes: the request, its answer,
// the silence around both, and no time at all for the device to think.
func (l line) request(framing string, m *modbusRange) time.Duration {
	data := 2 * m.count
	if m.bits() {
		data = (m.count + 7) / 8
	}
	sent, answered := 8, 5+data // RTU: unit, function, …, CRC
	if framing == "ascii" {
		sent, answered = 17, 11+2*data // ":", hexadecimal, LRC, CR LF
		return time.Duration(sent+answered)*l.char() + 2*l.turnaround
	}
	return time.Duration(sent+answered)*l.char() + 2*l.silence()
}

// checkLines computes for each serial line with Modbus drivers whether it can
// carry their polls.
func checkLines(snap *config.Snapshot, groups map[string][]config.Variable, r *Report) {
	lines := make(map[string][]string)
	for id, d := range snap.Drivers {
		if e, ok := snap.Endpoints[d.EndpointID]; ok && isSerial(&e) && d.Proto == "modbus" && d.Kind == config.KindStatic {
			lines[d.EndpointID] = append(lines[d.EndpointID], id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		e := snap.Endpoints[id]
		l := readLine(&e)
		load, requests := 0.0, 0
		for _, drv := range lines[id] {
			d := &Driver{ID: drv, Item: snap.Drivers[drv], Endpoint: &e, Variables: groups[drv]}
			lo, n := driverLoad(l, d)
			load, requests = load+lo, requests+n
		}
		if load > 1 {
			r.Warnf(config.Endpoints, id, nil, "line-capacity",
				"%s (%s) cannot carry its polls: %d requests (drivers: %d) take at least %.2f s of every second; lengthen polling, or raise baud",
				id, l, requests, len(lines[id]), load)
		}
	}
}

// driverLoad returns the part of its time that a line spends on a driver's polls,
// and the number of requests in them.
func driverLoad(l line, d *Driver) (load float64, requests int) {
	s, err := modbusSettings(d)
	if err != nil {
		return 0, 0 // said already
	}
	classes := make(map[time.Duration][]modbusRange)
	for i := range d.Variables {
		v := &d.Variables[i]
		p, ok := resolveModbus(s, v, &Report{})
		every := s.Polling
		if v.Polling > 0 {
			every = v.Polling.Std()
		}
		if ok && v.Access.Readable() && every > 0 {
			classes[every] = append(classes[every], rangeOf(v, &p))
		}
	}
	for every, ranges := range classes {
		for _, m := range merge(ranges, s) {
			load += (l.request(string(s.Framing), &m) + s.RequestGap).Seconds() / every.Seconds()
			requests++
		}
	}
	return load, requests
}

// merge joins ranges into requests as the driver's poll plan does.
func merge(ranges []modbusRange, s *modbus.Settings) []modbusRange {
	slices.SortFunc(ranges, func(a, b modbusRange) int {
		if a.table != b.table {
			return slices.Compare([]byte(a.table), []byte(b.table))
		}
		return a.start - b.start
	})
	var out []modbusRange
	for _, m := range ranges {
		limit, gap := int(s.MaxRegs), int(s.MaxGap)
		if m.bits() {
			limit, gap = modbusMaxBits, 16*int(s.MaxGap)
		}
		if n := len(out); n > 0 && out[n-1].table == m.table && m.start-out[n-1].end() <= gap && m.end()-out[n-1].start <= limit {
			out[n-1].count = max(out[n-1].end(), m.end()) - out[n-1].start
			continue
		}
		out = append(out, m)
	}
	return out
}
