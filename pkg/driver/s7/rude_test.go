package s7_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/s7test"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// words are n words, each in a block of its own holding its number and a hundred, so
// that a value of another tag is seen.
func words(n int) (vars []config.Variable, prepare func(*s7test.PLC)) {
	for i := range n {
		v := variable(fmt.Sprintf("w%02d", i), fmt.Sprintf("DB%d.DBW0", i+1), config.TypeInt16)
		vars = append(vars, v)
	}
	return vars, func(p *s7test.PLC) {
		for i := range n {
			p.Load(0x84, uint16(i+1), 2)
			p.Set(0x84, uint16(i+1), 0, 0, byte(100+i))
		}
	}
}

// checkWords reports frames with a value of another tag.
func (r *rig) checkWords(n int) {
	r.t.Helper()
	for i := range n {
		tag := fmt.Sprintf("w%02d", i)
		for _, f := range r.log.Of(tag) {
			if f.Quality == frame.Good && f.Value.Int() != int64(100+i) {
				r.t.Errorf("%s is %s, want %d", tag, f.Value, 100+i)
			}
		}
	}
}

// edit returns a copy of a packet, changed.
func edit(answer []byte, change func(b []byte)) []byte {
	b := slices.Clone(answer)
	change(b)
	return b
}

// A PLC that lies never gives a tag the value of another, nor any that it does not have,
// and the tags come back when it does not any more.
func TestRudeAnswers(t *testing.T) {
	const n = 40 // two requests of twenty
	items := 7 + 12 + 2
	for name, rude := range map[string]func(answer []byte) [][]byte{
		"another reference": func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[11] ^= 0x40 })} },
		"the next reference": func(a []byte) [][]byte {
			return [][]byte{edit(a, func(b []byte) { binary.BigEndian.PutUint16(b[11:], binary.BigEndian.Uint16(b[11:])+1) })}
		},
		"fewer items":        func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[items-1]-- })} },
		"another function":   func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[items-2] = 5 })} },
		"an item too long":   func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[items+3] = 32 })} },
		"an item too short":  func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[items+3] = 8 })} },
		"no bytes":           func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[items+3] = 15 })} },
		"unknown data":       func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[items+1] = 77 })} },
		"refused with data":  func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[items] = 5 })} },
		"no S7":              func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[7] = 0x72 })} },
		"a request":          func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[8] = 1 })} },
		"data says less":     func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[16]-- })} },
		"data says more":     func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[16]++ })} },
		"packet says less":   func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[3]-- })} },
		"packet says more":   func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[3]++ })} },
		"packet says all":    func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[2], b[3] = 0xFF, 0xFF })} },
		"no packet":          func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[0] = 0 })} },
		"another TPDU":       func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[5] = 0x10 })} },
		"disconnect":         func([]byte) [][]byte { return [][]byte{{3, 0, 0, 11, 6, 0x80, 0, 1, 0, 7, 0}} },
		"without an end":     func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[6] = 0 })} },
		"cut off":            func(a []byte) [][]byte { return [][]byte{a[:len(a)-3], nil} },
		"hangs up":           func([]byte) [][]byte { return [][]byte{nil} },
		"two in one message": func(a []byte) [][]byte { return [][]byte{edit(a, func(b []byte) { b[6] = 0 }), a} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars, prepare := words(n)
			r := start(t, map[string]any{"timeout": "100ms"}, vars, prepare)
			r.wait("w39", "139")
			r.plc.Rude(rude)
			r.waitBad("w00")
			r.plc.Rude(nil)
			r.waitNew("w39", "139")
			r.waitNew("w00", "100")
			r.checkWords(n)
		})
	}
}

// What a network does to answers, and what a PLC may do, changes nothing: they are taken
// byte by byte, joined, in segments, twice, or in another order.
func TestSplitAndJoined(t *testing.T) {
	const n = 80
	var held []byte
	for name, rude := range map[string]func(answer []byte) [][]byte{
		"byte by byte": s7test.Split,
		"segments":     func(a []byte) [][]byte { return s7test.Segments(a, 16) },
		"twice":        func(a []byte) [][]byte { return [][]byte{slices.Concat(a, a)} },
		"another's before": func(a []byte) [][]byte {
			return [][]byte{slices.Concat(edit(a, func(b []byte) { b[11] ^= 0x80 }), a)}
		},
		"in pairs, turned around": func(a []byte) [][]byte {
			if held == nil {
				held = a
				return nil
			}
			both := slices.Concat(a, held)
			held = nil
			return [][]byte{both}
		},
		"anyhow": func(a []byte) (parts [][]byte) {
			for len(a) > 0 {
				k := 1 + rand.IntN(len(a))
				parts, a = append(parts, a[:k]), a[k:]
			}
			return parts
		},
	} {
		t.Run(name, func(t *testing.T) {
			vars, prepare := words(n)
			r := start(t, map[string]any{"polling": "5ms", "verify_write": false}, vars, func(p *s7test.PLC) {
				prepare(p)
				p.Rude(rude)
			})
			for range 5 {
				r.waitNew("w79", "179")
			}
			r.checkWords(n)
			if n := r.plc.Conns(); n != 1 {
				t.Errorf("%d connections, want 1: %s", n, r.Status().LastError)
			}
			if name == "twice" && r.metric("s7_rejected_total", "reason", "reference") == 0 {
				t.Error("no answer was counted as one to nothing")
			}
		})
	}
}

// A range of which the PLC refuses a part is divided until that part is bad alone, with
// the PLC's reason; when it is there, it is read again.
func TestRefusedAlone(t *testing.T) {
	var vars []config.Variable
	for i := range 100 {
		vars = append(vars, variable(fmt.Sprintf("a%02d", i), fmt.Sprintf("DB1.DBW%d", 2*i), config.TypeInt16))
	}
	vars = append(vars, variable("none", "DB7.DBW0", config.TypeInt16), variable("other", "DB2.DBW0", config.TypeInt16))
	r := start(t, nil, vars, func(p *s7test.PLC) {
		p.Load(0x84, 1, 150) // a75 and all behind it are missing
		p.Load(0x84, 2, 2)
	})
	r.waitBad("none")
	r.waitBad("a75")
	r.waitBad("a99")
	r.waitNew("a74", "0")
	r.waitNew("other", "0")
	for i := range 75 {
		if n := r.log.Bad(fmt.Sprintf("a%02d", i)); n > 0 {
			t.Errorf("a%02d was told bad", i)
		}
	}
	for i := 75; i < 100; i++ {
		if n := r.log.Bad(fmt.Sprintf("a%02d", i)); n != 1 {
			t.Errorf("a%02d was told bad %d times", i, n)
		}
	}
	_, tags := r.Driver.(driver.Reasoner).Reasons()
	if len(tags) != 26 || !strings.Contains(tags["a75"].Text, "address out of range") || !strings.Contains(tags["none"].Text, "no such block") ||
		!strings.Contains(tags["none"].Hint, "Optimized block access") {
		t.Errorf("reasons of %d tags: a75 %+v, none %+v", len(tags), tags["a75"], tags["none"])
	}
	if tags["a75"].Text != tags["a99"].Text {
		t.Errorf("one reason has two texts, and would be two problems: %q, %q", tags["a75"].Text, tags["a99"].Text)
	}
	r.plc.Load(0x84, 1, 200)
	r.plc.Load(0x84, 7, 2)
	r.wait("none", "0")
	r.wait("a99", "0")
	r.plc.Reads()
	r.log.Wait(t, "one request reads all", func() bool {
		reads := r.plc.Reads()
		return len(reads) > 0 && len(reads[len(reads)-1]) == 3
	})
}

// A PLC that does not allow PUT/GET refuses every request: the reason names the setting,
// and when it is changed everything is read.
func TestPutGetNotEnabled(t *testing.T) {
	vars, prepare := words(30)
	r := start(t, nil, vars, func(p *s7test.PLC) {
		prepare(p)
		p.Refuse(nil, func(byte) (byte, byte) { return 0x81, 0x04 })
	})
	r.waitBad("w00")
	r.waitBad("w29")
	_, tags := r.Driver.(driver.Reasoner).Reasons()
	if !strings.Contains(tags["w00"].Text, "PUT/GET access is not enabled") || !strings.Contains(tags["w00"].Hint, "Permit access with PUT/GET") {
		t.Errorf("reason %+v", tags["w00"])
	}
	r.plc.Refuse(nil, nil)
	r.wait("w00", "100")
	r.wait("w29", "129")
	r.checkWords(30)
}

// One request that makes the PLC hang up, or that it never answers, takes none of the
// others along.
func TestPoisonedRequest(t *testing.T) {
	for name, hangUp := range map[string]bool{"hangs up": true, "is silent": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars, prepare := words(60)
			r := start(t, map[string]any{"timeout": "250ms", "retry_refused": "1h"}, vars, func(p *s7test.PLC) {
				prepare(p)
				poisoned := false
				p.Refuse(func(it s7test.Item) byte {
					poisoned = poisoned || it.DB == 31
					return 0
				}, nil)
				p.Rude(func(a []byte) [][]byte {
					if !poisoned {
						return [][]byte{a}
					}
					poisoned = false
					if hangUp {
						return [][]byte{nil}
					}
					return nil
				})
			})
			r.log.Wait(t, "w30 alone is bad", func() bool {
				_, tags := r.Driver.(driver.Reasoner).Reasons()
				return len(tags) == 1 && tags["w30"].Text != ""
			})
			r.waitNew("w00", "100")
			r.waitNew("w59", "159")
			r.checkWords(60)
		})
	}
}

// PLCs agree to less than they are asked for.
func TestNegotiation(t *testing.T) {
	for _, pdu := range []int{240, 480, 960} {
		t.Run(fmt.Sprint(pdu), func(t *testing.T) {
			vars := []config.Variable{variable("raw", "DB1.BYTE0.4001", config.TypeBinary), variable("text", "DB2.STRING0.254", config.TypeString)}
			r := start(t, nil, vars, func(p *s7test.PLC) {
				p.Agree(pdu, 2)
				p.Load(0x84, 1, 4001)
				p.Load(0x84, 2, 256)
				for i := range 4001 {
					p.Set(0x84, 1, i, byte(i*7))
				}
				p.Set(0x84, 2, 0, append([]byte{254, 254}, strings.Repeat("x", 254)...)...)
			})
			r.wait("text", strings.Repeat("x", 254))
			r.log.Wait(t, "raw is read", func() bool { return len(r.log.Of("raw")) > 0 })
			got := r.log.Last("raw").Value.Text()
			for i := range 4001 {
				if got[i] != byte(i*7) {
					t.Fatalf("byte %d is %d, want %d", i, got[i], byte(i*7))
				}
			}
			if got, jobs := r.metric("s7_pdu_bytes"), r.metric("s7_parallel_jobs"); int(got) != pdu || jobs != 2 {
				t.Errorf("PDU %v and %v jobs", got, jobs)
			}
		})
	}
}

// Every metric that the page and the dashboard name is there from the start.
func TestMetricsAreNamed(t *testing.T) {
	r := start(t, nil, []config.Variable{variable("gone", "DB1.DBW0", config.TypeInt16)}, nil)
	r.waitBad("gone") // which makes the last of them
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, f := range families {
		shown[f.GetName()] = true
	}
	name := regexp.MustCompile(`\bs7_[a-z_]+`)
	for file, inside := range map[string]*regexp.Regexp{
		"../../../docs/s7.md": regexp.MustCompile("(?s)## Metrics.*"),
		"../../../examples/compose/grafana/dashboards/s7.json": regexp.MustCompile(`"expr": "[^\n]*`),
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, part := range inside.FindAllString(string(text), -1) {
			for _, n := range name.FindAllString(part, -1) {
				found++
				if !shown[strings.TrimSuffix(n, "_bucket")] {
					t.Errorf("%s names %s, which there is not", file, n)
				}
			}
		}
		if found < 6 {
			t.Errorf("%s names %d metrics", file, found)
		}
	}
}
