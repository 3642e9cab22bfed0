package modbus

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Point is a variable as the device knows it: resolved, checked, ready to be
// read, decoded and written.
type Point struct {
	Func  Func            // that reads it: 0x01 to 0x04
	Addr  uint16          // zero-based protocol address
	Count uint16          // registers, or bits of coils and discrete inputs
	Type  config.DataType // how they are read
	Order ByteOrder
	Bit   int8 // 0–15: one bit of a register; -1: none

	lone    bool  // not to be merged with others
	width   uint8 // bytes of a register; 0: 2
	stretch int   // registers of another stretch have another size, or may have: see Settings.stretch
	block   block // what it is read with; none: what suits

	kind          kind
	hi            bool   // the upper half of the register
	apart         bool   // its two registers are not next to each other
	first, second uint16 // bytes from the beginning of its registers, with apart
	text          textFormat
	index         int                // in the driver's table
	at, end       uint16             // bytes of the answer where its registers begin and end; set by the plan
	bit0          uint16             // bit of the answer where its bits begin; set by the plan
	read          prometheus.Counter // counts readings; nil without a series of its own
}

// String returns the resolved address, such as "holding 0 (2 registers)".
func (p *Point) String() string {
	unit := "register"
	if p.Func.bits() {
		unit = "bit"
	}
	if p.Count != 1 {
		unit += "s"
	}
	s := fmt.Sprintf("%s %d (%d %s)", addressType(p.Func), p.Addr, p.Count, unit)
	if p.Bit >= 0 {
		s += fmt.Sprintf(" bit %d", p.Bit)
	}
	return s
}

func addressType(f Func) config.AddressType {
	switch f {
	case FuncReadCoils:
		return config.AddrCoil
	case FuncReadDiscrete:
		return config.AddrDiscrete
	case FuncReadInput:
		return config.AddrInput
	}
	return config.AddrHolding
}

// Resolve turns a variable's address and data type into a [Point]. Warnings are
// for lint: what works, but is likely not meant. Errors name the field.
func (s *Settings) Resolve(v *config.Variable) (p Point, warnings []*config.FieldError, err error) {
	p = Point{Type: v.Datatype, Order: s.Order, Bit: -1}
	if p.Func, err = readFunc(v.Address.Type); err != nil {
		return p, nil, err
	}
	if p.Addr, err = s.protocolAddress(v.Address); err != nil {
		return p, nil, err
	}
	if v.ByteOrder != "" {
		if p.Order, err = ParseByteOrder(v.ByteOrder); err != nil {
			return p, nil, config.FieldErrorf("byte_order", "%v", err)
		}
	}
	if p.text.charset, err = driver.Charset(v.Charset); err != nil {
		return p, nil, config.FieldErrorf("charset", "%v", err)
	}
	p.text.single, p.text.padLeft = v.Address.Chars == 1, v.Pad == "left"
	p.hi = v.Address.Byte == "hi"
	if p.Func.bits() {
		err = p.sizeBits(v)
	} else {
		p.width, p.stretch = uint8(s.width(p.Func, p.Addr)), s.stretch(p.Func, p.Addr)
		warnings, err = p.sizeRegisters(v, min(s.MaxRegs, s.readLimit(p.Func, p.Addr)))
	}
	if err == nil && v.Address.Addr2 != 0 {
		err = s.setApart(&p, v)
	}
	if err == nil {
		err = checkForms(v)
	}
	if err != nil {
		return p, nil, err
	}
	if end := int(p.Addr) + int(p.Count); end > 1<<16 {
		return p, nil, config.FieldErrorf("address.addr", "%s ends at %d, beyond 65535", &p, end-1)
	}
	if !s.uniform(p.Func, p.Addr, p.Count) {
		return p, nil, config.FieldErrorf("address.addr", "%s crosses the border of a range of cfg.wide_registers", &p)
	}
	if err := s.place(v, &p); err != nil {
		return p, nil, err
	}
	if err := s.checkAccess(v, &p); err != nil {
		return p, warnings, err
	}
	_, err = s.verifyPoint(v, p)
	return p, warnings, err
}

func readFunc(t config.AddressType) (Func, error) {
	switch t {
	case config.AddrHolding:
		return FuncReadHolding, nil
	case config.AddrInput:
		return FuncReadInput, nil
	case config.AddrCoil:
		return FuncReadCoils, nil
	case config.AddrDiscrete:
		return FuncReadDiscrete, nil
	}
	return 0, config.FieldErrorf("address.type", "%s is not of Modbus; expected holding, input, coil or discrete", t)
}

// modicon is a range of Modicon numbers and the table that it stands for.
type modicon struct {
	first, last uint32
	table       config.AddressType
}

// modiconOf returns the range that addr lies in.
func modiconOf(addr uint32) (modicon, bool) {
	for _, m := range [...]modicon{
		{10001, 19999, config.AddrDiscrete}, {100001, 165536, config.AddrDiscrete},
		{30001, 39999, config.AddrInput}, {300001, 365536, config.AddrInput},
		{40001, 49999, config.AddrHolding}, {400001, 465536, config.AddrHolding},
	} {
		if addr >= m.first && addr <= m.last {
			return m, true
		}
	}
	return modicon{}, false
}

// Notation says how an address can be read.
type Notation struct {
	Modicon  uint16 // as Modicon notation of its table, with Ambiguous
	Protocol uint16 // as a zero-based protocol address
	// Ambiguous means that both readings are possible: 40001 of holding registers is
	// register 0 or register 40001.
	Ambiguous bool
	// Plain means that only the second is, and that it has as many digits as the first
	// would have: 40000 or 50000 of holding registers. Small numbers are zero-based in
	// either notation.
	Plain bool
}

// NotationOf tells how the address of a variable can be read. Neither holds for an
// address of another protocol, of another table, or of six digits.
func NotationOf(a config.Address) Notation {
	m, ok := modiconOf(a.Addr)
	switch {
	case a.Addr > 0xFFFF:
		return Notation{}
	case ok && m.table == a.Type:
		return Notation{Modicon: uint16(a.Addr - m.first), Protocol: uint16(a.Addr), Ambiguous: true}
	case ok:
		return Notation{}
	}
	return Notation{Protocol: uint16(a.Addr), Plain: a.Addr >= 10000}
}

// protocolAddress translates Modicon notation, unless the driver turned it off.
func (s *Settings) protocolAddress(a config.Address) (uint16, error) {
	if s.Addressing == AddressingModicon {
		if m, ok := modiconOf(a.Addr); ok {
			if m.table != a.Type {
				return 0, config.FieldErrorf("address.addr", "%d is Modicon notation for %s, but type is %s; "+
					"correct one of them, or set addressing: protocol in the driver's cfg if %d is a zero-based address",
					a.Addr, m.table, a.Type, a.Addr)
			}
			return uint16(a.Addr - m.first), nil
		}
	}
	if a.Addr > 0xFFFF {
		return 0, config.FieldErrorf("address.addr", "expected 0 to 65535 or Modicon notation, got %d", a.Addr)
	}
	return uint16(a.Addr), nil
}

// sizeBits finds how many coils or discrete inputs v takes.
func (p *Point) sizeBits(v *config.Variable) error {
	var ok bool
	if p.kind, _, ok = kindOf(v.Datatype); !ok {
		return unknownType(v.Datatype)
	}
	if v.Address.Bit != nil {
		return config.FieldErrorf("address.bit", "a %s is a bit already; remove it", v.Address.Type)
	}
	p.Count = max(v.Address.Len, 1)
	limit := map[kind]uint16{kindBool: 1, kindUint16: 16, kindUint32: 32, kindUint64: 64, kindBinary: maxWriteBits}[p.kind]
	switch {
	case limit == 0:
		return config.FieldErrorf("datatype", "%s cannot be made of bits; expected bool, uint16, uint32, uint64 or binary", v.Datatype)
	case p.kind == kindBinary && v.Address.Len == 0:
		return config.FieldErrorf("address.len", "binary needs the number of bits")
	case p.Count > limit:
		return config.FieldErrorf("address.len", "%d bits, but a %s has at most %d", p.Count, v.Datatype, limit)
	}
	return nil
}

// sizeRegisters finds how many registers v takes.
func (p *Point) sizeRegisters(v *config.Variable, limit uint16) (warnings []*config.FieldError, err error) {
	var ok bool
	if p.kind, p.Count, ok = kindOf(v.Datatype); !ok {
		return nil, unknownType(v.Datatype)
	}
	if err := p.widen(v); err != nil {
		return nil, err
	}
	switch n := v.Address.Len; {
	case p.Count == 0 && n == 0:
		return nil, config.FieldErrorf("address.len", "%s needs the number of registers", v.Datatype)
	case p.kind == kindMod10k && (n < 2 || n > 4):
		return nil, config.FieldErrorf("address.len", "%d, but mod10k has 2 to 4 registers", n)
	case p.Count == 0:
		p.Count = n
	case n != 0 && n < p.Count:
		return nil, config.FieldErrorf("address.len", "%d, but %s needs %d registers", n, v.Datatype, p.Count)
	case n > p.Count:
		warnings = append(warnings, config.FieldErrorf("address.len", "%d registers, but %s needs %d", n, v.Datatype, p.Count))
	}
	if p.Count > limit {
		return nil, config.FieldErrorf("address.len", "%d registers do not fit one request (max_regs_per_req: %d)", p.Count, limit)
	}
	if bit := v.Address.Bit; bit != nil {
		if p.kind != kindBool || *bit > 15 {
			return nil, config.FieldErrorf("address.bit", "%d of a %s, expected 0 to 15 with datatype bool", *bit, v.Datatype)
		}
		p.Bit = int8(*bit)
	}
	return warnings, nil
}

// dataTypes returns the data types that registers and bits hold.
func dataTypes() []string {
	return slices.DeleteFunc(config.DataTypes(), func(t string) bool {
		_, _, ok := kindOf(config.DataType(t))
		return !ok
	})
}

func unknownType(t config.DataType) error {
	return config.FieldErrorf("datatype", "%q, expected %s", t, strings.Join(dataTypes(), ", "))
}

// setApart makes p a value of two registers that are not next to each other. They
// are read together with what is between them, so that they belong to one moment.
func (s *Settings) setApart(p *Point, v *config.Variable) error {
	second, err := s.protocolAddress(config.Address{Type: v.Address.Type, Addr: v.Address.Addr2})
	switch {
	case err != nil:
		return config.FieldErrorf("address.addr2", "%v", config.FieldErrors(err)[0].Msg)
	case p.Count != 2 || v.Address.Len > 2 || p.kind == kindString || p.kind == kindBinary:
		return config.FieldErrorf("address.addr2", "is for values of two registers; a %s has %d", v.Datatype, p.Count)
	case second == p.Addr:
		return config.FieldErrorf("address.addr2", "is the same register as addr")
	}
	base, end := min(p.Addr, second), max(p.Addr, second)
	if span := int(end) - int(base) + 1; span > int(s.MaxRegs) {
		return config.FieldErrorf("address.addr2", "%d registers from one to the other do not fit one request (max_regs_per_req: %d)", span, s.MaxRegs)
	}
	p.apart, p.first, p.second = true, 2*(p.Addr-base), 2*(second-base)
	p.Addr, p.Count = base, end-base+1
	return nil
}

// checkForms refuses fields that the data type has no use for.
func checkForms(v *config.Variable) error {
	isByte := v.Datatype == config.TypeUint8 || v.Datatype == config.TypeInt8
	switch {
	case v.Address.Byte != "" && !isByte:
		return config.FieldErrorf("address.byte", "is for int8 and uint8, not for %s", v.Datatype)
	case v.Address.Chars != 0 && v.Datatype != config.TypeString:
		return config.FieldErrorf("address.chars", "is for string, not for %s", v.Datatype)
	case v.Charset != "" && v.Datatype != config.TypeString:
		return config.FieldErrorf("charset", "is for string, not for %s", v.Datatype)
	case v.Pad != "" && v.Datatype != config.TypeString:
		return config.FieldErrorf("pad", "is for string, not for %s", v.Datatype)
	}
	return nil
}

// checkAccess refuses what the protocol cannot do.
func (s *Settings) checkAccess(v *config.Variable, p *Point) error {
	if v.Access.Writable() {
		switch {
		case p.Func == FuncReadInput || p.Func == FuncReadDiscrete:
			return config.FieldErrorf("access", "%s, but %s is read-only; expected R", v.Access, v.Address.Type)
		case p.apart && p.Count > 2:
			return config.FieldErrorf("access", "%s, but the two registers could only be written together with those between them; expected R, "+
				"or a variable for each register", v.Access)
		case !p.Func.bits() && p.size() > maxWriteRegisters*registerBytes:
			return config.FieldErrorf("address.len", "%d, at most %d registers can be written at once", p.Count, maxWriteRegisters*registerBytes/(p.size()/int(p.Count)))
		}
	}
	if s.broadcast() && v.Access.Readable() {
		return config.FieldErrorf("access", "%s, but unit_id 0 on a serial line is a broadcast, which nobody answers; expected W", v.Access)
	}
	return nil
}

// size returns how many bytes p's registers have.
func (p *Point) size() int { return int(p.Count) * max(int(p.width), registerBytes) }

// widen makes p.Count, which is of registers of two bytes, one of wide ones.
func (p *Point) widen(v *config.Variable) error {
	if !p.wide() {
		return nil
	}
	bytes, width := registerBytes*int(p.Count), int(p.width)
	switch p.kind {
	case kindString, kindBinary:
		if v.Address.Chars == 1 {
			return config.FieldErrorf("address.chars", "1, but a register here has %d bytes (cfg.wide_registers); remove it", width)
		}
		return nil
	case kindUint24, kindInt24, kindYMDHMS, kindMod10k: // made of registers of two bytes
	default:
		if bytes%width == 0 && v.Address.Addr2 == 0 {
			p.Count = uint16(bytes / width)
			return nil
		}
	}
	return config.FieldErrorf("datatype", "%s does not suit a register of %d bytes (cfg.wide_registers); expected a type of %d bytes such as %s, string or binary",
		v.Datatype, width, width, map[bool]string{true: "int32 or float32", false: "int64 or float64"}[width == defaultWide])
}

// wide reports whether p's registers have more than two bytes.
func (p *Point) wide() bool { return p.width > registerBytes }
