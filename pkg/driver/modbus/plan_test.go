package modbus

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

func testPlan(t testing.TB, s *Settings, vars []config.Variable) *plan {
	t.Helper()
	for i := range vars {
		vars[i].DriverID = "d"
		if vars[i].Access == "" {
			vars[i].Access = config.AccessR
		}
	}
	table, err := point.Compile("d", vars, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlan(s, table, readEncoder(s.Framing.packager(s.UnitID)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// requestsOf lists a plan's requests as FUNC:ADDR+QTY, by interval.
func requestsOf(p *plan) []string {
	var all []string
	for _, c := range p.classes {
		for _, r := range c.requests {
			all = append(all, fmt.Sprintf("%v %v:%d+%d", c.interval, r.fn, r.addr, r.qty))
		}
	}
	return all
}

func TestMerge(t *testing.T) {
	reg := func(addr uint32, typ config.DataType) config.Variable {
		return config.Variable{Tag: fmt.Sprintf("r%d_%s", addr, typ), Datatype: typ, Address: config.Address{Type: config.AddrHolding, Addr: addr}}
	}
	coil := func(addr uint32) config.Variable {
		return config.Variable{Tag: fmt.Sprintf("c%d", addr), Datatype: config.TypeBool, Address: config.Address{Type: config.AddrCoil, Addr: addr}}
	}
	slow := reg(3, config.TypeUint16)
	slow.Polling = config.Duration(time.Minute)
	writeOnly := reg(50, config.TypeUint16)
	writeOnly.Access = config.AccessW
	for _, c := range []struct {
		name         string
		regs, maxGap uint16
		vars         []config.Variable
		want         []string
	}{
		{"adjacent", 120, 0, []config.Variable{reg(0, config.TypeUint16), reg(2, config.TypeUint16), reg(1, config.TypeUint16)}, []string{"1s 0x03:0+3"}},
		{"gap", 120, 0, []config.Variable{reg(0, config.TypeUint16), reg(2, config.TypeUint16)}, []string{"1s 0x03:0+1", "1s 0x03:2+1"}},
		{"gap bridged", 120, 1, []config.Variable{reg(0, config.TypeUint16), reg(2, config.TypeUint16), reg(5, config.TypeUint16)}, []string{"1s 0x03:0+3", "1s 0x03:5+1"}},
		{"limit", 3, 0, []config.Variable{reg(0, config.TypeUint32), reg(2, config.TypeUint32)}, []string{"1s 0x03:0+2", "1s 0x03:2+2"}},
		{"overlap", 120, 0, []config.Variable{reg(0, config.TypeUint64), reg(1, config.TypeUint16), reg(3, config.TypeUint32)}, []string{"1s 0x03:0+5"}},
		{"same twice", 120, 0, []config.Variable{reg(7, config.TypeUint16), reg(7, config.TypeInt16)}, []string{"1s 0x03:7+1"}},
		{"end of the address space", 120, 0, []config.Variable{reg(65535, config.TypeUint16), reg(65534, config.TypeInt16)}, []string{"1s 0x03:65534+2"}},
		{"functions apart", 120, 0, []config.Variable{reg(0, config.TypeUint16), coil(1)}, []string{"1s 0x01:1+1", "1s 0x03:0+1"}},
		{"bits over a gap", 120, 1, []config.Variable{coil(0), coil(16), coil(40)}, []string{"1s 0x01:0+17", "1s 0x01:40+1"}},
		{"classes apart", 120, 0, []config.Variable{reg(2, config.TypeUint16), slow, reg(4, config.TypeUint16)}, []string{"1s 0x03:2+1", "1s 0x03:4+1", "1m0s 0x03:3+1"}},
		{"write-only", 120, 0, []config.Variable{writeOnly}, nil},
	} {
		s := &Settings{Polling: time.Second, MaxRegs: c.regs, MaxGap: c.maxGap, Addressing: AddressingProtocol}
		if diff := cmp.Diff(c.want, requestsOf(testPlan(t, s, c.vars))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// image is a device's memory.
type image struct {
	regs [2][1 << 16]uint16 // holding, input
	bits [2][1 << 16]bool   // coils, discrete
}

func (m *image) fill(rnd *rand.Rand) {
	for i := range m.regs[0] {
		m.regs[0][i], m.regs[1][i] = uint16(rnd.Uint32()), uint16(rnd.Uint32())
		m.bits[0][i], m.bits[1][i] = rnd.IntN(2) == 0, rnd.IntN(2) == 0
	}
}

// read answers a request.
func (m *image) read(f Func, addr, qty uint16) []byte {
	var data []byte
	if f.bits() {
		data = make([]byte, (int(qty)+7)/8)
		for i := range int(qty) {
			if m.bits[f-FuncReadCoils][int(addr)+i] {
				data[i/8] |= 1 << (i % 8)
			}
		}
		return data
	}
	for i := range int(qty) {
		data = binary.BigEndian.AppendUint16(data, m.regs[f-FuncReadHolding][int(addr)+i])
	}
	return data
}

// naive decodes one variable straight from memory: bytes into an order written
// down as letters, one at a time.
func (m *image) naive(s *Settings, v *config.Variable) (frame.Value, frame.Quality) {
	p, _, err := s.Resolve(v)
	if err != nil {
		panic(err)
	}
	if p.Func.bits() {
		p.bit0 = 0
		return p.decodeBits(m.read(p.Func, p.Addr, p.Count))
	}
	line := m.read(p.Func, p.Addr, p.Count)
	if p.kind == kindString || p.kind == kindBinary {
		return p.decode(line)
	}
	letters := p.Order.String()
	if len(line) == 8 {
		letters = map[ByteOrder]string{ABCD: "ABCDEFGH", BADC: "BADCFEHG", CDAB: "GHEFCDAB", DCBA: "HGFEDCBA"}[p.Order]
	}
	sorted := make([]byte, len(line))
	for i := range line {
		if len(line) == 2 {
			letters = map[bool]string{true: "BA", false: "AB"}[p.Order.swapsBytes()]
		}
		sorted[letters[i]-'A'] = line[i]
	}
	p.Order = ABCD
	return p.decode(sorted)
}

// TestPlanProperty: random tables give plans that cover every point once, in
// requests within the limits, and decoding the answers out of a random memory
// gives what a naive decoder reads, point by point.
func TestPlanProperty(t *testing.T) {
	rnd := rand.New(rand.NewPCG(20, 26))
	memory := new(image)
	memory.fill(rnd)
	for round := range 300 {
		s := &Settings{
			UnitID: 1, Framing: FramingTCP, Polling: time.Second, Addressing: AddressingProtocol,
			MaxRegs: uint16(8 + rnd.IntN(118)), MaxGap: uint16(rnd.IntN(20)), Order: ByteOrder(rnd.IntN(4)),
		}
		vars := randomVariables(rnd, 1+rnd.IntN(200))
		p := testPlan(t, s, vars)
		seen := checkRequests(t, s, p)
		for i := range p.points {
			want := 0
			if p.table.Variable(i).Access.Readable() {
				want = 1
			}
			if seen[i] != want {
				t.Fatalf("round %d: %s is in %d requests, want %d", round, p.table.Variable(i).Tag, seen[i], want)
			}
		}
		for _, c := range p.classes {
			for _, r := range c.requests {
				checkDecode(t, s, p, r, memory)
			}
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// checkRequests checks the limits and counts in how many requests each point is.
func checkRequests(t *testing.T, s *Settings, p *plan) map[int]int {
	seen := map[int]int{}
	for _, c := range p.classes {
		for _, r := range c.requests {
			limit := s.MaxRegs
			if r.fn.bits() {
				limit = maxReadBits
			}
			if r.qty < 1 || r.qty > limit || int(r.addr)+int(r.qty) > 1<<16 {
				t.Errorf("request %s is over the limit %d", r, limit)
			}
			for i := range r.points {
				pt := &r.points[i]
				seen[pt.index]++
				v := p.table.Variable(pt.index)
				interval := s.Polling
				if v.Polling != 0 {
					interval = time.Duration(v.Polling)
				}
				if pt.Func != r.fn || pt.Addr < r.addr || int(pt.Addr)+int(pt.Count) > int(r.addr)+int(r.qty) || interval != c.interval {
					t.Errorf("%s is in request %s every %v", pt, r, c.interval)
				}
			}
		}
	}
	return seen
}

func checkDecode(t *testing.T, s *Settings, p *plan, r *request, memory *image) {
	answer := append([]byte{byte(r.fn), byte(r.fn.dataBytes(r.qty))}, memory.read(r.fn, r.addr, r.qty)...)
	data, err := readData(answer, r.fn, r.fn.dataBytes(r.qty))
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.points {
		pt := &r.points[i]
		v, q := pt.decode(pt.data(data))
		want, wantQ := memory.naive(s, p.table.Variable(pt.index))
		if v.String() != want.String() || v.Kind() != want.Kind() || q != wantQ { // as text: NaN is not equal to itself
			t.Errorf("%s %s %s: decoded %v %v, want %v %v", pt, pt.Type, pt.Order, v, q, want, wantQ)
		}
	}
}

func randomVariables(rnd *rand.Rand, n int) []config.Variable {
	types := append(interpretable(), config.TypeBool, config.TypeString, config.TypeBinary)
	vars := make([]config.Variable, n)
	base := uint32(rnd.IntN(65000))
	for i := range vars {
		v := &vars[i]
		v.Tag = fmt.Sprintf("v%03d", i)
		v.Address.Addr = base + uint32(rnd.IntN(500))
		v.Access = []config.Access{config.AccessR, config.AccessR, config.AccessR, config.AccessRW, config.AccessW}[rnd.IntN(5)]
		if rnd.IntN(4) == 0 {
			v.Polling = config.Duration(time.Duration(1+rnd.IntN(3)) * 100 * time.Millisecond)
		}
		v.Address.Type = []config.AddressType{config.AddrHolding, config.AddrInput, config.AddrCoil, config.AddrDiscrete}[rnd.IntN(4)]
		if v.Address.Type == config.AddrInput || v.Address.Type == config.AddrDiscrete {
			v.Access = config.AccessR
		}
		if v.Address.Type == config.AddrCoil || v.Address.Type == config.AddrDiscrete {
			v.Datatype = []config.DataType{config.TypeBool, config.TypeBool, config.TypeUint16, config.TypeUint32, config.TypeUint64, config.TypeBinary}[rnd.IntN(6)]
			if v.Datatype != config.TypeBool {
				v.Address.Len = uint16(1 + rnd.IntN(16))
			}
			continue
		}
		v.Datatype = types[rnd.IntN(len(types))]
		v.ByteOrder = []string{"", "ABCD", "BADC", "CDAB", "DCBA"}[rnd.IntN(5)]
		switch v.Datatype {
		case config.TypeString, config.TypeBinary:
			v.Address.Len = uint16(1 + rnd.IntN(8))
		case config.TypeBool:
			if bit := uint8(rnd.IntN(20)); bit < 16 {
				v.Address.Bit = &bit
			}
		}
	}
	return vars
}

// splitUp divides a request in two, or at its gaps.
func splitUp(t *testing.T, r *request) (parts []*request) {
	edges := append(append([]int{r.lo}, r.root.split(r.lo, r.hi, 2)...), r.hi)
	for i := range len(edges) - 1 {
		part, err := r.root.request(edges[i], edges[i+1])
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part)
	}
	return parts
}

// TestSplit: whichever point is guilty, splitting comes down to it alone.
func TestSplit(t *testing.T) {
	s := &Settings{Polling: time.Second, MaxRegs: 120, MaxGap: 4, Addressing: AddressingProtocol}
	var vars []config.Variable
	for i := range uint32(30) {
		vars = append(vars, config.Variable{Tag: fmt.Sprintf("v%02d", i), Datatype: config.TypeUint16,
			Address: config.Address{Type: config.AddrHolding, Addr: i + i/10*3}}) // gaps behind 9 and 19
	}
	for guilty := range vars {
		bad := vars[guilty].Address.Addr
		p := testPlan(t, s, slices.Clone(vars))
		todo, alone, asked := p.classes[0].requests, 0, 0
		for len(todo) > 0 {
			r := todo[0]
			todo = todo[1:]
			asked++
			if uint32(r.addr) > bad || uint32(r.addr)+uint32(r.qty) <= bad {
				continue
			}
			if len(r.points) == 1 {
				alone++
				continue
			}
			todo = append(todo, splitUp(t, r)...)
		}
		if alone != 1 || asked > 12 {
			t.Errorf("address %d: found alone %d times after %d requests", bad, alone, asked)
		}
	}
	// A gap that the device does not have costs no point its value.
	p := testPlan(t, s, slices.Clone(vars))
	var got []string
	for _, r := range splitUp(t, p.classes[0].requests[0]) {
		got = append(got, r.String())
	}
	want := "0x03 holding 0–9|0x03 holding 13–22|0x03 holding 26–35"
	if strings.Join(got, "|") != want {
		t.Errorf("split at the gaps: %v, want %s", got, want)
	}
}

func TestPlanErrors(t *testing.T) {
	s := &Settings{Polling: time.Second, MaxRegs: 10}
	v := config.Variable{Tag: "x", DriverID: "d", Access: config.AccessR, Datatype: config.TypeUint16,
		Address: config.Address{Type: config.AddrHolding}, Polling: config.Duration(time.Microsecond)}
	table, err := point.Compile("d", []config.Variable{v}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newPlan(s, table, readEncoder(FramingTCP.packager(1)))
	if err == nil || !strings.Contains(err.Error(), "tag x: polling: 1µs") {
		t.Errorf("polling every microsecond: %v", err)
	}
}
