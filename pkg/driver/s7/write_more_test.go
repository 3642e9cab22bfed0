package s7_test

import (
	"errors"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/s7test"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// With write_retry a write whose outcome is not known is sent again, so often and no more;
// one that the PLC refuses, or that is confirmed by reading back, is not.
func TestWriteRetry(t *testing.T) {
	for name, tc := range map[string]struct {
		retry, lost int // answers that are lost, and what was written undone
		sent        int
		unknown     bool
	}{
		"once is enough": {2, 0, 1, false},
		"the second":     {2, 1, 2, false},
		"the third":      {2, 2, 3, false},
		"none":           {2, 9, 3, true},
		"without":        {0, 9, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := variable("a", "DB1.DBW0", config.TypeInt16)
			r := start(t, map[string]any{"timeout": "100ms", "write_retry": tc.retry}, []config.Variable{v}, func(p *s7test.PLC) {
				p.Load(0x84, 1, 2)
				n := 0
				p.Rude(func(a []byte) [][]byte {
					if n++; !isWrite(a) || n > 1<<20 {
						n--
						return [][]byte{a}
					}
					if n <= tc.lost {
						p.Undo(0x84, 1)
						return nil
					}
					return [][]byte{a}
				})
			})
			r.wait("a", "0")
			_, err := r.write("a", frame.IntValue(7))
			if errors.Is(err, driver.ErrOutcomeUnknown) != tc.unknown || !tc.unknown && err != nil || r.plc.Writes() != tc.sent {
				t.Errorf("sent %d times, %v; want %d, unknown: %v", r.plc.Writes(), err, tc.sent, tc.unknown)
			}
		})
	}
	r := start(t, map[string]any{"write_retry": 5}, []config.Variable{variable("gone", "DB2.DBW0", config.TypeInt16)}, nil)
	r.waitBad("gone")
	if _, err := r.write("gone", frame.IntValue(1)); err == nil || errors.Is(err, driver.ErrOutcomeUnknown) || r.plc.Writes() != 1 {
		t.Errorf("sent %d times, %v", r.plc.Writes(), err)
	}
}

// Arrays are written as a whole, in engineering units, and read back; what is beside them
// stays.
func TestWriteArrays(t *testing.T) {
	scaled := variable("scaled", "DB1.DBW2[3]", config.TypeInt16)
	scaled.Scale = "value / 10"
	r := start(t, nil, []config.Variable{scaled, variable("bits", "DB1.DBX10.0[16]", config.TypeBool), variable("odd", "DB1.DBX12.1[3]", config.TypeBool),
		variable("big", "DB2.DBD0[200]", config.TypeUint32)}, func(p *s7test.PLC) {
		p.Load(0x84, 1, 20)
		p.Load(0x84, 2, 800)
		for i := range 20 {
			p.Set(0x84, 1, i, 0xAA)
		}
	})
	for tag, text := range map[string]string{"scaled": "[1,-2.5,3000]", "bits": "[true,false,false,false,false,false,false,false,false,false,false,false,false,false,false,true]"} {
		res, err := r.write(tag, frame.ArrayValue(text))
		if err != nil || res.ReadBack != frame.ArrayValue(text) {
			t.Errorf("write %s: %+v, %v", tag, res, err)
		}
		r.wait(tag, text)
	}
	if got := r.plc.Get(0x84, 1, 0, 14); string(got) != "\xAA\xAA\x00\x0A\xFF\xE7\x75\x30\xAA\xAA\x01\x80\xAA\xAA" {
		t.Errorf("the PLC holds % X", got)
	}
	for tag, text := range map[string]string{"scaled": "[1,2]", "odd": "[true,true,true]", "bits": "[true]"} {
		if _, err := r.write(tag, frame.ArrayValue(text)); err == nil {
			t.Errorf("%s is written to %s", text, tag)
		}
	}
	if _, err := r.write("scaled", frame.StringValue("[0,0,1]")); err != nil {
		t.Errorf("as text: %v", err)
	}
	if _, err := r.write("scaled", frame.StringValue("1,2,3")); err == nil {
		t.Error("text that is no array is written")
	}
	if _, err := r.write("scaled", frame.IntValue(1)); err == nil {
		t.Error("a number is written to an array")
	}
	many := make([]frame.Value, 200)
	for i := range many {
		many[i] = frame.IntValue(int64(i))
	}
	if _, err := r.write("big", frame.ArrayOf(many)); !errors.Is(err, s7.ErrRange) {
		t.Errorf("more than one message has room for: %v", err)
	}
	if n := r.plc.Writes(); n != 3 {
		t.Errorf("%d writes were sent, want 3", n)
	}
}
