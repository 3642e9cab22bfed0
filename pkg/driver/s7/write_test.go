package s7_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/s7test"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func (r *rig) write(tag string, v frame.Value) (driver.WriteResult, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return r.Write(ctx, driver.Write{Tag: tag, Value: v})
}

// isWrite reports whether a packet answers a write.
func isWrite(answer []byte) bool { return len(answer) > 19 && answer[19] == 5 }

// Whatever becomes of the answer, a write is sent once; and what is not known is said to
// be unknown.
func TestWriteOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		rude func(answer []byte) [][]byte // to a write
		undo bool                         // the PLC's program changes the value back
		ok   bool
		note string
	}{
		"no answer, executed":      {func([]byte) [][]byte { return nil }, false, true, "confirmed by reading back"},
		"hangs up, executed":       {func([]byte) [][]byte { return [][]byte{nil} }, false, true, "confirmed by reading back"},
		"no answer, other value":   {func([]byte) [][]byte { return nil }, true, false, ""},
		"hangs up, other value":    {func([]byte) [][]byte { return [][]byte{nil} }, true, false, ""},
		"an answer of two results": {func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[20] = 2 })} }, true, false, ""},
		"an answer to a read":      {func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[19] = 4 })} }, true, false, ""},
		"another reference":        {func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[11]++ })} }, true, false, ""},
		"byte by byte":             {s7test.Split, false, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, map[string]any{"timeout": "100ms"}, []config.Variable{variable("a", "DB1.DBW0", config.TypeInt16)}, func(p *s7test.PLC) {
				p.Load(0x84, 1, 2)
				p.Rude(func(a []byte) [][]byte {
					if isWrite(a) {
						if tc.undo {
							p.Undo(0x84, 1)
						}
						return tc.rude(a)
					}
					return [][]byte{a}
				})
			})
			r.wait("a", "0")
			res, err := r.write("a", frame.IntValue(7))
			switch {
			case tc.ok && (err != nil || !strings.Contains(res.Note, tc.note) || res.ReadBack != frame.IntValue(7)):
				t.Errorf("%+v, %v", res, err)
			case !tc.ok && !errors.Is(err, driver.ErrOutcomeUnknown):
				t.Errorf("%+v, %v; want %v", res, err, driver.ErrOutcomeUnknown)
			}
			if n := r.plc.Writes(); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
			r.waitNew("a", map[bool]string{true: "0", false: "7"}[tc.undo])
		})
	}
}

// A PLC that refuses has not executed it, and one that takes it and holds another value
// is no success.
func TestWriteRefusedAndChanged(t *testing.T) {
	r := start(t, nil, []config.Variable{variable("a", "DB1.DBW0", config.TypeInt16), variable("gone", "DB2.DBW0", config.TypeInt16)}, func(p *s7test.PLC) { p.Load(0x84, 1, 2) })
	r.wait("a", "0")
	if _, err := r.write("gone", frame.IntValue(1)); err == nil || errors.Is(err, driver.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "no such block") {
		t.Errorf("a missing block: %v", err)
	}
	r.plc.Rude(func(a []byte) [][]byte {
		if isWrite(a) {
			r.plc.Undo(0x84, 1)
		}
		return [][]byte{a}
	})
	if _, err := r.write("a", frame.IntValue(1)); !errors.Is(err, s7.ErrVerify) {
		t.Errorf("another value: %v", err)
	}
}

// A connection that the PLC has forgotten, silently, is found out before the write is
// sent, which then goes over another one.
func TestWriteAfterSilence(t *testing.T) {
	v := variable("a", "DB1.DBW0", config.TypeInt16)
	r := start(t, map[string]any{"polling": "1h", "timeout": "100ms"}, []config.Variable{v}, func(p *s7test.PLC) { p.Load(0x84, 1, 2) })
	r.wait("a", "0")
	time.Sleep(1100 * time.Millisecond) // the connection rests for longer than is believed
	r.plc.Forget()
	res, err := r.write("a", frame.IntValue(3))
	if err != nil || res.ReadBack != frame.IntValue(3) || res.Note != "" {
		t.Errorf("%+v, %v", res, err)
	}
	if n := r.plc.Writes(); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

// Texts are written with their length and without the room that the PLC has for them;
// a value that has no room in one message is refused.
func TestWriteTexts(t *testing.T) {
	r := start(t, nil, []config.Variable{variable("s", "DB1.STRING0.10", config.TypeString), variable("w", "DB1.WSTRING20.5", config.TypeWString),
		variable("big", "DB2.BYTE0.400", config.TypeBinary), variable("s0", "DB1.STRING32.6", config.TypeString), variable("w0", "DB2.WSTRING0.6", config.TypeWString)}, func(p *s7test.PLC) {
		p.Agree(240, 1)
		p.Load(0x84, 1, 40)
		p.Load(0x84, 2, 400)
		p.Set(0x84, 1, 0, 9, 0)
		p.Set(0x84, 1, 20, 0, 4, 0, 0)
	})
	r.wait("s", "")
	for tag, text := range map[string]string{"s": "hello", "w": "grün"} {
		if _, err := r.write(tag, frame.StringValue(text)); err != nil {
			t.Errorf("write %s: %v", tag, err)
		}
		r.wait(tag, text)
	}
	if got := r.plc.Get(0x84, 1, 0, 7); string(got) != "\x09\x05hello" {
		t.Errorf("% X", got)
	}
	if got := r.plc.Get(0x84, 1, 20, 4); string(got) != "\x00\x04\x00\x04" {
		t.Errorf("% X", got)
	}
	if _, err := r.write("big", frame.BytesValue(make([]byte, 400))); !errors.Is(err, s7.ErrRange) {
		t.Errorf("400 bytes: %v", err)
	}
	if _, err := r.write("s", frame.StringValue("longer than ten")); !errors.Is(err, s7.ErrRange) {
		t.Errorf("a text that is too long: %v", err)
	}
	// The PLC's own room counts where it is less, as that of a text that nothing has set up.
	sent := r.plc.Writes()
	for tag, text := range map[string]string{"s": "ten of 10.", "s0": "a", "w0": "a"} {
		if _, err := r.write(tag, frame.StringValue(text)); !errors.Is(err, s7.ErrRange) || !strings.Contains(err.Error(), "room for") {
			t.Errorf("no room in %s: %v", tag, err)
		}
	}
	if n := r.plc.Writes(); n != sent {
		t.Errorf("%d texts were sent that have no room", n-sent)
	}
	if _, err := r.write("s0", frame.StringValue("")); err != nil {
		t.Errorf("a text of nothing: %v", err)
	}
}
