package modbus

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// serialLine is a serial line's settings, as far as its speed depends on them.
type serialLine struct {
	baud, dataBits int
	parity         string
	stopBits       string
	turnaround     time.Duration
}

func readLine(e *config.Endpoint) serialLine {
	o := endpoint.OptionsOf(e.Scheme, e.Opts)
	l := serialLine{baud: o.Baud, dataBits: o.DataBits, parity: o.Parity, stopBits: o.StopBits, turnaround: o.Turnaround}
	if l.baud == 0 { // of the line behind a serial server, which the options need not name
		l.baud = 9600
	}
	return l
}

// String is the usual short form: "9600 baud, 8N1".
func (l serialLine) String() string {
	return fmt.Sprintf("%d baud, %d%s%s", l.baud, l.dataBits, l.parity, l.stopBits)
}

// char is the time that one character takes.
func (l serialLine) char() time.Duration {
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
func (l serialLine) silence() time.Duration {
	if l.baud > 19200 {
		return max(1750*time.Microsecond, l.turnaround)
	}
	return max(l.char()*7/2, l.turnaround)
}

// request is the least time that a read takes whose answer has so many bytes of data:
// the request, its answer, the silence around both, and no time at all for the device
// to think.
func (l serialLine) request(framing Framing, data int) time.Duration {
	sent, answered := 8, 5+data // RTU: unit, function, …, CRC
	if framing == FramingASCII {
		sent, answered = 17, 11+2*data // ":", hexadecimal, LRC, CR LF
		return time.Duration(sent+answered)*l.char() + 2*l.turnaround
	}
	return time.Duration(sent+answered)*l.char() + 2*l.silence()
}

// checkLines computes for each serial line whether it can carry the polls of its
// drivers.
func checkLines(drivers []driver.Setup, r driver.Findings) {
	lines := make(map[string][]driver.Setup)
	for _, d := range drivers {
		if d.Endpoint != nil && slices.Contains(strings.Split(d.Endpoint.Scheme, "+"), "serial") {
			lines[d.Item.EndpointID] = append(lines[d.Item.EndpointID], d)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		l := readLine(lines[id][0].Endpoint)
		load, requests := 0.0, 0
		for i := range lines[id] {
			lo, n := driverLoad(l, &lines[id][i])
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
func driverLoad(l serialLine, d *driver.Setup) (load float64, requests int) {
	s, err := settingsOf(d)
	if err != nil {
		return 0, 0 // said already
	}
	classes := make(map[time.Duration][]Point)
	for i := range d.Variables {
		v := &d.Variables[i]
		p, _, err := s.Resolve(v)
		every, err2 := driver.Interval(v, s.Polling)
		if err == nil && err2 == nil && v.Access.Readable() && every > 0 {
			classes[every] = append(classes[every], p)
		}
	}
	for every, points := range classes {
		for _, run := range s.merge(points) {
			addr, qty := extent(run)
			load += (l.request(s.Framing, s.answerBytes(run[0].Func, addr, qty)) + s.RequestGap).Seconds() / every.Seconds()
			requests++
		}
	}
	return load, requests
}
