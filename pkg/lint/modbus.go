package lint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Limits of the Modbus Application Protocol V1.1b3, section 6.
const (
	modbusAddresses = 1 << 16
	modbusMaxRegs   = 125  // registers in one read
	modbusMaxBits   = 2000 // coils or discrete inputs in one read
	modbusMaxWrite  = 123  // registers in one write
	modbusDefRegs   = 120  // max_regs_per_req when left out
)

// modbusChecker checks drivers with proto: modbus.
type modbusChecker struct{}

// modbusCfg is what of a driver's cfg the checks need. The schema has checked
// it; what is missing or odd has its default.
type modbusCfg struct {
	unitID      int64
	polling     time.Duration
	maxRegs     int
	maxGap      int
	maxInflight int64
	requestGap  time.Duration
	framing     string
	protocol    bool // addressing: protocol
	enableWrite bool
	serial      bool
}

func readModbusCfg(d *Driver) modbusCfg {
	integer := func(key string, def int64) int64 {
		if n, ok := d.Item.Cfg[key].(int64); ok {
			return n
		}
		return def
	}
	duration := func(key string) time.Duration {
		s, _ := d.Item.Cfg[key].(string)
		v, err := config.ParseDuration(s)
		if err != nil {
			return 0 // the schema has said so
		}
		return v.Std()
	}
	c := modbusCfg{
		unitID:      integer("unit_id", -1),
		polling:     duration("polling"),
		maxRegs:     int(min(integer("max_regs_per_req", modbusDefRegs), modbusMaxRegs)),
		maxGap:      int(integer("max_gap", 0)),
		maxInflight: integer("max_inflight", 1),
		requestGap:  duration("request_gap"),
		protocol:    d.Item.Cfg["addressing"] == "protocol",
		enableWrite: d.Item.Cfg["enable_write"] == true,
		serial:      d.Endpoint != nil && isSerial(d.Endpoint),
	}
	c.framing = "tcp"
	if c.serial {
		c.framing = "rtu"
	}
	if f, ok := d.Item.Cfg["framing"].(string); ok {
		c.framing = f
	}
	return c
}

// Check implements Checker.
func (modbusChecker) Check(d *Driver, r *Report) {
	c := readModbusCfg(d)
	c.checkTogether(d, r)
	ranges := make([]modbusRange, 0, len(d.Variables))
	for i := range d.Variables {
		v := &d.Variables[i]
		if m, ok := c.resolve(v, r); ok {
			ranges = append(ranges, m)
		}
	}
	checkOverlaps(ranges, r)
}

// checkTogether finds settings that contradict each other or the line.
func (c *modbusCfg) checkTogether(d *Driver, r *Report) {
	bad := func(key, format string, args ...any) {
		r.Errorf(config.Drivers, d.ID, []string{"cfg", key}, "modbus-cfg", "cfg."+key+": "+format, args...)
	}
	if c.unitID > 247 && c.unitID < 255 {
		bad("unit_id", "%d is reserved; expected 0 to 247, or 255", c.unitID)
	}
	if c.serial && c.framing == "tcp" {
		bad("framing", "tcp on a serial line; expected rtu or ascii")
	}
	if c.serial && c.unitID == 255 {
		bad("unit_id", "255 on a serial line; expected 0 to 247")
	}
	if c.maxInflight > 1 && c.framing != "tcp" {
		bad("max_inflight", "%d, but framing %s has no transaction ids to tell answers apart; expected 1", c.maxInflight, c.framing)
	}
	if c.maxInflight > 1 && c.requestGap > 0 {
		bad("request_gap", "contradicts max_inflight %d; remove one of them", c.maxInflight)
	}
}

// checkUnits finds drivers that ask the same unit of one endpoint: their polls
// and back-offs know nothing of each other.
func checkUnits(snap *config.Snapshot, r *Report) {
	type unit struct {
		endpoint string
		id       any
	}
	first := make(map[unit]string)
	for _, id := range slices.Sorted(maps.Keys(snap.Drivers)) {
		d := snap.Drivers[id]
		u := unit{d.EndpointID, d.Cfg["unit_id"]}
		if _, isID := u.id.(int64); !isID || d.Proto != "modbus" || d.Kind != config.KindStatic {
			continue
		}
		if other, taken := first[u]; taken {
			r.Warnf(config.Drivers, id, []string{"cfg", "unit_id"}, "modbus-unit",
				"cfg.unit_id: %d of the endpoint %s is polled by %s already; one driver can have all variables of a unit", u.id, u.endpoint, other)
			continue
		}
		first[u] = id
	}
}

// modbusRange is what a variable reads.
type modbusRange struct {
	v     *config.Variable
	table config.AddressType
	start int // zero-based protocol address
	count int // registers, or bits of coils and discrete inputs
}

func (m *modbusRange) bits() bool {
	return m.table == config.AddrCoil || m.table == config.AddrDiscrete
}

func (m *modbusRange) end() int { return m.start + m.count }

// String names the range as listings do.
func (m *modbusRange) String() string {
	if m.count == 1 {
		return fmt.Sprintf("%s %d", m.table, m.start)
	}
	return fmt.Sprintf("%s %d–%d", m.table, m.start, m.end()-1)
}

// resolve finds the registers of a variable, and what is wrong with them.
func (c *modbusCfg) resolve(v *config.Variable, r *Report) (m modbusRange, ok bool) {
	fail := func(path []string, format string, args ...any) (modbusRange, bool) {
		r.Errorf(config.Variables, v.Tag, path, "modbus-address", format, args...)
		return m, false
	}
	m = modbusRange{v: v, table: v.Address.Type}
	var problem string
	switch v.Address.Type {
	case config.AddrHolding, config.AddrInput, config.AddrCoil, config.AddrDiscrete:
	default:
		return fail([]string{"address", "type"}, "address.type: %s is not of Modbus; expected holding, input, coil or discrete", v.Address.Type)
	}
	if m.start, problem = c.protocolAddress(&v.Address); problem != "" {
		return fail([]string{"address", "addr"}, "address.addr: %s", problem)
	}
	var path []string
	if m.bits() {
		m.count, path, problem = bitCount(v)
	} else {
		m.count, path, problem = c.registerCount(v, r)
	}
	if problem != "" {
		return fail(path, "%s", problem)
	}
	if m.end() > modbusAddresses {
		return fail([]string{"address", "addr"}, "address.addr: %s ends beyond 65535", &m)
	}
	if problem := c.accessProblem(v, &m); problem != "" {
		return fail([]string{"access"}, "access: %s", problem)
	}
	if v.Access.Writable() && !c.enableWrite {
		r.Warnf(config.Variables, v.Tag, []string{"access"}, "modbus-write",
			"access: %s, but the driver %s has no enable_write: true in its cfg; writes will be refused", v.Access, v.DriverID)
	}
	return m, true
}

// modicon is a range of Modicon numbers and the table that it stands for.
type modicon struct {
	first, last uint32
	table       config.AddressType
}

func modiconRanges() [6]modicon {
	return [6]modicon{
		{10001, 19999, config.AddrDiscrete}, {100001, 165536, config.AddrDiscrete},
		{30001, 39999, config.AddrInput}, {300001, 365536, config.AddrInput},
		{40001, 49999, config.AddrHolding}, {400001, 465536, config.AddrHolding},
	}
}

// protocolAddress translates Modicon notation, unless the driver turned it off.
func (c *modbusCfg) protocolAddress(a *config.Address) (addr int, problem string) {
	if !c.protocol {
		for _, m := range modiconRanges() {
			if a.Addr < m.first || a.Addr > m.last {
				continue
			}
			if m.table != a.Type {
				return 0, fmt.Sprintf("%d is Modicon notation for %s, but type is %s; correct one of them, or set addressing: protocol in the driver's cfg if %d is a zero-based address",
					a.Addr, m.table, a.Type, a.Addr)
			}
			return int(a.Addr - m.first), ""
		}
	}
	if a.Addr >= modbusAddresses {
		return 0, fmt.Sprintf("expected 0 to 65535 or Modicon notation, got %d", a.Addr)
	}
	return int(a.Addr), ""
}

// bitCount returns how many coils or discrete inputs a variable takes.
func bitCount(v *config.Variable) (n int, path []string, problem string) {
	limit := map[config.DataType]int{config.TypeBool: 1, config.TypeUint16: 16, config.TypeUint32: 32,
		config.TypeUint64: 64, config.TypeBinary: modbusMaxBits - 32}[v.Datatype]
	if limit == 0 {
		return 0, []string{"datatype"}, fmt.Sprintf("datatype: %s cannot be made of bits; expected bool, uint16, uint32, uint64 or binary", v.Datatype)
	}
	path = []string{"address", "len"}
	n = int(max(v.Address.Len, 1))
	switch {
	case v.Datatype == config.TypeBinary && v.Address.Len == 0:
		return 0, []string{"address"}, "address.len: binary needs the number of bits"
	case n > limit:
		return 0, path, fmt.Sprintf("address.len: %d bits, but a %s has at most %d", n, v.Datatype, limit)
	}
	return n, path, ""
}

// registersOf returns how many registers a data type needs, 0 where len says.
func registersOf(t config.DataType) int {
	switch t {
	case config.TypeUint32, config.TypeInt32, config.TypeFloat32, config.TypeBCD32:
		return 2
	case config.TypeUint64, config.TypeInt64, config.TypeFloat64:
		return 4
	case config.TypeString, config.TypeBinary:
		return 0
	}
	return 1
}

// registerCount returns how many registers a variable takes.
func (c *modbusCfg) registerCount(v *config.Variable, r *Report) (n int, path []string, problem string) {
	path = []string{"address", "len"}
	n = registersOf(v.Datatype)
	length := int(v.Address.Len)
	switch {
	case n == 0 && length == 0:
		return 0, []string{"address"}, fmt.Sprintf("address.len: %s needs the number of registers", v.Datatype)
	case n == 0:
		n = length
	case length != 0 && length < n:
		return 0, path, fmt.Sprintf("address.len: %d, but %s needs %d registers", length, v.Datatype, n)
	case length > n:
		r.Warnf(config.Variables, v.Tag, path, "modbus-len", "address.len: %d registers, but %s needs %d", length, v.Datatype, n)
	}
	if n > c.maxRegs {
		return 0, path, fmt.Sprintf("address.len: %d registers do not fit one request (max_regs_per_req: %d)", n, c.maxRegs)
	}
	if v.Address.Bit != nil && v.Datatype != config.TypeBool {
		return 0, []string{"address", "bit"}, fmt.Sprintf("address.bit: picks a bit for datatype bool, but this is %s", v.Datatype)
	}
	return n, path, ""
}

// accessProblem tells what the protocol cannot do.
func (c *modbusCfg) accessProblem(v *config.Variable, m *modbusRange) string {
	if v.Access.Writable() {
		switch {
		case m.table == config.AddrInput || m.table == config.AddrDiscrete:
			return fmt.Sprintf("%s, but %s is read-only; expected R", v.Access, m.table)
		case !m.bits() && m.count > modbusMaxWrite:
			return fmt.Sprintf("%s, but at most %d registers can be written at once", v.Access, modbusMaxWrite)
		}
	}
	if c.serial && c.unitID == 0 && v.Access.Readable() {
		return fmt.Sprintf("%s, but unit_id 0 on a serial line is a broadcast, which nobody answers; expected W", v.Access)
	}
	return ""
}

// checkOverlaps finds variables that share registers in a way that is likely a
// slip: the same reading twice, or ranges that overlap in part. Several views of
// exactly the same registers (bits, another type) are usual.
func checkOverlaps(ranges []modbusRange, r *Report) {
	slices.SortFunc(ranges, func(a, b modbusRange) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.start, b.start), cmp.Compare(a.count, b.count), cmp.Compare(a.v.Tag, b.v.Tag))
	})
	var reach *modbusRange // that ends last, of those before
	for i := range ranges {
		m := &ranges[i]
		path := []string{"address"}
		if t := twin(ranges[:i], m); t != nil {
			r.Warnf(config.Variables, m.v.Tag, path, "modbus-overlap", "address: %s is read the same way by %s", m, t.v.Tag)
		} else if reach != nil && reach.table == m.table && reach.end() > m.start && !reach.sameRange(m) {
			r.Warnf(config.Variables, m.v.Tag, path, "modbus-overlap", "address: %s overlaps %s of %s", m, reach, reach.v.Tag)
		}
		if reach == nil || reach.table != m.table || m.end() > reach.end() {
			reach = m
		}
	}
}

func (m *modbusRange) sameRange(o *modbusRange) bool {
	return m.table == o.table && m.start == o.start && m.count == o.count
}

// twin finds a variable among the last of before that reads the same as m.
func twin(before []modbusRange, m *modbusRange) *modbusRange {
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

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
