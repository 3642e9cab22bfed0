package modbus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// What must not be merged, and what is read as a whole.
func TestBlocks(t *testing.T) {
	reg := func(addr uint32, change ...func(*config.Variable)) config.Variable {
		v := config.Variable{Tag: fmt.Sprintf("r%d", addr), Datatype: config.TypeUint16, Address: config.Address{Type: config.AddrHolding, Addr: addr}}
		for _, c := range change {
			c(&v)
		}
		return v
	}
	alone := func(v *config.Variable) { v.Merge = config.No }
	shared := func(v *config.Variable) { v.Merge = config.Yes }
	in := func(start uint32, n uint16) func(*config.Variable) {
		return func(v *config.Variable) { v.Block = config.Block{Start: start, Len: n} }
	}
	for _, c := range []struct {
		name   string
		merge  bool
		blocks []Block
		vars   []config.Variable
		want   []string
	}{
		{"one alone", true, nil, []config.Variable{reg(0), reg(1, alone), reg(2)}, []string{"0x03:0+1", "0x03:1+1", "0x03:2+1"}},
		{"some together all the same", false, nil, []config.Variable{reg(0, shared), reg(1, shared), reg(2)}, []string{"0x03:0+2", "0x03:2+1"}},
		{"all alone", false, nil, []config.Variable{reg(0), reg(1)}, []string{"0x03:0+1", "0x03:1+1"}},
		{"a block of the driver", true, []Block{{config.AddrHolding, 10, 20}, {config.AddrInput, 0, 5}},
			[]config.Variable{reg(12), reg(25), reg(30), reg(31)}, []string{"0x03:30+2", "0x03:10+20"}},
		{"in Modicon notation", true, []Block{{config.AddrHolding, 40011, 20}}, []config.Variable{reg(40013)}, []string{"0x03:10+20"}},
		{"blocks beat merge: false of the driver", false, []Block{{config.AddrHolding, 10, 5}}, []config.Variable{reg(10), reg(11)}, []string{"0x03:10+5"}},
		{"out of a block by choice", true, []Block{{config.AddrHolding, 10, 5}}, []config.Variable{reg(10), reg(11, alone)}, []string{"0x03:11+1", "0x03:10+5"}},
		{"a block of the tag", true, []Block{{config.AddrHolding, 10, 20}},
			[]config.Variable{reg(12, in(12, 4)), reg(13, in(12, 4)), reg(14)}, []string{"0x03:10+20", "0x03:12+4"}},
	} {
		s := &Settings{Polling: time.Second, MaxRegs: 120, MaxGap: 4, Addressing: AddressingModicon, Merge: new(c.merge), Blocks: c.blocks}
		p := testPlan(t, s, c.vars)
		var got []string
		for _, r := range p.classes[0].requests {
			got = append(got, fmt.Sprintf("%v:%d+%d", r.fn, r.addr, r.qty))
			for i := range r.points {
				if at := int(r.points[i].at) / 2; int(r.addr)+at != int(r.points[i].Addr) {
					t.Errorf("%s: %s is taken from %d of %s", c.name, &r.points[i], at, r)
				}
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestBlockErrors(t *testing.T) {
	parse := func(blocks ...any) error {
		_, err := ParseSettings(map[string]any{"unit_id": 1, "polling": "1s", "blocks": blocks}, config.Endpoint{})
		return err
	}
	b := func(kind string, start, n int) any { return map[string]any{"type": kind, "start": start, "len": n} }
	for want, err := range map[string]error{
		"cfg.blocks: block 1: len: 126, but one request can have 125 of holding": parse(b("holding", 0, 126)),
		"ends beyond 65535":        parse(b("input", 65530, 10)),
		"block 2 overlaps block 1": parse(b("holding", 0, 10), b("holding", 9, 2)),
		"is Modicon notation for":  parse(b("input", 40001, 2)),
		"start: missing":           parse(map[string]any{"type": "coil", "len": 3}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s := &Settings{Polling: time.Second, MaxRegs: 120, Blocks: []Block{{config.AddrHolding, 10, 5}}}
	v := config.Variable{Tag: "x", Datatype: config.TypeFloat32, Address: config.Address{Type: config.AddrHolding, Addr: 14}}
	if _, _, err := s.Resolve(&v); err == nil || !strings.Contains(err.Error(), "half in the block 10–14") {
		t.Errorf("%v", err)
	}
	v.Block = config.Block{Start: 0, Len: 10}
	if _, _, err := s.Resolve(&v); err == nil || !strings.Contains(err.Error(), "block: 0–9 does not hold") {
		t.Errorf("%v", err)
	}
	v.Block, v.Merge = config.Block{Start: 14, Len: 10}, config.No
	if _, _, err := s.Resolve(&v); err == nil || !strings.Contains(err.Error(), "contradicts block") {
		t.Errorf("%v", err)
	}
}
