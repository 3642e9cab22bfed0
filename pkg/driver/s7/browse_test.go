package s7_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/s7test"
)

// blockRecord describes a data block as a PLC does.
func blockRecord(number, size int) []byte {
	b := make([]byte, 78)
	b[0], b[1], b[10] = '0', 'A', 5
	binary.BigEndian.PutUint16(b[12:], uint16(number))
	binary.BigEndian.PutUint32(b[14:], uint32(size+92))
	binary.BigEndian.PutUint32(b[22:], 6*60*60*1000)
	binary.BigEndian.PutUint16(b[26:], 15000) // days from 1984-01-01 on
	binary.BigEndian.PutUint16(b[40:], uint16(size))
	copy(b[42:], "ANNA\x00\x00\x00\x00PRESS   LINE1   ")
	b[66] = 0x12
	return b
}

// blocks tells of one OB and n data blocks, in parts of ten; DB 3 went away meanwhile.
func blocks(n int) s7test.Tell {
	return func(group, function byte, question []byte, part int) ([]byte, bool, uint16) {
		switch {
		case group != 3:
			return nil, false, 0xD402
		case function == 1:
			return []byte{'0', '8', 0, 1, '0', 'A', byte(n >> 8), byte(n), '0', 'D', 0, 99}, false, 0
		case function == 2 && len(question) == 2 && question[1] == '8':
			return []byte{0, 1, 0x22, 1}, false, 0
		case function == 2:
			return dbList(n, part)
		case question[1] == '8':
			return blockRecord(1, 40), false, 0
		}
		var number int
		if _, err := fmt.Sscanf(string(question[2:7]), "%d", &number); err != nil || number == 3 {
			return nil, false, 0xD209
		}
		return blockRecord(number, 2*number), false, 0
	}
}

// dbList is a part of the list of n data blocks, the last first. When its parts go on their
// question no longer says what is listed.
func dbList(n, part int) (list []byte, more bool, code uint16) {
	for i := n - 10*part; i > max(0, n-10*(part+1)); i-- {
		list = append(list, byte(i>>8), byte(i), 0x22, 5)
	}
	return list, n > 10*(part+1), 0
}

// listed runs browse and returns its rows, blanks between the cells.
func listed(t *testing.T, ep driver.Target, a driver.Args) (rows []string, r driver.Report, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err = s7.Protocol().Browse.Run(ctx, ep, a, func(e driver.Event) error {
		if e.Item != nil {
			rows = append(rows, strings.Join(e.Item.Cells, " "))
		}
		return nil
	})
	return rows, r, err
}

// Browse lists the program's blocks with their sizes, however many parts the list comes in.
func TestBrowse(t *testing.T) {
	var plc *s7test.PLC
	ep := driver.Target{Endpoint: modbustest.Dial(t, "tcp", func() string { return plc.Addr() })}
	plc = s7test.New(t)
	plc.Take(0x0202)
	plc.Tells(blocks(25))
	rows, r, err := listed(t, ep, driver.Args{})
	if err != nil || r.Failure != "" || len(rows) != 26 {
		t.Fatalf("%q, %+v, %v", rows, r, err)
	}
	for i, want := range map[int]string{0: "OB1 40 132 DB LINE1 2025-01-25T06:00:00 ", 1: "DB1 2 94 DB LINE1 2025-01-25T06:00:00 ",
		3: "DB3      there is no such block in the PLC (0xD209)", 25: "DB25 50 142 DB LINE1 2025-01-25T06:00:00 "} {
		if rows[i] != want {
			t.Errorf("row %d is %q, want %q", i, rows[i], want)
		}
	}
	if rows, _, err := listed(t, ep, driver.Args{Argument: "db7", Options: map[string]string{"slot": "2"}}); err != nil || len(rows) != 1 || !strings.HasPrefix(rows[0], "DB7 14 ") {
		t.Errorf("DB7: %q, %v", rows, err)
	}
	if rows, _, err := listed(t, ep, driver.Args{Argument: "FC"}); err != nil || len(rows) != 0 {
		t.Errorf("FC: %q, %v", rows, err)
	}
	if _, r, err := listed(t, ep, driver.Args{Options: map[string]string{"slot": "5"}}); err != nil || !strings.Contains(r.Failure, "no CPU") {
		t.Errorf("slot 5: %+v, %v", r, err)
	}
	plc.Tells(nil)
	if _, r, err := listed(t, ep, driver.Args{}); err != nil || !strings.Contains(r.Failure, "S7-1200") {
		t.Errorf("a PLC that lists nothing: %+v, %v", r, err)
	}
}

// What a person may write, and what not.
func TestBrowseArguments(t *testing.T) {
	check := s7.Protocol().Browse.Check
	for _, ok := range []string{"", "all", "DB", "ob1", "SFC", "DB65535"} {
		if err := check(driver.Args{Argument: ok}); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, a := range []driver.Args{{Argument: "XB"}, {Argument: "DB65536"}, {Argument: "DB1.DBX0.0"}, {Options: map[string]string{"slot": "32"}},
		{Options: map[string]string{"plc": "s5"}}, {Options: map[string]string{"plc": "logo", "slot": "1"}}} {
		if _, ok := errors.AsType[*driver.ArgsError](check(a)); !ok {
			t.Errorf("%+v: %v", a, check(a))
		}
	}
}

// A list that lies is not believed: neither its lengths, nor a block twice, nor another one
// than was asked for, nor a list without an end.
func TestBrowseLies(t *testing.T) {
	for name, lie := range map[string]s7test.Tell{
		"half an entry": func(_, _ byte, _ []byte, _ int) ([]byte, bool, uint16) { return []byte{'0', 'A', 0}, false, 0 },
		"no kind":       func(_, _ byte, _ []byte, _ int) ([]byte, bool, uint16) { return []byte{'1', 'A', 0, 1}, false, 0 },
		"a kind twice": func(_, _ byte, _ []byte, _ int) ([]byte, bool, uint16) {
			return []byte("0A\x00\x010A\x00\x02"), false, 0
		},
		"without an end":  func(_, _ byte, _ []byte, _ int) ([]byte, bool, uint16) { return []byte("0A\x00\x01"), true, 0 },
		"a block twice":   lyingList([]byte{0, 1, 0x22, 5, 0, 1, 0x22, 5}),
		"too many blocks": lyingList(make([]byte, 4*1000)),
		"half a number":   lyingList([]byte{0, 1}),
		"another block": func(g, f byte, q []byte, part int) ([]byte, bool, uint16) {
			if f == 3 {
				return blockRecord(99, 10), false, 0
			}
			return blocks(1)(g, f, q, part)
		},
		"half a description": func(g, f byte, q []byte, part int) ([]byte, bool, uint16) {
			if f == 3 {
				return blockRecord(1, 10)[:70], false, 0
			}
			return blocks(1)(g, f, q, part)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var plc *s7test.PLC
			ep := driver.Target{Endpoint: modbustest.Dial(t, "tcp", func() string { return plc.Addr() })}
			plc = s7test.New(t)
			plc.Agree(960, 1)
			plc.Tells(lie)
			rows, _, err := listed(t, ep, driver.Args{Argument: "DB"})
			if _, ok := errors.AsType[*s7.Rejection](err); !ok || len(rows) > 0 {
				t.Errorf("%q, %v", rows, err)
			}
		})
	}
}

func lyingList(list []byte) s7test.Tell {
	return func(_, function byte, _ []byte, _ int) ([]byte, bool, uint16) {
		if function == 1 {
			return []byte("0A\x00\x02"), false, 0
		}
		return list[:min(len(list), 800)], false, 0
	}
}

// A driver that polls is asked over its own connection, the only one of the PLC, and goes
// on polling.
func TestAskDriver(t *testing.T) {
	r := start(t, nil, []config.Variable{variable("a", "DB1.DBW0", config.TypeInt16)}, func(p *s7test.PLC) {
		p.Load(0x84, 1, 2)
		p.Tells(blocks(200))
	})
	r.wait("a", "0")
	ask := func(ability string, a driver.Args) (rows []string, report driver.Report, err error) {
		report, err = r.Driver.(driver.Asker).Ask(t.Context(), ability, a, func(e driver.Event) error {
			if e.Item != nil {
				rows = append(rows, strings.Join(e.Item.Cells, " "))
			}
			return nil
		})
		return rows, report, err
	}
	before := len(r.log.Of("a"))
	rows, report, err := ask(driver.AbilityBrowse, driver.Args{Argument: "DB"})
	if err != nil || report.Failure != "" || len(rows) != 200 {
		t.Errorf("%d rows, %+v, %v", len(rows), report, err)
	}
	r.log.Wait(t, "polling goes on", func() bool { return len(r.log.Of("a")) > before+1 })
	rows, report, err = ask(driver.AbilityProbe, driver.Args{})
	if err != nil || len(rows) != 1 || rows[0] != "0 1 op ok" || !strings.Contains(string(report.Document), `"pdu":480`) {
		t.Errorf("probe: %q, %s, %v", rows, report.Document, err)
	}
	if _, _, err := ask(driver.AbilityBrowse, driver.Args{Options: map[string]string{"slot": "2"}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("another place over the driver's connection: %v", err)
	}
	if n := r.plc.Conns(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	r.waitNew("a", "0")
}
