package s7

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// classOf makes the class of variables at addresses.
func classOf(t *testing.T, cfg map[string]any, vars ...config.Variable) (*class, *Settings) {
	t.Helper()
	if cfg == nil {
		cfg = map[string]any{}
	}
	cfg["polling"] = "1s"
	s, err := ParseSettings(cfg, config.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range vars {
		vars[i].Tag, vars[i].DriverID = fmt.Sprintf("t%05d", i), "d"
		if vars[i].Access == "" {
			vars[i].Access = config.AccessR
		}
	}
	table, err := point.Compile("d", vars, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlan("d", s, table)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.classes) != 1 {
		t.Fatalf("%d classes", len(p.classes))
	}
	return p.classes[0], s
}

func at(text string, dt config.DataType) config.Variable {
	return config.Variable{Address: config.Address{Type: config.AddrS7DB, S7: text}, Datatype: dt}
}

// checkPlan holds the requests of a class to what one may be, and to have each byte of
// each point once.
func checkPlan(t *testing.T, c *class, s *Settings, pdu int) {
	t.Helper()
	got := map[int]int{}
	for _, r := range c.requests {
		answer := ackHead + 2
		for i := range r.items {
			it := &r.items[i]
			n := it.place.Size
			answer += answerBytes + n
			if n%2 != 0 && i < len(r.items)-1 {
				answer++
			}
			if it.wide != nil {
				got[it.points[0].index] += n
				continue
			}
			for _, p := range it.points {
				got[p.index] += p.Size
				if p.at < 0 || p.at+p.Size > n {
					t.Errorf("%s lies at %d of %d bytes", p.Place, p.at, n)
				}
			}
		}
		if answer > pdu || len(r.wire)-wireHead > pdu || len(r.items) > s.MaxItems {
			t.Errorf("a request has %d bytes, its answer %d, in PDUs of %d; %d items", len(r.wire)-wireHead, answer, pdu, len(r.items))
		}
	}
	for _, p := range c.points {
		if got[p.index] != p.Size {
			t.Errorf("%s: %d of %d bytes are read", p.Place, got[p.index], p.Size)
		}
	}
}

// The plan needs as few requests as there can be: what the bytes and ranges of a merged
// plan need is counted without it.
func TestLeastRequests(t *testing.T) {
	layouts := map[string]func(r *rand.Rand, i int) config.Variable{
		"contiguous": func(_ *rand.Rand, i int) config.Variable { return at(fmt.Sprintf("DB1.DBW%d", 2*i), config.TypeInt16) },
		"scattered": func(_ *rand.Rand, i int) config.Variable {
			return at(fmt.Sprintf("DB1.DBW%d", 100*i), config.TypeInt16)
		},
		"blocks": func(_ *rand.Rand, i int) config.Variable {
			return at(fmt.Sprintf("DB%d.DBD%d", 1+i/10, 4*(i%10)), config.TypeFloat32)
		},
		"mixed": func(_ *rand.Rand, i int) config.Variable {
			if i < 1000 {
				return at(fmt.Sprintf("DB1.DBD%d", 4*i), config.TypeFloat32)
			}
			return at(fmt.Sprintf("DB2.DBW%d", 50*i), config.TypeInt16)
		},
		"random": func(r *rand.Rand, _ int) config.Variable {
			return at(fmt.Sprintf("DB%d.DBD%d", 1+r.IntN(30), r.IntN(4000)), config.TypeUint32)
		},
		"bits": func(r *rand.Rand, _ int) config.Variable {
			return at(fmt.Sprintf("M%d.%d", r.IntN(2000), r.IntN(8)), config.TypeBool)
		},
	}
	for name, layout := range layouts {
		for _, pdu := range []int{240, 480, 960} {
			for seed := range uint64(5) {
				r := rand.New(rand.NewPCG(seed, 1))
				vars := make([]config.Variable, 1500)
				for i := range vars {
					vars[i] = layout(r, i)
				}
				c, s := classOf(t, nil, vars...)
				c.pack(s, pdu)
				checkPlan(t, c, s, pdu)
				bytes, ranges, l := 0, 0, limitsOf(pdu, s.MaxItems)
				for _, sp := range c.spans(c.points, s.MaxGap, mostData(pdu)) {
					bytes, ranges = bytes+cost(sp.size), ranges+1
				}
				least := max((bytes+l.bytes-1)/l.bytes, (ranges+l.items-1)/l.items)
				// A range that is divided has a head twice, and no point is divided.
				if slack := (least*(answerBytes+4) + l.bytes - 1) / l.bytes; len(c.requests) > least+slack {
					t.Errorf("%s, PDU %d: %d requests, %d would do (%d bytes in %d ranges)", name, pdu, len(c.requests), least, bytes, ranges)
				}
			}
		}
	}
}

// A point that is larger than an answer is read in parts.
func TestWidePoint(t *testing.T) {
	c, s := classOf(t, nil, at("DB1.STRING0.254", config.TypeString), at("DB1.DBW256", config.TypeInt16), at("DB2.BYTE1.4001", config.TypeBinary), at("M0.0", config.TypeBool))
	for _, pdu := range []int{240, 480, 960} {
		c.pack(s, pdu)
		checkPlan(t, c, s, pdu)
	}
}

// Ranges go over gaps within one block, not over larger ones and not from one block to
// another.
func TestGaps(t *testing.T) {
	for _, tc := range []struct {
		gap   int
		vars  []config.Variable
		items int
	}{
		{16, []config.Variable{at("DB1.DBW0", config.TypeInt16), at("DB1.DBW18", config.TypeInt16)}, 1},
		{16, []config.Variable{at("DB1.DBW0", config.TypeInt16), at("DB1.DBW19", config.TypeInt16)}, 2},
		{0, []config.Variable{at("DB1.DBW0", config.TypeInt16), at("DB1.DBW2", config.TypeInt16)}, 1},
		{16, []config.Variable{at("DB1.DBW0", config.TypeInt16), at("DB2.DBW2", config.TypeInt16)}, 2},
		{16, []config.Variable{at("IW0", config.TypeInt16), at("QW0", config.TypeInt16), at("MW0", config.TypeInt16)}, 3},
		{16, []config.Variable{at("T0", config.TypeS5Time), at("T1", config.TypeS5Time), at("C1", config.TypeBCD16)}, 2},
		{16, []config.Variable{at("M0.0", config.TypeBool), at("M0.7", config.TypeBool), at("MD0", config.TypeUint32)}, 1},
	} {
		c, s := classOf(t, map[string]any{"max_gap": tc.gap}, tc.vars...)
		c.pack(s, 240)
		checkPlan(t, c, s, 240)
		if len(c.requests) != 1 || len(c.requests[0].items) != tc.items {
			t.Errorf("%v: %d requests, %d ranges, want 1 and %d", tc.vars, len(c.requests), len(c.requests[0].items), tc.items)
		}
	}
}

// Cycles keep to their grid, and say how many were skipped.
func TestCycles(t *testing.T) {
	c := &class{Cycle: driver.Cycle{Interval: time.Second, Phase: 300 * time.Millisecond}}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	if n := c.begin(now); n != 0 || c.Next.Sub(now) != 1300*time.Millisecond {
		t.Fatalf("after the first cycle %d skipped, the next in %v", n, c.Next.Sub(now))
	}
	if n := c.begin(now.Add(1300 * time.Millisecond)); n != 0 || c.Next.Sub(now) != 2300*time.Millisecond {
		t.Fatalf("%d skipped, the next at %v", n, c.Next.Sub(now))
	}
	if n := c.begin(now.Add(4500 * time.Millisecond)); n != 2 || c.Next.Sub(now) != 5300*time.Millisecond {
		t.Fatalf("%d skipped, the next at %v", n, c.Next.Sub(now))
	}
}
