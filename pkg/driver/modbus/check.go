package modbus

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// settingsOf reads a driver's cfg as the driver does.
func settingsOf(d *driver.Setup) (*Settings, error) {
	endpoint := config.Endpoint{Scheme: "tcp"} // what is said of the endpoint itself is enough
	if d.Endpoint != nil {
		endpoint = *d.Endpoint
	}
	return ParseSettings(d.Item.Cfg, endpoint)
}

// check implements [driver.Protocol]. What a setting or an address may be is said where
// it is read; this finds what is wrong between variables, and gives everything its place
// in the tables.
func check(d *driver.Setup, r driver.Findings) {
	s, err := settingsOf(d)
	for _, e := range config.FieldErrors(err) {
		r.Errorf(config.Drivers, d.ID, e.Path, "modbus-cfg", "%v", e)
	}
	checkQuirks(d, s, r)
	ranges, points := make([]registerRange, 0, len(d.Variables)), make([]Point, 0, len(d.Variables))
	for i := range d.Variables {
		v := &d.Variables[i]
		if p, ok := checkVariable(s, v, r); ok {
			points = append(points, p)
			ranges = append(ranges, registerRange{v: v, table: v.Address.Type, start: int(p.Addr), count: int(p.Count)})
		}
	}
	for _, i := range s.UnusedBlocks(points) {
		r.Warnf(config.Drivers, d.ID, []string{"cfg", "blocks", strconv.Itoa(i)}, "modbus-blocks",
			"cfg.blocks: no variable is read with block %d (%s %d, %d long); correct or remove it", i+1, s.Blocks[i].Type, s.Blocks[i].Start, s.Blocks[i].Len)
	}
	checkOverlaps(ranges, r)
	if d.Item.Cfg["addressing"] == nil {
		checkNotations(d, r)
	}
}

// checkAll implements [driver.Protocol].
func checkAll(drivers []driver.Setup, r driver.Findings) {
	checkUnits(drivers, r)
	checkAnyUnit(drivers, r)
	checkLines(drivers, r)
}

// checkNotations finds tables whose addresses are written in two notations: where
// some may be Modicon's (40001) and others of that size can't be (40000, 50000), the
// first are likely read beside what was meant.
func checkNotations(d *driver.Setup, r driver.Findings) {
	type mixture struct{ ambiguous, plain *config.Variable }
	seen := make(map[config.AddressType]*mixture)
	for i := range d.Variables {
		v := &d.Variables[i]
		m := seen[v.Address.Type]
		if m == nil {
			m = new(mixture)
			seen[v.Address.Type] = m
		}
		switch n := NotationOf(v.Address); {
		case n.Ambiguous && m.ambiguous == nil:
			m.ambiguous = v
		case n.Plain && m.plain == nil:
			m.plain = v
		}
	}
	for t, m := range seen {
		if m.ambiguous == nil || m.plain == nil {
			continue
		}
		n := NotationOf(m.ambiguous.Address)
		r.Errorf(config.Variables, m.ambiguous.Tag, []string{"address", "addr"}, "modbus-notation",
			"address.addr: %d may be %s %d (Modicon notation) or %s %d (protocol address), and %d of %s can be a protocol address only: "+
				"say addressing: modicon or addressing: protocol in the cfg of driver %s",
			m.ambiguous.Address.Addr, t, n.Modicon, t, n.Protocol, m.plain.Address.Addr, m.plain.Tag, d.ID)
	}
}

// checkQuirks warns of settings that only some devices want.
func checkQuirks(d *driver.Setup, s *Settings, r driver.Findings) {
	warn := func(key, format string, args ...any) {
		r.Warnf(config.Drivers, d.ID, []string{"cfg", key}, "modbus-line", "cfg."+key+": "+format, args...)
	}
	if s.UnitID > 247 && s.UnitID < 255 {
		warn("unit_id", "%d is reserved; few devices have it (the standard's are 1 to 247)", s.UnitID)
	}
	if s.Ordered() && d.Endpoint != nil {
		if n := endpoint.OptionsOf(d.Endpoint.Scheme, d.Endpoint.Opts).MaxConns; n > 1 {
			r.Warnf(config.Endpoints, d.Item.EndpointID, []string{"opts", "max_conns"}, "modbus-line",
				"opts.max_conns: %d, but nothing in the answers of driver %s tells requests apart (framing %s); expected 1, or requests over one "+
					"connection make those over the other doubtful", n, d.ID, s.Framing)
		}
	}
}

// checkVariable finds the registers of a variable, and what is wrong with them.
func checkVariable(s *Settings, v *config.Variable, r driver.Findings) (p Point, ok bool) {
	p, warnings, err := s.Resolve(v)
	if err != nil {
		for _, e := range config.FieldErrors(err) {
			r.Errorf(config.Variables, v.Tag, e.Path, "modbus-address", "%v", e)
		}
		return p, false
	}
	for _, w := range warnings {
		r.Warnf(config.Variables, v.Tag, w.Path, "modbus-len", "%v", w)
	}
	if v.Access.Writable() && !s.EnableWrite {
		r.Warnf(config.Variables, v.Tag, []string{"access"}, "modbus-write",
			"access: %s, but the driver %s has no enable_write: true in its cfg; writes will be refused", v.Access, v.DriverID)
	}
	return p, true
}

// checkUnits finds drivers that ask the same unit of one endpoint: their polls
// and back-offs know nothing of each other.
func checkUnits(drivers []driver.Setup, r driver.Findings) {
	type unit struct {
		endpoint string
		id       any
	}
	first := make(map[unit]string)
	for _, d := range drivers {
		u := unit{d.Item.EndpointID, d.Item.Cfg["unit_id"]}
		if _, isID := u.id.(int64); !isID {
			continue
		}
		if other, taken := first[u]; taken {
			r.Warnf(config.Drivers, d.ID, []string{"cfg", "unit_id"}, "modbus-unit",
				"cfg.unit_id: %d of the endpoint %s is polled by %s already; one driver can have all variables of a unit", u.id, u.endpoint, other)
			continue
		}
		first[u] = d.ID
	}
}

// checkAnyUnit finds drivers that believe answers of any unit on an endpoint with
// several units.
func checkAnyUnit(drivers []driver.Setup, r driver.Findings) {
	users := make(map[string]int)
	for _, d := range drivers {
		users[d.Item.EndpointID]++
	}
	for _, d := range drivers {
		if d.Item.Cfg["answer_unit"] == "any" && users[d.Item.EndpointID] > 1 {
			r.Warnf(config.Drivers, d.ID, []string{"cfg", "answer_unit"}, "modbus-line",
				"cfg.answer_unit: any, but %d drivers use the endpoint %s; name the unit id that the device answers with", users[d.Item.EndpointID], d.Item.EndpointID)
		}
	}
}

// registerRange is what a variable reads.
type registerRange struct {
	v     *config.Variable
	table config.AddressType
	start int // zero-based protocol address
	count int // registers, or bits of coils and discrete inputs
}

func (m *registerRange) end() int { return m.start + m.count }

// String names the range as listings do.
func (m *registerRange) String() string {
	if m.count == 1 {
		return fmt.Sprintf("%s %d", m.table, m.start)
	}
	return fmt.Sprintf("%s %d–%d", m.table, m.start, m.end()-1)
}

// checkOverlaps finds variables that share registers in a way that is likely a
// slip: the same reading twice, or ranges that overlap in part. Several views of
// exactly the same registers (bits, another type) are usual.
func checkOverlaps(ranges []registerRange, r driver.Findings) {
	slices.SortFunc(ranges, func(a, b registerRange) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.start, b.start), cmp.Compare(a.count, b.count), cmp.Compare(a.v.Tag, b.v.Tag))
	})
	var reach *registerRange // that ends last, of those before
	for i := range ranges {
		m := &ranges[i]
		path := []string{"address"}
		if t := sameBefore(ranges[:i], m); t != nil {
			r.Warnf(config.Variables, m.v.Tag, path, "modbus-overlap", "address: %s is read the same way by %s", m, t.v.Tag)
		} else if reach != nil && reach.table == m.table && reach.end() > m.start && !reach.sameRange(m) {
			r.Warnf(config.Variables, m.v.Tag, path, "modbus-overlap", "address: %s overlaps %s of %s", m, reach, reach.v.Tag)
		}
		if reach == nil || reach.table != m.table || m.end() > reach.end() {
			reach = m
		}
	}
}

func (m *registerRange) sameRange(o *registerRange) bool {
	return m.table == o.table && m.start == o.start && m.count == o.count
}

// sameBefore finds a variable among the last of before that reads the same as m.
func sameBefore(before []registerRange, m *registerRange) *registerRange {
	const far = 64 // more views of one register than anyone has
	for i := len(before) - 1; i >= max(0, len(before)-far) && before[i].sameRange(m); i-- {
		if sameReading(before[i].v, m.v) {
			return &before[i]
		}
	}
	return nil
}

// sameReading reports whether two variables on the same registers always have
// the same value.
func sameReading(a, b *config.Variable) bool {
	bit := func(v *config.Variable) int {
		if v.Address.Bit == nil {
			return -1
		}
		return int(*v.Address.Bit)
	}
	return a.Datatype == b.Datatype && a.ByteOrder == b.ByteOrder && a.Scale == b.Scale && bit(a) == bit(b)
}
